"""Normal coordinates: a latent space told as R^D, so that a Gaussian can be fitted in it.

The density of v in these coordinates is that of z times the volume element, sqrt(det g), of which
log q(z) with respect to the volume of the space is the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from aecore.geometry import Ball
from aecore.geometry.space import Space

#: log p(z), (..., D) -> (...).
LogDensity = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Scale:
    """Mean and deviation of each column, (1, D) or (1, H)."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Scale:
        """Of rows (N, D); a constant column counts as one of deviation 1."""
        deviation = rows.std(0, keepdim=True) if len(rows) > 1 else torch.ones_like(rows)
        return cls(rows.mean(0, keepdim=True), torch.where(deviation > 1e-6, deviation, 1.0))


class Chart(Protocol):
    """Normal coordinates at the origin of a space."""

    def coordinates(self, z: Tensor) -> Tensor:
        """(..., D): the point z in R^D."""
        ...

    def point(self, v: Tensor) -> Tensor:
        """(..., D): the point whose coordinates are v."""
        ...

    def log_volume(self, v: Tensor) -> Tensor:
        """(...): the log of the volume element at v."""
        ...

    def held(self, v: Tensor) -> Tensor:
        """(...) bool: whether the edge of the numbers keeps point(v) nearer than v says."""
        ...


def chart_of(space: Space) -> Chart | None:
    """The chart of R^D or of the ball; None for another space."""
    if isinstance(space, Ball):
        return Curved(space)
    return Flat() if space.name == "euclidean" else None


class Flat:
    """R^D is its own chart."""

    def coordinates(self, z: Tensor) -> Tensor:
        """The same."""
        return z

    def point(self, v: Tensor) -> Tensor:
        """The same."""
        return v

    def log_volume(self, v: Tensor) -> Tensor:
        """Zero."""
        return v.new_zeros(v.shape[:-1])

    def held(self, v: Tensor) -> Tensor:
        """Nothing is."""
        return torch.zeros(v.shape[:-1], dtype=torch.bool, device=v.device)


@dataclass(frozen=True)
class Curved:
    """Normal coordinates at 0 of the ball: v = lambda_0 log_0(z), whose length is d(0, z)."""

    ball: Ball

    def coordinates(self, z: Tensor) -> Tensor:
        """2 log_0(z), in float64: near the edge the last digits tell the distance."""
        return 2 * self.ball.coordinates(z.double())

    def point(self, v: Tensor) -> Tensor:
        """exp_0(v / 2)."""
        return self.ball.exp(torch.zeros_like(v), v / 2)

    def log_volume(self, v: Tensor) -> Tensor:
        """(D - 1) log(sinh(sqrt(c) r) / (sqrt(c) r)), r = |v|."""
        return self.ball.log_volume(v)

    def held(self, v: Tensor) -> Tensor:
        """What lies as far as the last point of the ball."""
        length: Tensor = torch.linalg.vector_norm(v, dim=-1)
        return length >= self.ball.reach
