"""The von Mises-Fisher distribution on S^{D-1}: density, and draws of a whole batch at once.

Source: Ulrich, 1984, and Wood, 1994 (the rejection sampler); Figurnov et al., NeurIPS 2018,
    https://arxiv.org/abs/1805.08498 (implicit reparameterisation).
Deviation: the gradient through a learned kappa is that of the inverse distribution function, exact
    up to quadrature. Davidson et al. (UAI 2018) differentiate the proposal and add a score term for
    the acceptance, which is noisier and often left out.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.distributions import Beta
from torch.nn import functional as F

from aecore_vmf.bessel import log_normaliser, mean_length

#: Candidates that are drawn at a time for each latent: two of three are accepted, so that a second
#: round is rare.
CANDIDATES = 8
#: Nodes of the quadrature, and how far it reaches in standard deviations of the angle.
NODES, REACH = 96, 12.0


class VonMisesFisher:
    """q(z) = C(kappa) exp(kappa <mu, z>) per area of the sphere; batch (B,), event (D,).

    Args:
        direction: (B, D), mu, unit vectors.
        kappa: (B,), float64, the concentration.
        log_c: (B,), float64, log C(kappa) where it is known already.
    """

    def __init__(self, direction: Tensor, kappa: Tensor, log_c: Tensor | None = None) -> None:
        self.direction, self.kappa = direction, kappa
        self.log_c = log_normaliser(kappa, direction.shape[-1]) if log_c is None else log_c

    @property
    def mean(self) -> Tensor:
        """(B, D): E[z] = A(kappa) mu, inside the sphere."""
        return (
            mean_length(self.kappa, self.direction.shape[-1]).to(self.direction).unsqueeze(-1)
            * self.direction
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """(..., B), for values (..., B, D)."""
        return self._density((value * self.direction).sum(-1).double()).to(self.direction.dtype)

    def _density(self, cosine: Tensor) -> Tensor:
        return self.log_c + self.kappa * cosine

    def rsample(self, samples: int) -> tuple[Tensor, Tensor]:
        """K reparameterised draws (K, B, D), and their log density (K, B)."""
        mu = self.direction
        # The noise of all comes before the rejections, whose number depends on the other sentences
        # of the batch.
        noise = torch.randn(samples, *mu.shape, device=mu.device, dtype=mu.dtype)
        aside = F.normalize(noise - (noise * mu).sum(-1, keepdim=True) * mu, dim=-1)
        cosine = draw_cosine(self.kappa, mu.shape[-1], samples)
        sine = ((1 - cosine) * (1 + cosine)).clamp(min=1e-30).sqrt()
        z = cosine.to(mu.dtype).unsqueeze(-1) * mu + sine.to(mu.dtype).unsqueeze(-1) * aside
        return z, self._density(cosine).to(mu.dtype)


def draw_cosine(kappa: Tensor, dimensions: int, samples: int) -> Tensor:
    """(K, B): w = <mu, z>, of density proportional to exp(kappa w) (1 - w^2)^((D-3)/2)."""
    w = _draw(kappa.detach(), dimensions, samples)
    if not kappa.requires_grad:
        return w
    found: Tensor = _Implicit.apply(w, kappa, dimensions)  # type: ignore[no-untyped-call]
    return found


def _draw(kappa: Tensor, dimensions: int, samples: int) -> Tensor:
    """Rejection from an envelope of beta variables, `CANDIDATES` at a time; the first counts."""
    m = dimensions - 1
    b = m / (2 * kappa + (4 * kappa.square() + m**2).sqrt())
    x = (1 - b) / (1 + b)
    top = kappa * x + m * torch.log1p(-x.square())
    half = torch.tensor(m / 2, device=kappa.device, dtype=kappa.dtype)
    beta = Beta(half, half, validate_args=False)
    found, missing = (
        kappa.new_zeros(samples, len(kappa)),
        kappa.new_ones(samples, len(kappa)).bool(),
    )
    while bool(missing.any()):
        s = beta.sample((CANDIDATES, samples, len(kappa)))
        w = (1 - (1 + b) * s) / (1 - (1 - b) * s)
        # Not "at least": what is not a number is accepted, so that the loop ends and the core can
        # name it.
        accepted = ~(kappa * w + m * torch.log1p(-x * w) - top < torch.rand_like(w).log())
        first = w.gather(0, accepted.int().argmax(0, keepdim=True)).squeeze(0)
        found = torch.where(missing & accepted.any(0), first, found)
        missing = missing & ~accepted.any(0)
    return found.clamp(-1, 1)


class _Implicit(Function):
    """w at a fixed value of its distribution function F: dw/dkappa = -(dF/dkappa) / (dF/dw)."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, kappa: Tensor, dimensions: int) -> Tensor:
        ctx.save_for_backward(w, kappa)
        ctx.dimensions = dimensions
        return w.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        w, kappa = ctx.saved_tensors
        return None, (gradient * cosine_slope(w, kappa, ctx.dimensions)).sum(0), None


def cosine_slope(w: Tensor, kappa: Tensor, dimensions: int) -> Tensor:
    """dw/dkappa at a fixed quantile, for w (K, B) and kappa (B,).

    With w = cos t and g(t) = exp(kappa cos t) sin^(D-2) t, it is sin t times the integral of (cos s
    - A) g(s) / g(t) ds from 0 to t, or minus that from t to pi: on the side where the first factor
    keeps its sign there is no cancellation.
    """
    angle = torch.acos(w)
    length = mean_length(kappa, dimensions)
    end = torch.where(w > length, 0.0, math.pi)
    reach = REACH * (2 / (kappa + dimensions - 2)).sqrt()
    width = torch.minimum((end - angle).abs(), reach) * (end - angle).sign()
    nodes, weights = (torch.from_numpy(values).to(w) for values in _nodes())
    at = angle.unsqueeze(-1) + width.unsqueeze(-1) * nodes  # (K, B, NODES)
    log_g = kappa.unsqueeze(-1) * (at.cos() - w.unsqueeze(-1))
    if dimensions > 2:
        log_g = log_g + (dimensions - 2) * (at.sin().log() - angle.sin().log().unsqueeze(-1))
    integral = (weights * (at.cos() - length.unsqueeze(-1)) * log_g.exp()).sum(-1) * width
    return -angle.sin() * integral


@cache
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss and Legendre on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) / 2, weights / 2
