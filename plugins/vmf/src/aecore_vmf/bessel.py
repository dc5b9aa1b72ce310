"""Functions of a von Mises-Fisher's kappa on S^{D-1}, in float64, differentiable.

Source: Mardia and Jupp, Directional Statistics, 2000, section 9.3.2; Davidson et al., UAI 2018,
    https://arxiv.org/abs/1804.00891, appendix A (the derivatives).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.special  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import Function

#: Below this, the scaled Bessel function has lost digits on its way to 0.
TINY = 1e-280


def log_bessel(order: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """log I_order(x) for x > 0, by exp(-x) I, or by the series where that underflows.

    I_v(x) = (x/2)^v / Gamma(v + 1) 0F1(; v + 1; x^2 / 4), which underflows for v = 255 and x < 29.
    """
    scaled = scipy.special.ive(order, x)
    small = scaled < TINY
    series = scipy.special.hyp0f1(order + 1, np.where(small, x, 0.0) ** 2 / 4)
    by_series = order * np.log(x / 2) - math.lgamma(order + 1) + np.log(series)
    found: NDArray[np.float64] = np.where(
        small, by_series, np.log(np.where(small, 1.0, scaled)) + x
    )
    return found


def log_area(dimensions: int) -> float:
    """log of the area of S^{D-1}, 2 pi^(D/2) / Gamma(D/2)."""
    return math.log(2) + 0.5 * dimensions * math.log(math.pi) - math.lgamma(0.5 * dimensions)


def mean_length(kappa: Tensor, dimensions: int) -> Tensor:
    """A(kappa) = E[<mu, z>] = I_{D/2}(kappa) / I_{D/2-1}(kappa), elementwise."""
    found: Tensor = _MeanLength.apply(kappa, dimensions)  # type: ignore[no-untyped-call]
    return found


def log_normaliser(kappa: Tensor, dimensions: int) -> Tensor:
    """log C(kappa), elementwise: the density is C exp(kappa <mu, z>) per area."""
    found: Tensor = _LogNormaliser.apply(kappa, dimensions)  # type: ignore[no-untyped-call]
    return found


def divergence(kappa: Tensor, dimensions: int) -> Tensor:
    """KL(vMF(mu, kappa) || uniform) = kappa A + log C + log area, nats, elementwise."""
    return (
        kappa * mean_length(kappa, dimensions)
        + log_normaliser(kappa, dimensions)
        + log_area(dimensions)
    )


class _MeanLength(Function):
    """A' = 1 - A^2 - (D - 1) A / kappa."""

    @staticmethod
    def forward(ctx: Any, kappa: Tensor, dimensions: int) -> Tensor:
        ctx.save_for_backward(kappa)
        ctx.dimensions = dimensions
        x = _to_numpy(kappa)
        order = dimensions / 2 - 1
        return kappa.new_tensor(np.exp(log_bessel(order + 1, x) - log_bessel(order, x)))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (kappa,) = ctx.saved_tensors
        # of the graph, so that it can be differentiated again
        length = mean_length(kappa, ctx.dimensions)
        return gradients[0] * (1 - length.square() - (ctx.dimensions - 1) * length / kappa), None


class _LogNormaliser(Function):
    """log C = (D/2 - 1) log kappa - (D/2) log 2 pi - log I_{D/2-1}(kappa); its slope is -A."""

    @staticmethod
    def forward(ctx: Any, kappa: Tensor, dimensions: int) -> Tensor:
        ctx.save_for_backward(kappa)
        ctx.dimensions = dimensions
        order, x = dimensions / 2 - 1, _to_numpy(kappa)
        return kappa.new_tensor(
            order * np.log(x) - 0.5 * dimensions * math.log(2 * math.pi) - log_bessel(order, x)
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (kappa,) = ctx.saved_tensors
        return -gradients[0] * mean_length(kappa, ctx.dimensions), None


def _to_numpy(kappa: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = kappa.detach().to("cpu", torch.float64).numpy()
    return found
