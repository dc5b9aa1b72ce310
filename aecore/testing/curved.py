"""The measures of curved spaces: volume of the ball, area of the sphere."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from aecore.geometry import Ball
from aecore.testing.measures import Flat

#: Cells of the circle, and steps of the integral over a cap.
ARCS, STEPS = 20_000, 4_001
#: Steps towards the centre of draws on the ball.
CENTRING = 3


class BallVolume:
    """The Riemannian volume: dv (sinh(sqrt(c) |v|) / (sqrt(c) |v|))^(D-1), v normal coordinates."""

    def __init__(self, ball: Ball) -> None:
        self.ball, self.flat = ball, Flat()

    def cells(self, draws: Tensor, least: float) -> tuple[Tensor, Tensor]:
        """The cells of the flat measure, carried to the ball."""
        base = self._centre(draws)
        v, volume = self.flat.cells(self._chart(base, draws), least)
        return self._points(base, v), volume + self.ball.log_volume(v)

    def around(self, draws: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """The proposal of the flat measure, carried to the ball."""
        base = self._centre(draws)
        v, log_density = self.flat.around(self._chart(base, draws), n)
        return self._points(base, v), log_density - self.ball.log_volume(v)

    def within(self, draws: Tensor) -> Callable[[Tensor], Tensor]:
        """The narrow normal of the flat measure, carried to the ball."""
        base = self._centre(draws)
        narrow = self.flat.within(self._chart(base, draws))

        def log_density(z: Tensor) -> Tensor:
            v = self._chart(base, z)
            return narrow(v) - self.ball.log_volume(v)

        return log_density

    def _centre(self, draws: Tensor) -> Tensor:
        """(B, D): near the point from which the draws (n, B, D) are in no direction on average."""
        base = torch.zeros_like(draws[0])
        for _ in range(CENTRING):
            base = self.ball.exp(base, self.ball.log(base, draws).mean(0))
        return base

    def _chart(self, base: Tensor, z: Tensor) -> Tensor:
        return self.ball.conformal(base) * self.ball.log(base, z)

    def _points(self, base: Tensor, v: Tensor) -> Tensor:
        return self.ball.exp(base, v / self.ball.conformal(base))


class SphereArea:
    """The area of the unit sphere S^{D-1}."""

    def cells(self, draws: Tensor, least: float) -> tuple[Tensor, Tensor]:
        """Equal arcs of the circle."""
        angles = (torch.arange(ARCS) + 0.5) * (2 * math.pi / ARCS)
        points = (
            torch.stack([angles.cos(), angles.sin()], -1)
            .unsqueeze(1)
            .expand(-1, draws.shape[1], -1)
        )
        return points, torch.full(points.shape[:2], math.log(2 * math.pi / ARCS))

    def around(self, draws: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Half uniform, half angular central Gaussian, x / |x| for x ~ N(0, 1.5 E[z z^T])."""
        _, sentences, dimensions = draws.shape
        spread = 1.5 * torch.einsum("nbi,nbj->bij", draws, draws) / len(draws) + 1e-4 * torch.eye(
            dimensions
        )
        factor = torch.linalg.cholesky(spread)  # (B, D, D)
        noise = torch.randn(n, sentences, dimensions)
        near = torch.einsum("bij,nbj->nbi", factor, noise[: n // 2])
        points = torch.nn.functional.normalize(torch.cat([near, noise[n // 2 :]]), dim=-1)
        # (n, B)
        whitened = (
            torch.linalg.solve_triangular(factor, points.permute(1, 2, 0), upper=False)
            .square()
            .sum(1)
            .t()
        )
        angular = -0.5 * torch.logdet(spread) - 0.5 * dimensions * whitened.log()
        return points, torch.logaddexp(angular, torch.zeros_like(angular)) - math.log(2) - log_area(
            dimensions
        )

    def within(self, draws: Tensor) -> Callable[[Tensor], Tensor]:
        """Uniform on the cap round the mean direction that holds half of the draws."""
        middle = torch.nn.functional.normalize(draws.mean(0), dim=-1)  # (B, D)
        height = (draws * middle).sum(-1).median(0).values  # (B,)
        log_cap = _log_cap(height.double(), draws.shape[-1]).to(draws.dtype)
        return lambda z: torch.where((z * middle).sum(-1) >= height, -log_cap, -math.inf)


def log_area(dimensions: int) -> float:
    """log of the area of the unit sphere in R^D, 2 pi^(D/2) / Gamma(D/2)."""
    return math.log(2) + 0.5 * dimensions * math.log(math.pi) - math.lgamma(0.5 * dimensions)


def _log_cap(height: Tensor, dimensions: int) -> Tensor:
    """(B,): log of the area of the cap {z : <z, m> >= height}.

    area(S^{D-2}) times the integral of sin^(D-2) from 0 to the angle.
    """
    # (STEPS, B)
    angles = torch.acos(height) * torch.linspace(0, 1, STEPS, dtype=torch.float64).unsqueeze(1)
    integral = torch.trapezoid(angles.sin() ** (dimensions - 2), angles, dim=0)
    return log_area(dimensions - 1) + integral.log()
