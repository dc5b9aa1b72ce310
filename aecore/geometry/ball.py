"""The Poincaré ball of constant curvature -c, in the coordinates of the papers.

Source: Ganea et al., NeurIPS 2018, https://arxiv.org/abs/1805.09112, section 2; Mathieu et al.,
    NeurIPS 2019, https://arxiv.org/abs/1901.06033, section 2.
Deviation: differences of nearly equal numbers are avoided where a formula allows it (`distance`),
    since 1 - c |x|^2 is all that is left of a point near the boundary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aecore.errors import ConfigError
from aecore.geometry.space import along, dot, in_double, norm

#: Points keep this share of the radius between themselves and the boundary: float32 has 168 steps
#: left there, and the distance from the origin is at most 12.2 / sqrt(c).
EDGE = 1e-5
#: Below this, sinh(x) / x and its like are told by their series.
SMALL = 1e-3


@dataclass(frozen=True)
class Ball:
    """{x : c |x|^2 < 1} under lambda_x^2 dx^2, lambda_x = 2 / (1 - c |x|^2); see `space.Space`.

    Tangent vectors are in the coordinates of R^D: the length of v at x is lambda_x |v|.

    Args:
        curvature: c > 0; the sectional curvature is -c, the radius 1 / sqrt(c). As c -> 0 the ball
            becomes R^D, with lengths doubled.

    Raises:
        ConfigError: for a curvature that is not positive and finite.

    Example:
        >>> ball, origin = Ball(1.0), torch.zeros(2)
        >>> ball.distance(origin, ball.exp(origin, torch.tensor([0.3, 0.4])))
        tensor(1.)
    """

    curvature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.curvature < math.inf:
            raise ConfigError(
                f"the curvature {self.curvature} of the ball is out of range",
                "due: c > 0, curvature -c",
            )

    @property
    def name(self) -> str:
        """Of ``provides.geometry``."""
        return "ball"

    @property
    def centres(self) -> str:
        """What active units are counted on."""
        return "log_0 of the posteriors' centres"

    @property
    def radius(self) -> float:
        """1 / sqrt(c)."""
        return 1 / math.sqrt(self.curvature)

    @property
    def limit(self) -> float:
        """The largest norm of a point that `project` leaves alone."""
        return self.radius * (1 - EDGE)

    @property
    def reach(self) -> float:
        """The distance from the origin to a point of the norm ``limit``, 12.2 / sqrt(c)."""
        return 2 * self.radius * math.atanh(1 - EDGE)

    @in_double
    def conformal(self, point: Tensor) -> Tensor:
        """(..., 1): lambda_x = 2 / (1 - c |x|^2)."""
        return 2 / (1 - self.curvature * dot(point, point))

    @in_double
    def add(self, one: Tensor, other: Tensor) -> Tensor:
        """The Möbius sum of x and y.

        ((1 + 2c <x,y> + c |y|^2) x + (1 - c |x|^2) y) / (1 + 2c <x,y> + c^2 |x|^2 |y|^2).
        """
        c, xx, yy, xy = self.curvature, dot(one, one), dot(other, other), dot(one, other)
        return ((1 + 2 * c * xy + c * yy) * one + (1 - c * xx) * other) / (
            1 + 2 * c * xy + c**2 * xx * yy
        )

    @in_double
    def exp(self, base: Tensor, vector: Tensor) -> Tensor:
        """x + tanh(sqrt(c) lambda_x |v| / 2) v / (sqrt(c) |v|), the sum being Möbius's."""
        half = self.conformal(base) * vector / 2
        return self.project(self.add(base, tanhc(math.sqrt(self.curvature) * norm(half)) * half))

    @in_double
    def log(self, base: Tensor, point: Tensor) -> Tensor:
        """2 / (sqrt(c) lambda_x) artanh(sqrt(c) |w|) w / |w|, w the Möbius sum of -x and y."""
        way = self.add(-base, point)
        return 2 / self.conformal(base) * artanhc(math.sqrt(self.curvature) * norm(way)) * way

    @in_double
    def distance(self, one: Tensor, other: Tensor) -> Tensor:
        """2 / sqrt(c) arsinh(sqrt(c) |x - y| / sqrt((1 - c |x|^2) (1 - c |y|^2)))."""
        root = math.sqrt(self.curvature)
        scale = (self.conformal(one) * self.conformal(other)).sqrt() / 2
        return (2 / root * torch.asinh(root * norm(one - other) * scale)).squeeze(-1)

    def geodesic(self, start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
        """The arc of the circle that meets the boundary at right angles."""
        return along(self, start, end, shares)

    @in_double
    def transport(self, base: Tensor, vector: Tensor) -> Tensor:
        """Parallel transport from the origin to x: lambda_0 / lambda_x v; it keeps the length."""
        return 2 / self.conformal(base) * vector

    @in_double
    def project(self, point: Tensor) -> Tensor:
        """The point, or where its norm exceeds `limit`, the point of that norm in its direction."""
        length = norm(point)
        outside = length > self.limit
        return torch.where(outside, self.limit / torch.where(outside, length, 1.0) * point, point)

    @in_double
    def off(self, point: Tensor) -> Tensor:
        """max(0, |x| - 1 / sqrt(c))."""
        return (norm(point).squeeze(-1) - self.radius).clamp(min=0)

    @in_double
    def coordinates(self, point: Tensor) -> Tensor:
        """log_0(x) = artanh(sqrt(c) |x|) x / (sqrt(c) |x|), half the normal coordinates at 0."""
        return artanhc(math.sqrt(self.curvature) * norm(point)) * point

    def log_volume(self, vector: Tensor) -> Tensor:
        """(...): the log ratio of volumes, (D - 1) log(sinh(sqrt(c) r) / (sqrt(c) r)).

        Args:
            vector: (..., D) in normal coordinates at any point: of length r in the metric.
        """
        return (vector.shape[-1] - 1) * log_sinhc(math.sqrt(self.curvature) * norm(vector)).squeeze(
            -1
        )


def tanhc(x: Tensor) -> Tensor:
    """tanh(x) / x, 1 at 0, for x >= 0."""
    safe = x.clamp(min=SMALL)
    return torch.where(x < SMALL, 1 - x.square() / 3, safe.tanh() / safe)


def artanhc(x: Tensor) -> Tensor:
    """artanh(x) / x, 1 at 0, for 0 <= x < 1; x is held away from 1, where rounding may take it."""
    safe = x.clamp(SMALL, 1 - 1e-15)
    return torch.where(x < SMALL, 1 + x.square() / 3, safe.atanh() / safe)


def log_sinhc(x: Tensor) -> Tensor:
    """log(sinh(x) / x), 0 at 0, for x >= 0, without overflow."""
    safe = x.clamp(min=SMALL)
    return torch.where(
        x < SMALL, x.square() / 6, safe + torch.log(-torch.expm1(-2 * safe) / (2 * safe))
    )
