"""Diagnostics of importance weights: effective sample size and the Pareto k of their tail.

Source: Vehtari et al., Pareto smoothed importance sampling, https://arxiv.org/abs/1507.02646; the
    fit is that of Zhang and Stephens, Technometrics 2009.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Above it the mean of the weights converges too slowly for any number of samples that is used.
TRUSTED = 0.7
#: Weights that a tail needs; below it nothing is said.
LEAST_TAIL = 5


def effective_samples(log_weights: Tensor) -> float:
    """(sum w)^2 / sum w^2, between 1 and K, for log weights (K,)."""
    w = (log_weights.double() - log_weights.max()).exp()
    return float(w.sum().square() / w.square().sum())


def pareto_k(log_weights: Tensor) -> float | None:
    """The shape k of a generalised Pareto fitted to the largest of the weights (K,).

    Moments up to 1/k exist: above 1/2 the variance of the estimate is infinite, above 1 its mean.
    None for fewer than 25 weights; -inf where the tail is flat.
    """
    samples = len(log_weights)
    size = int(min(0.2 * samples, 3 * math.sqrt(samples)))
    if size < LEAST_TAIL:
        return None
    ordered = (log_weights.double() - log_weights.max()).sort().values.exp()
    excess = ordered[-size:] - ordered[-size - 1]
    if float(excess[-1]) <= 0:
        return -math.inf
    return _shape(excess.clamp(min=torch.finfo(torch.float64).tiny))


def _shape(excess: Tensor) -> float:
    """The posterior mean of k under Zhang and Stephens's prior; ten observations draw it to 1/2."""
    n = len(excess)
    grid = 30 + int(math.sqrt(n))
    quartile = excess[(n + 2) // 4 - 1]
    numbers = torch.arange(1, grid + 1, dtype=torch.float64)
    theta = 1 / excess[-1] + (1 - (grid / (numbers - 0.5)).sqrt()) / (3 * quartile)
    k = torch.log1p(-theta.unsqueeze(1) * excess).mean(1)
    profile = n * ((-theta / k).log() - k - 1)
    weights = (profile - profile.max()).nan_to_num(-math.inf).softmax(0)
    best = (weights * theta).sum()
    found = float(torch.log1p(-best * excess).mean())
    return (found * n + 5) / (n + 10)
