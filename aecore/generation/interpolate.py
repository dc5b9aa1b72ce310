"""The way from one code to another, along the latent space that the composition declares."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aecore.errors import CompositionError, ConfigError

#: (start (D,), end (D,), shares of the way (S,)) -> (S, D).
Path = Callable[[Tensor, Tensor, Tensor], Tensor]


def interpolate(latent: str, start: Tensor, end: Tensor, steps: int) -> Tensor:
    """(steps, D): equally spaced points from ``start`` (D,) to ``end`` (D,), both included, along the geodesic.

    Args:
        latent: the space, ``model.level["latent"]``.

    Raises:
        ConfigError: for fewer than two steps.
        CompositionError: for a space whose geodesics are not built yet.
    """
    if steps < 2:
        raise ConfigError(f"steps = {steps} is out of range", "due: at least 2, the two ends")
    if latent not in PATHS:
        raise CompositionError(
            f"interpolation on the {latent} is not built yet", f"built: {', '.join(PATHS)}", "the latent space is the plugins'"
        )
    return PATHS[latent](start, end, torch.linspace(0, 1, steps, device=start.device))


def _line(start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """The straight line; it meets both ends exactly."""
    return torch.lerp(start, end, shares.unsqueeze(1))


#: Latent space -> its geodesic.
PATHS: dict[str, Path] = {"euclidean": _line}
