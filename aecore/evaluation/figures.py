"""Figures of an evaluation (NLL bounds, rec, KL, mutual information), and their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

#: What one pass with one draw a sentence gives.
CHEAP = (
    "sentences",
    "tokens",
    "unknown",
    "nll_elbo",
    "ppl_elbo",
    "rec",
    "kl",
    "penalty",
    "au",
    "kl_per_dimension",
)
#: All that is told of a split, in this order.
REPORTED = (
    *CHEAP[:5],
    *("nll_iw", "ppl_iw", "iw_ess", "iw_bad"),
    *CHEAP[5:8],
    *("mi", "mi_batch", "au", "kl_per_dimension"),
)


@dataclass(frozen=True)
class Figures:
    """The figures of a split; docs/metrics.md has the formula, the estimator and the traps of each.

    Attributes:
        sentences, tokens: N, and words + ``</s>`` over all of them; unknown: words that are
            ``<unk>``.
        objective: the mean of the method's own objective, at the beta of the last step and with
            ``kl_penalty``, nats per sentence.
        rec, kl: mean reconstruction term and raw divergence, nats per sentence; kl is None where
            there is a penalty in its place.
        penalty: the mean of what kl_term gives where it is no divergence; it may be negative.
        kl_estimator: analytic, monte-carlo, dual, constant or penalty.
        nll_elbo: rec + kl, an upper bound on -log p(x) in expectation; None where the divergence is
            a penalty or a dual.
        nll_iw: the importance-weighted bound; None where it was not asked for or cannot be had.
        ppl_elbo, ppl_iw: exp(sum of nats / sum of tokens); None where the bound is.
        iw_ess: effective sample size of the weights of a sentence, mean; iw_bad: sentences whose
            Pareto k is above 0.7, None for fewer than 25 samples.
        mi, mi_batch: nats, over the whole split and within batches of 32; None without a density or
            where not asked for.
        au: active units; None where there is no posterior, or a single sentence.
        kl_per_dimension: (D,), the mean divergence of each dimension; None where the divergence
            does not factorise.
        estimators: how each figure is estimated, by its name.
        each: (N,) float32 by name, in the order of the split: ``rec``; ``kl``, ``nll_elbo``,
            ``nll_iw``, ``iw_ess`` and ``iw_k`` where a sentence has its own.
    """

    sentences: int
    tokens: int
    unknown: int
    objective: float
    rec: float
    kl: float | None
    kl_estimator: str
    penalty: float | None = None
    nll_elbo: float | None = None
    ppl_elbo: float | None = None
    nll_iw: float | None = None
    ppl_iw: float | None = None
    iw_ess: float | None = None
    iw_bad: int | None = None
    mi: float | None = None
    mi_batch: float | None = None
    au: int | None = None
    kl_per_dimension: list[float] | None = None
    estimators: dict[str, str] = field(default_factory=dict)
    each: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def row(self) -> dict[str, Any]:
        """What validation writes to metrics.jsonl: the figures that cost no more than the bound."""
        return {name: getattr(self, name) for name in (*CHEAP, "objective")}

    def report(self) -> dict[str, Any]:
        """The keys of ``aecore evaluate --json``; each figure that is known has its estimator."""
        known = {
            name: text if getattr(self, name) is not None else None
            for name, text in self.estimators.items()
        }
        return {**{name: getattr(self, name) for name in REPORTED}, "estimators": known}
