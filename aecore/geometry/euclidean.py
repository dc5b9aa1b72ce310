"""R^D, flat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aecore.geometry.space import norm


@dataclass(frozen=True)
class Euclidean:
    """R^D with straight lines; see `aecore.geometry.space.Space` for what the operations mean.

    Example:
        >>> Euclidean().geodesic(torch.zeros(2), torch.tensor([2.0, 4.0]), torch.tensor([0.5]))
        tensor([[1., 2.]])
    """

    @property
    def name(self) -> str:
        """Of ``provides.geometry``."""
        return "euclidean"

    @property
    def centres(self) -> str:
        """What active units are counted on."""
        return "posterior means"

    def exp(self, base: Tensor, vector: Tensor) -> Tensor:
        """base + vector."""
        return base + vector

    def log(self, base: Tensor, point: Tensor) -> Tensor:
        """point - base."""
        return point - base

    def distance(self, one: Tensor, other: Tensor) -> Tensor:
        """|one - other|."""
        return norm(one - other).squeeze(-1)

    def geodesic(self, start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
        """The straight line."""
        return torch.lerp(start, end, shares.unsqueeze(1))

    def project(self, point: Tensor) -> Tensor:
        """The point itself."""
        return point

    def off(self, point: Tensor) -> Tensor:
        """0."""
        return point.new_zeros(point.shape[:-1])

    def coordinates(self, point: Tensor) -> Tensor:
        """The point itself."""
        return point
