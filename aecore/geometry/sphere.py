"""The unit sphere S^{D-1} in R^D, with the angle as distance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aecore.geometry.space import along, dot, in_double, norm

#: Below this sine of the angle, two points are the same or antipodal.
SAME = 1e-12


@dataclass(frozen=True)
class Sphere:
    """{x : |x| = 1}; see `aecore.geometry.space.Space` for what the operations mean.

    Between antipodal points all ways are equally long. The one that is taken leaves towards the
    axis that is nearest to a right angle from the start, so that it is the same at every call.

    Example:
        >>> north, east = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
        >>> Sphere().geodesic(north, east, torch.tensor([0.5]))
        tensor([[0.7071, 0.7071]])
    """

    @property
    def name(self) -> str:
        """Of ``provides.geometry``."""
        return "sphere"

    @property
    def centres(self) -> str:
        """What active units are counted on."""
        return "the posteriors' mean directions, points of the unit sphere,"

    @in_double
    def exp(self, base: Tensor, vector: Tensor) -> Tensor:
        """cos |v| x + sin |v| v / |v|, for v tangent at x."""
        length = norm(vector)
        return self.project(
            length.cos() * self.project(base) + torch.sinc(length / math.pi) * vector
        )

    @in_double
    def log(self, base: Tensor, point: Tensor) -> Tensor:
        """theta u / |u|, u = y - <x, y> x, theta the angle between x and y."""
        base, point = self.project(base), self.project(point)
        aside = point - dot(base, point) * base
        sine = norm(aside)
        angle = self.distance(base, point).unsqueeze(-1)
        apart = sine > SAME
        opposite = ~apart & (dot(base, point) < 0)
        return torch.where(
            apart,
            angle * aside / torch.where(apart, sine, 1.0),
            torch.where(opposite, math.pi * _right(base), aside),
        )

    @in_double
    def distance(self, one: Tensor, other: Tensor) -> Tensor:
        """2 atan2(|x - y|, |x + y|): exact for equal and antipodal points, as arccos is not."""
        return 2 * torch.atan2(norm(one - other), norm(one + other)).squeeze(-1)

    def geodesic(self, start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
        """The shorter arc of the great circle."""
        return along(self, start, end, shares)

    @in_double
    def project(self, point: Tensor) -> Tensor:
        """x / |x|; the origin, from which all points are equally far, goes to the first axis."""
        length = norm(point)
        first = torch.zeros_like(point)
        first[..., 0] = 1.0
        return torch.where(length > 0, point / torch.where(length > 0, length, 1.0), first)

    @in_double
    def off(self, point: Tensor) -> Tensor:
        """| |x| - 1 |."""
        return (norm(point).squeeze(-1) - 1).abs()

    def coordinates(self, point: Tensor) -> Tensor:
        """The direction, x / |x|: the mean of a distribution on the sphere lies inside it."""
        return self.project(point)


def _right(base: Tensor) -> Tensor:
    """(..., D): a unit vector at right angles to x: its smallest axis, projected."""
    axis = torch.zeros_like(base).scatter(-1, base.abs().argmin(-1, keepdim=True), 1.0)
    aside = axis - dot(axis, base) * base
    return aside / norm(aside)
