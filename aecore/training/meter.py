"""Running means of logged scalars, weighted by sentences, on the device until they are read."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Meter:
    """Weighted means of named scalars; the state is exact, for the sake of resumed runs."""

    def __init__(self, state: Mapping[str, tuple[float, float]] | None = None) -> None:
        self._sums: dict[str, tuple[Tensor | float, float]] = {
            name: (s, w) for name, (s, w) in (state or {}).items()
        }

    def add(self, values: Mapping[str, float | Tensor], weight: float) -> None:
        """Count each value ``weight`` times."""
        for name, value in values.items():
            total, count = self._sums.get(name, (0.0, 0.0))
            scaled = (
                value.detach().to(torch.float64) * weight
                if isinstance(value, Tensor)
                else value * weight
            )
            self._sums[name] = (total + scaled, count + weight)

    def means(self) -> dict[str, float]:
        """The mean of each name; waits for the device."""
        return {name: float(total) / count for name, (total, count) in self._sums.items()}

    def state(self) -> dict[str, tuple[float, float]]:
        """(sum, weight) of each name, for the checkpoint."""
        return {name: (float(total), count) for name, (total, count) in self._sums.items()}
