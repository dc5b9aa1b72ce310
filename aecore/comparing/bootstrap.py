"""Hierarchical bootstrap: seeds are drawn anew, and sentences, the same ones for all methods.

A method's energies are (S, N): S seeds, N sentences in one order. What differs between two
sentences is far more than what differs between two methods, so methods are compared on the same
sentences: their noise in evaluation is keyed by the sentence, and is the same for both as well.

The seeds' share of the spread is taken from the S that there are: with two it is a guess, with one
it is nothing at all, and both make an interval too narrow. Runs under one seed see the same
batches, but seeds are drawn anew for each method by itself: that they share batches is no reason
to take them for pairs.

Source: Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8 (two
    levels) and 2.2 (the percentile interval).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aecore.streams import stream

#: Draws of the bootstrap.
DRAWS = 4000
#: Draws whose weights are held at once.
_PIECE = 200
#: Two-sided 95 %, and a power of 80 %: standard normal quantiles.
LEVEL, POWER = 1.959964, 0.841621


@dataclass(frozen=True)
class Interval:
    """A mean, and the interval that holds 95 % of the bootstrap's means."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Contrast:
    """The difference of two methods.

    Attributes:
        difference: mean of the second less that of the first, with its interval.
        p: two-sided, 2 min(P(d* <= 0), P(d* >= 0)), not below 2 / (draws + 1).
        detectable: the smallest difference that such runs show in 80 of 100 cases at the 5 %
            level, (1.96 + 0.84) times the standard error.
    """

    difference: Interval
    p: float
    detectable: float


def means(energies: Sequence[Tensor], draws: int = DRAWS) -> list[Tensor]:
    """(draws,) each: the bootstrap's means of methods with energies (S_m, N).

    The sentences of a draw are the same for all methods, its seeds are each method's own.
    """
    (sentences,) = {values.shape[1] for values in energies}
    by_seed: list[list[Tensor]] = [[] for _ in energies]
    with stream("bootstrap", sentences, draws):
        for start in range(0, draws, _PIECE):
            weights = _weights(min(_PIECE, draws - start), sentences)
            for found, values in zip(by_seed, energies, strict=True):
                found.append(values.double() @ weights.T)  # (S, piece)
        return [_over_seeds(torch.cat(found, 1)) for found in by_seed]


def _weights(draws: int, sentences: int) -> Tensor:
    """(draws, N): how often each sentence was drawn, over N."""
    drawn = torch.randint(sentences, (draws, sentences))
    counts = torch.zeros(draws, sentences, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(counts)) / sentences


def _over_seeds(values: Tensor) -> Tensor:
    """(S, draws) -> (draws,): the mean over S seeds that are drawn with replacement."""
    seeds, draws = values.shape
    return values.gather(0, torch.randint(seeds, (seeds, draws))).mean(0)


def interval(energies: Tensor, drawn: Tensor) -> Interval:
    """The mean of a method's energies (S, N), with the percentiles of its draws."""
    return Interval(float(energies.double().mean()), *_percentiles(drawn))


def contrast(one: Tensor, other: Tensor, drawn: tuple[Tensor, Tensor]) -> Contrast:
    """The second method less the first."""
    apart = drawn[1] - drawn[0]
    mean = float(other.double().mean() - one.double().mean())
    low, high = _percentiles(apart)
    tail = min(int((apart <= 0).sum()), int((apart >= 0).sum()))
    p = min(1.0, 2 * (tail + 1) / (len(apart) + 1))
    detectable = (LEVEL + POWER) * float(apart.std())
    return Contrast(Interval(mean, low, high), p, detectable)


def _percentiles(drawn: Tensor) -> tuple[float, float]:
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=drawn.dtype)).tolist()
    return low, high


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p values, in their order.

    The k-th smallest of m is multiplied by m - k + 1; none is below a smaller one's, or above 1.

    Source: Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    order = sorted(range(len(values)), key=lambda number: values[number])
    corrected, largest = [math.nan] * len(values), 0.0
    for rank, number in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[number]))
        corrected[number] = largest
    return corrected
