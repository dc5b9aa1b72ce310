"""Comparing codes with draws of the prior: MMD, moments, the dual of the KL, critics.

Functions of samples alone. In a step, pass rows of the whole batch, ``step.gather(z)`` and
``step.gather(step.prior_sample())``: what they give is then the same in every process, and expanded
to the batch it is the penalty of each sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aecore import ranks
from aecore.streams import stream

__all__ = [
    "SCALES",
    "blurred",
    "dual",
    "exp_counted",
    "imq",
    "mlp",
    "mmd",
    "moments_apart",
    "rbf",
    "told_apart",
]

#: Relative bandwidths whose kernels are added up (Tolstikhin et al. 2018, the authors' wae.py).
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: exp of a critic's value above this is counted: a float32 ends at exp(88.7).
LARGE = 30.0
#: Squared distances (M, N) -> values of a kernel (M, N).
Kernel = Callable[[Tensor], Tensor]


def imq(width: float, scales: tuple[float, ...] = SCALES) -> Kernel:
    """The inverse multiquadric kernel: sum_s C_s / (C_s + r^2), C_s = s width.

    Args:
        width: the expected squared distance of two draws of the prior, 2 D for N(0, I).
    """
    return lambda squares: sum(
        (s * width / (s * width + squares) for s in scales), torch.zeros_like(squares)
    )


def rbf(width: float, scales: tuple[float, ...] = (1.0,)) -> Kernel:
    """The Gaussian kernel: sum_s exp(-r^2 / (s width)); ``width`` as in `imq`."""
    return lambda squares: sum(
        (torch.exp(-squares / (s * width)) for s in scales), torch.zeros_like(squares)
    )


def mmd(one: Tensor, other: Tensor, kernel: Kernel) -> Tensor:
    """The squared maximum mean discrepancy: how far two sets of samples are apart, 0-d.

    mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j): unbiased, so 0
    in the mean for equal distributions, and negative half of the time.

    Args:
        one, other: (M, D) and (N, D).

    Raises:
        ValueError: for fewer than two samples of either, which are no pair.

    Source: Gretton et al., JMLR 2012, equation 3.
    """
    if min(len(one), len(other)) < 2:
        raise ValueError(f"MMD compares pairs: {len(one)} and {len(other)} samples came")
    across: Tensor = kernel(_squares(one, other)).mean()
    return _pairs(one, kernel) + _pairs(other, kernel) - 2 * across


def mmd_of_draws(codes: Tensor, drawn: Tensor, kernel: Kernel) -> Tensor:
    """0-d: `mmd` of codes (B, K, D) and draws of the prior (B, D), the mean over the K draws.

    0, attached to the codes, where a batch is left with one sentence, which is no pair.
    """
    if len(codes) < 2:
        return 0 * codes.sum()
    return torch.stack([mmd(some, drawn, kernel) for some in codes.unbind(1)]).mean()


def _pairs(x: Tensor, kernel: Kernel) -> Tensor:
    """The mean over pairs of different rows."""
    values = kernel(_squares(x, x))
    return (values.sum() - values.diagonal().sum()) / (len(x) * (len(x) - 1))


def _squares(one: Tensor, other: Tensor) -> Tensor:
    """(M, N): squared distances, never below 0."""
    norms = one.square().sum(1).unsqueeze(1) + other.square().sum(1)
    return (norms - 2 * one @ other.t()).clamp(min=0)


def moments_apart(one: Tensor, other: Tensor) -> Tensor:
    """0-d: mean squared differences of the means and of the covariances of samples (M, D), (N, D).

    Of a single sample there is no covariance, and the means are all that is compared.
    """
    means = (one.mean(0) - other.mean(0)).square().mean()
    if min(len(one), len(other)) < 2:
        return means
    return means + (_covariance(one) - _covariance(other)).square().mean()


def _covariance(x: Tensor) -> Tensor:
    away = x - x.mean(0)
    return away.t() @ away / (len(x) - 1)


def dual(of_codes: Tensor, of_prior: Tensor) -> Tensor:
    """KL(q || p) >= E_q[nu] - E_p[exp nu] + 1, elementwise before the means: nu_q - exp nu_p + 1.

    Equality at nu = log q / p. For a given critic it is a lower bound in expectation alone: with n
    draws of the prior nothing is seen of exp nu where p has less than 1 / n, so an estimate can
    exceed the divergence, and that of an untrained critic is 0.

    Args:
        of_codes, of_prior: nu at draws of q and of p, of one shape, nats.

    Source: Nguyen et al., 2010; Fang et al., EMNLP 2019, equation 7, plus the constant.
    """
    return of_codes - of_prior.exp() + 1


def exp_counted(of_prior: Tensor) -> Tensor:
    """0-d: the share of a critic's values whose exp is too large to be trusted."""
    return (of_prior.detach() > LARGE).float().mean()


def told_apart(of_codes: Tensor, of_prior: Tensor) -> tuple[Tensor, Tensor]:
    """-log sigmoid(D(p)) - log(1 - sigmoid(D(z))), and the share that D tells right, (B,) each.

    2 log 2 and 0.5 where D knows nothing; at the best D the loss is 2 log 2 - 2 JS(q, p).

    Args:
        of_codes, of_prior: D at draws of q, (B, K, 1), and of p, (B, 1), before the sigmoid.

    Source: Goodfellow et al., NeurIPS 2014.
    """
    right = 0.5 * ((of_prior > 0).float().mean(1) + (of_codes < 0).float().mean((1, 2)))
    return F.softplus(-of_prior).mean(1) + F.softplus(of_codes).mean((1, 2)), right


def blurred(codes: Tensor, noise: float) -> Tensor:
    """(B, D): codes with Gaussian noise, ``noise`` deviations of each dimension, for a classifier.

    One that is right at codes alone has a boundary that wiggles between them, and its gradient
    leads across the boundary, not to codes of the other kind; one that is right around them leads
    there.

    Deviations and draws are those of the global batch, whatever number of ranks shares it.
    """
    if noise == 0:
        return codes
    whole = ranks.gather(codes.detach())
    number = ranks.gather(torch.randint(2**31, (1,), device=codes.device))[0]
    with stream("blurred", int(number), device=codes.device):
        drawn = torch.randn_like(whole)[ranks.rows(len(whole))]
    return codes + noise * whole.std(0, correction=0) * drawn


def mlp(
    inputs: int, width: int, layers: int, outputs: int = 1, slope: float = 0.01, bias: bool = True
) -> nn.Module:
    """``layers`` hidden layers with leaky ReLUs, and a linear output; torch's initialisation.

    ``bias`` is the output's: a difference of two means knows none.

    No batch normalisation: codes and draws of the prior would meet two different functions.
    """
    sizes = [inputs, *[width] * layers]
    hidden = [
        module
        for before, after in pairwise(sizes)
        for module in (nn.Linear(before, after), nn.LeakyReLU(slope))
    ]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], outputs, bias=bias))
