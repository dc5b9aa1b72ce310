"""A density for samples that came without one: a Gaussian mixture fitted by EM.

Source: Dempster, Laird and Rubin, 1977; the number of components is chosen by the likelihood of
    samples left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

COMPONENTS = (1, 8, 64)
ITERATIONS = 40
#: Added to every covariance, relative to the mean variance of the samples.
RIDGE = 1e-6


@dataclass(frozen=True)
class GaussianMixture:
    """log sum_m w_m N(z; mu_m, L_m L_m^T), in float64.

    Attributes:
        weights (M,), means (M, D), factors (M, D, D): w, mu, and the lower triangular L.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def parts(self, z: Tensor) -> Tensor:
        """(M, N): log w_m + log N(z; mu_m, ...), for z (N, D)."""
        away = (z.double().unsqueeze(0) - self.means.unsqueeze(1)).transpose(1, 2)  # (M, D, N)
        squares: Tensor = (
            torch.linalg.solve_triangular(self.factors, away, upper=False).square().sum(1)
        )
        volume = self.factors.diagonal(dim1=1, dim2=2).log().sum(1) + 0.5 * z.shape[-1] * math.log(
            2 * math.pi
        )
        return self.weights.log().unsqueeze(1) - 0.5 * squares - volume.unsqueeze(1)

    def sample(self, n: int) -> Tensor:
        """(n, D), drawn from torch's generator."""
        chosen = torch.multinomial(self.weights, n, replacement=True)
        noise = torch.randn_like(self.means[chosen]).unsqueeze(2)
        return self.means[chosen] + (self.factors[chosen] @ noise).squeeze(2)

    def log_prob(self, z: Tensor) -> Tensor:
        """(...), nats, for z (..., D); differentiable in z."""
        found: Tensor = self.parts(z.flatten(0, -2)).logsumexp(0)
        return found.view(z.shape[:-1]).to(z.dtype)


def fit_mixture(samples: Tensor, components: tuple[int, ...] = COMPONENTS) -> GaussianMixture:
    """The best of some numbers of components for samples (N, D), by a tenth left out."""
    z = samples.double()
    held, kept = z[: len(z) // 10], z[len(z) // 10 :]
    fits = [_em(kept, count) for count in components]
    return max(fits, key=lambda fit: float(fit.log_prob(held).mean()))


def _em(z: Tensor, components: int) -> GaussianMixture:
    """EM from means at samples drawn at random and the covariance of all."""
    spread = torch.cov(z.t()).reshape(z.shape[1], z.shape[1])
    ridge = RIDGE * spread.diagonal().mean() * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    start = torch.linalg.cholesky(spread + ridge)
    means = (
        z[torch.randperm(len(z))[:components].to(z.device)]
        if components > 1
        else z.mean(0, keepdim=True)
    )
    weights = z.new_full((components,), 1 / components)
    fit = GaussianMixture(weights, means, start.expand(components, -1, -1))
    for _ in range(ITERATIONS if components > 1 else 1):
        fit = _maximised(z, fit.parts(z).softmax(0), ridge, spread)
    return fit


def _maximised(z: Tensor, shares: Tensor, ridge: Tensor, spread: Tensor) -> GaussianMixture:
    """The mixture that suits responsibilities ``shares`` (M, N), each drawn to all a little."""
    counts = shares.sum(1)  # (M,)
    means = shares @ z / counts.clamp_min(1e-12).unsqueeze(1)
    second = torch.stack([(z * share.unsqueeze(1)).t() @ z for share in shares])  # (M, D, D)
    centred = second - counts[:, None, None] * means.unsqueeze(2) * means.unsqueeze(1)
    prior = 1.0 if len(shares) > 1 else 0.0
    covariances = (centred + prior * spread) / (counts + prior)[:, None, None] + ridge
    weights = (counts + prior) / (counts + prior).sum()
    return GaussianMixture(weights, means, torch.linalg.cholesky(covariances))
