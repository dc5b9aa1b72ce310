"""The wrapped normal on the Poincaré ball: a tangent normal, carried along geodesics.

Source: Mathieu et al., NeurIPS 2019, https://arxiv.org/abs/1901.06033, appendix B.3; Nagano et al.,
    ICML 2019, https://arxiv.org/abs/1902.02992.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aecore.geometry.ball import Ball

#: Of D standard normal numbers the length has the mean sqrt(D) and the deviation sqrt(1/2), nearly;
#: so many deviations beyond the mean lies one draw in a thousand.
TAIL = 3.0


def longest(dimensions: int, scale: float) -> float:
    """The length that all but one in 1000 tangent vectors of N(0, scale^2 I) stay below."""
    return scale * (math.sqrt(dimensions) + TAIL * math.sqrt(0.5))


def shortened(vectors: Tensor, largest: float) -> Tensor:
    """Vectors (..., D) with length r made largest tanh(r / largest): none becomes longer."""
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    share = length.clamp(min=1e-12) / largest
    return vectors * (torch.tanh(share) / share)


class WrappedNormal:
    """z = exp_mu(PT_{0 -> mu}(sigma eps / lambda_0)), eps ~ N(0, I): normal coordinates round mu.

    log q(z) = log N(v; 0, diag sigma^2) - (D - 1) log(sinh(sqrt(c) |v|) / (sqrt(c) |v|)), nats with
    respect to the Riemannian volume, |v| = d(mu, z). As c -> 0 it is the normal density of 2 z with
    mean 2 mu. Batch shape (B,), event shape (D,).

    Args:
        mean: (B, D), mu, points of the ball.
        scale: (B, D), sigma, in units of length.
    """

    def __init__(self, ball: Ball, mean: Tensor, scale: Tensor) -> None:
        self.ball, self.mean, self.scale = ball, mean, scale

    def rsample(self, shape: tuple[int, ...] = ()) -> tuple[Tensor, Tensor, Tensor]:
        """Reparameterised draws (*shape, B, D); their log density, and which the edge held back.

        The density is that of the noise, so it needs no inverse of the map, which can lose every
        digit.
        """
        return self.of_noise(
            torch.randn(*shape, *self.mean.shape, device=self.mean.device, dtype=self.mean.dtype)
        )

    def of_noise(self, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`rsample` of given eps (..., B, D)."""
        vector = self.scale.double() * noise.double()
        z = self.at(vector)
        held = torch.linalg.vector_norm(z, dim=-1) >= self.ball.limit * (1 - 1e-9)
        return z.to(self.mean.dtype), self._density(vector).to(self.mean.dtype), held

    def at(self, vector: Tensor) -> Tensor:
        """(..., B, D) float64: the point with the normal coordinates v (..., B, D) round mu."""
        mean = self.mean.double()
        return self.ball.exp(mean, self.ball.transport(mean, vector.double() / 2))

    def log_prob(self, value: Tensor) -> Tensor:
        """(..., B): the log density at points (..., B, D), by the logarithmic map in float64."""
        mean = self.mean.double()
        value = self.ball.project(value.double())
        return self._density(self.ball.conformal(mean) * self.ball.log(mean, value)).to(
            self.mean.dtype
        )

    def _density(self, vector: Tensor) -> Tensor:
        scale = self.scale.double()
        normal = -(0.5 * (vector / scale).square() + scale.log() + 0.5 * math.log(2 * math.pi)).sum(
            -1
        )
        return normal - self.ball.log_volume(vector)
