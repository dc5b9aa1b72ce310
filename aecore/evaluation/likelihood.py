"""The evaluation protocol: likelihood bounds of a split, in nats per sentence, from one posterior draw per sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from aecore.batch import Batch
from aecore.composition import reaches
from aecore.data.batching import evaluation_plan
from aecore.data.corpus import Split
from aecore.model import Model
from aecore.posterior import PosteriorSample
from aecore.step import Step
from aecore.streams import Streams

#: Called with (sentences done, sentences in all) after each batch; may raise to abandon the evaluation.
Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Figures:
    """What one pass over a split measures; sums over sentences are in float64.

    Attributes:
        sentences, tokens: N, and words + ``</s>`` over all of them.
        objective: the mean of the objective at beta 1 without ``kl_penalty``, nats per sentence.
        rec, kl: mean reconstruction term and raw divergence, nats per sentence.
        nll_elbo: rec + kl, an upper bound on -log p(x) in expectation; None where the divergence is a penalty or a dual.
        ppl_elbo: exp(sum of nats / sum of tokens); None where nll_elbo is.
        kl_estimator: analytic, monte-carlo, dual or constant.
    """

    sentences: int
    tokens: int
    objective: float
    rec: float
    kl: float
    nll_elbo: float | None
    ppl_elbo: float | None
    kl_estimator: str

    def report(self) -> dict[str, object]:
        """The keys of ``aecore evaluate --json``; a figure always carries its estimator."""
        bound = None if self.nll_elbo is None else "single-sample bound, beta 1, no penalty"
        return {
            "sentences": self.sentences,
            "tokens": self.tokens,
            "nll_elbo": self.nll_elbo,
            "ppl_elbo": self.ppl_elbo,
            "rec": self.rec,
            "kl": self.kl,
            "estimators": {"nll_elbo": bound, "rec": "one posterior sample", "kl": self.kl_estimator},
        }


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Dropout off and no gradients inside the block; the mode found is restored."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def evaluate_split(
    model: Model, split: Split, streams: Streams, batch_size: int, limit: int | None = None, tick: Tick | None = None
) -> Figures:
    """Measure a split, or its first ``limit`` sentences.

    The noise of a sentence is keyed by (split, sentence), so that the figures do not depend on ``batch_size`` or ``limit``
    beyond float32 rounding, and evaluating never disturbs training.
    """
    split = split if limit is None else split.head(limit)
    sums = dict.fromkeys(("objective", "rec", "kl"), 0.0)
    done = 0
    with evaluating(model):
        for indices in evaluation_plan(split.lengths, batch_size):
            batch = split.batch(indices).to(model.device)
            step = _evaluation_step(model, batch, split.name, streams)
            values = {"objective": model.objective(step), "rec": step.rec.mean(1), "kl": step.kl.sum(1)}
            for name, value in values.items():
                sums[name] += value.double().sum().item()
            done += len(batch)
            if tick is not None:
                tick(done, len(split))
    return _figures(model, sums, len(split), split.tokens)


def _evaluation_step(model: Model, batch: Batch, split: str, streams: Streams) -> Step:
    """The step of a batch whose latents and divergences were drawn sentence by sentence."""
    features = model.features(batch)
    alone = reaches("kl", model.level["kl"], "sentence")
    samples, divergences = [], []
    for row, index in enumerate(batch.index.tolist()):
        here = slice(row, row + 1)
        with streams("evaluate", split, index):
            one = Step(model, batch.rows(here), features=features[here])
            samples.append(one.sample)
            if alone:
                divergences.append(one.kl)
    if alone:
        return Step(model, batch, features=features, sample=_merge(samples), kl=torch.cat(divergences))
    step = Step(model, batch, features=features, sample=_merge(samples, with_density=True))
    with streams("evaluate", split, "batch", int(batch.index[0])):
        _ = step.kl  # it couples the sentences of a batch, so it has no value for one of them
    return step


def _merge(samples: list[PosteriorSample], with_density: bool = False) -> PosteriorSample:
    """The draws of single sentences as those of a batch; their densities only where the divergence is still to be computed."""
    densities: list[Tensor] = [s.log_prob for s in samples if s.log_prob is not None] if with_density else []
    return PosteriorSample(
        torch.cat([s.z for s in samples]),
        log_prob=torch.cat(densities) if densities else None,
        centre=torch.cat([s.mean for s in samples]),
    )


def _figures(model: Model, sums: dict[str, float], sentences: int, tokens: int) -> Figures:
    means = {name: total / sentences for name, total in sums.items()}
    bounded = reaches("kl", model.level["kl"], "sentence")
    total = sums["rec"] + sums["kl"]
    return Figures(
        sentences=sentences,
        tokens=tokens,
        **means,
        nll_elbo=total / sentences if bounded else None,
        ppl_elbo=_exp(total / tokens) if bounded else None,
        kl_estimator=str(model.level.get("kl_estimator", "analytic")),
    )


def _exp(value: float) -> float:
    """exp, infinite where it overflows: an untrained or diverged model has a perplexity that no float holds."""
    return math.exp(value) if value < 700 else math.inf
