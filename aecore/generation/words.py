"""Choosing the next word of many sentences: the likeliest, or one drawn by their own numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aecore.batch import PAD, START, UNKNOWN
from aecore.generation.strategy import Strategy


def mask_markers(scores: Tensor, unknown: bool) -> Tensor:
    """The scores (..., V) without ``<pad>`` and ``<s>``, in place: they are never targets.

    Without ``<unk>`` too, unless ``unknown``.
    """
    for marker in (PAD, START) if unknown else (PAD, START, UNKNOWN):
        scores[..., marker] = -torch.inf
    return scores


def likeliest(logits: Tensor, unknown: bool) -> Tensor:
    """(R,): the likeliest word under logits (R, V)."""
    return mask_markers(logits, unknown).argmax(-1)


def drawn(logits: Tensor, uniforms: Tensor, strategy: Strategy) -> Tensor:
    """(R,): a word per row of logits (R, V) and ``uniforms`` (R,), by inverting the distribution.

    The order is: temperature, ``top_k``, ``top_p`` of what is left.
    """
    scores = mask_markers(logits, strategy.unknown).div_(strategy.heat)
    if not strategy.top_k:
        weights = scores.softmax(-1)
        return invert(
            nucleus(weights, _ranked(weights), strategy.top_p) if strategy.top_p < 1 else weights,
            uniforms,
        )
    scores, words = scores.topk(min(strategy.top_k, scores.shape[1]))  # likeliest first
    weights = scores.softmax(-1)
    chosen = invert(
        nucleus(weights, weights, strategy.top_p) if strategy.top_p < 1 else weights, uniforms
    )
    return words.gather(1, chosen.unsqueeze(1)).squeeze(1)


def nucleus(weights: Tensor, ranked: Tensor, mass: float) -> Tensor:
    """The probabilities (R, M) of the nucleus: the fewest that add up to ``mass``; others are 0.

    Words exactly as likely as the last one that is kept are kept as well.

    Args:
        ranked: the same probabilities, the largest first.
    """
    before = ranked.cumsum(1) - ranked  # the mass of the likelier words
    kept = (before < mass).sum(1, keepdim=True)
    return weights.masked_fill(weights < ranked.gather(1, (kept - 1).clamp(min=0)), 0)


def _ranked(weights: Tensor) -> Tensor:
    """The probabilities of each row, the largest first."""
    if weights.is_cuda:
        return weights.sort(descending=True).values
    # a fifth of torch's time on the CPU
    return torch.from_numpy(np.sort(weights.numpy(), axis=1)).flip(1)


def invert(weights: Tensor, uniforms: Tensor) -> Tensor:
    """(R,): where the running sum of ``weights`` (R, M) passes the share ``uniforms`` (R,).

    In float64, where float32 numbers below 1 stay below the total: a weight of 0 is never chosen.
    """
    running = weights.cumsum(1, dtype=torch.float64)
    wanted = uniforms.double().unsqueeze(1) * running[:, -1:]
    return torch.searchsorted(running, wanted, right=True).squeeze(1)
