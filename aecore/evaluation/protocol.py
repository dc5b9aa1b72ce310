"""The evaluation protocol: one pass over a split, each sentence under noise of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from aecore.batch import Batch
from aecore.composition import DEFAULTS, reaches
from aecore.data.batching import Plan, epoch_plan, evaluation_plan
from aecore.data.corpus import Split
from aecore.evaluation.figures import Figures
from aecore.evaluation.importance import EXACT, Importance, importance
from aecore.evaluation.information import ACTIVE, MI_BATCH, Latents, gaussian_draws
from aecore.evaluation.pareto import TRUSTED
from aecore.model import Model, evaluating
from aecore.posterior import PosteriorSample
from aecore.step import Step
from aecore.streams import Streams

__all__ = ["Figures", "Tick", "evaluate_split", "perplexity"]

#: Called with (sentences done, sentences in all) after each batch or sentence; may raise to abandon
#: the evaluation.
Tick = Callable[[int, int], None]


def evaluate_split(
    model: Model,
    split: Split,
    streams: Streams,
    batch_size: int,
    limit: int | None = None,
    tick: Tick | None = None,
    *,
    mi: bool = False,
    iw_samples: int = 0,
) -> Figures:
    """Measure a split, or its first ``limit`` sentences.

    The noise of a sentence is keyed by (split, sentence), so that the figures do not depend on
    ``batch_size`` or ``limit`` beyond float32 rounding, and evaluating never disturbs training.

    Args:
        mi: measure ``mi`` and ``mi_batch`` too, which compares every sentence with every other.
        iw_samples: K of ``nll_iw``; 0 leaves it out.
    """
    measured = split if limit is None else split.head(limit)
    with evaluating(model):
        # what it fits, it fits to the whole split
        weights = importance(model, split, streams, iw_samples)
        survey = _Survey(model, measured, streams, mi, weights, tick)
        for indices in _plan(model, measured, batch_size, streams):
            survey.add(measured.batch(indices).to(model.device))
        return survey.figures()


def _mixed(model: Model) -> bool:
    """Whether a divergence compares the codes of a batch, which are not to be of one length."""
    coupled = not reaches("kl", model.level["kl"], "sentence")
    return coupled and model.composition.batching == "mixed"


def _plan(model: Model, split: Split, batch_size: int, streams: Streams) -> Plan:
    """The batches: of like length, which saves pads, or at random, the same at every call."""
    if not _mixed(model):
        return evaluation_plan(split, batch_size)
    with streams("evaluate", split.name, "order"):
        return epoch_plan(split, batch_size, "mixed")


class _Survey:
    """One pass over a split; sums over sentences are in float64."""

    def __init__(
        self,
        model: Model,
        split: Split,
        streams: Streams,
        mi: bool,
        weights: Importance | None,
        tick: Tick | None,
    ) -> None:
        self.model, self.split, self.streams, self.weights = model, split, streams, weights
        self.latents = Latents(model, streams, split.name, len(split), mi)
        self.sums = dict.fromkeys(("objective", "rec", "kl", "nll_iw", "iw_ess"), 0.0)
        self.each = _Each(len(split))
        self.by_dimension: Tensor | None = None
        self.done = 0
        self.tick: Tick = tick or (lambda done, total: None)

    def add(self, batch: Batch) -> None:
        """One batch."""
        model = self.model
        step = self._step(batch)
        rec = step.rec.mean(1)  # first: the objective below takes it over
        own = model.objective(step.charged(model.beta))
        for name, value in (("objective", own), ("rec", rec), ("kl", step.kl.sum(1))):
            self.sums[name] += float(value.double().sum())
        self.each.add("rec", batch.index, rec)
        if reaches("kl", model.level["kl"], "sentence"):
            self.each.add("kl", batch.index, step.kl.sum(1))
        if model.level["kl"] == "dimension":
            total = step.kl.double().sum(0).cpu()  # (D,)
            self.by_dimension = total if self.by_dimension is None else self.by_dimension + total
        for row in range(len(batch)) if self.weights is not None else ():
            assert self.weights is not None
            here = slice(row, row + 1)
            found = self.weights.weigh(batch.rows(here), step.features[here])
            self.sums["nll_iw"] += found.nll
            self.sums["iw_ess"] += found.ess
            for name, one in (("nll_iw", found.nll), ("iw_ess", found.ess), ("iw_k", found.k)):
                self.each.add(
                    name, batch.index[here], torch.tensor([math.nan if one is None else one])
                )
            self.tick(self.done + row + 1, len(self.split))
        self.done += len(batch)
        self.tick(self.done, len(self.split))

    def _step(self, batch: Batch) -> Step:
        """The step of a batch, every sentence's latent drawn in a stream of its own."""
        model, features = self.model, self.model.features(batch)
        alone = reaches("kl", model.level["kl"], "sentence")
        known: dict[str, Any] = {"features": features}
        if model.level["posterior"] == "gaussian":
            known["sample"] = self._gaussians(batch, features)
            self.latents.add_gaussians(Step(model, batch, **known))
            if model.composition.owners["kl_term"] == DEFAULTS:  # it draws nothing
                return Step(model, batch, **known)
        ones = [self._one(batch, known, row, alone) for row in range(len(batch))]
        known.setdefault("sample", _merge([one.sample for one in ones], not alone))
        if alone:
            return Step(model, batch, **known, kl=torch.cat([one.kl for one in ones]))
        step = Step(model, batch, **known)
        with self.streams("evaluate", self.split.name, "batch", int(batch.index[0])):
            _ = step.kl  # it couples the sentences of a batch, so it has no value for one of them
        return step

    def _one(self, batch: Batch, known: Mapping[str, Any], row: int, alone: bool) -> Step:
        """The step of one sentence: its latent, and its divergence where it has its own."""
        here, features = slice(row, row + 1), known["features"]
        sample = _row(known["sample"], row) if "sample" in known else None
        one = Step(self.model, batch.rows(here), features=features[here], sample=sample)
        with self.streams("evaluate", self.split.name, int(batch.index[row])):
            _ = one.sample
            _ = one.kl if alone else None
        if sample is None:
            self.latents.add(one)
        return one

    def _gaussians(self, batch: Batch, features: Tensor) -> PosteriorSample:
        """The posteriors of a batch, asked for at once; the noise of each sentence is its own."""
        with self.streams("evaluate", self.split.name, "posterior", int(batch.index[0])):
            # its draw would depend on the batch
            normal = self.model.posterior_sample(features, 1, batch).distribution
        assert normal is not None
        noise = []
        for index in batch.index.tolist():
            with self.streams("evaluate", self.split.name, index):
                noise.append(torch.randn(1, self.model.sizes.latent, device=features.device))
        z = normal.mean.unsqueeze(1) + normal.stddev.unsqueeze(1) * torch.stack(noise)  # type: ignore[attr-defined]
        return PosteriorSample(z, normal)

    def figures(self) -> Figures:
        """What was found."""
        level, sentences, tokens = self.model.level, len(self.split), self.split.tokens
        estimator = str(level.get("kl_estimator", "analytic"))
        bounded = reaches("kl", level["kl"], "sentence") and estimator != "dual"
        elbo = self.sums["rec"] + self.sums["kl"] if bounded else None
        iw = None if self.weights is None else self.sums["nll_iw"]
        mi, mi_batch = self.latents.information()
        each = self.each.named(bounded, self._weighed)
        return Figures(
            sentences=sentences,
            tokens=tokens,
            unknown=self.split.unknown,
            **{name: self.sums[name] / sentences for name in ("objective", "rec")},
            kl=None if estimator == "penalty" else self.sums["kl"] / sentences,
            penalty=self.sums["kl"] / sentences if estimator == "penalty" else None,
            kl_estimator=estimator,
            nll_elbo=None if elbo is None else elbo / sentences,
            ppl_elbo=None if elbo is None else perplexity(elbo / tokens),
            nll_iw=None if iw is None else iw / sentences,
            ppl_iw=None if iw is None else perplexity(iw / tokens),
            iw_ess=self.sums["iw_ess"] / sentences if self._weighed else None,
            iw_bad=self._bad_tails(),
            mi=mi,
            mi_batch=mi_batch,
            au=self.latents.au,
            kl_per_dimension=None
            if self.by_dimension is None
            else (self.by_dimension / sentences).tolist(),
            estimators=self._estimators(estimator),
            each=each,
        )

    @property
    def _weighed(self) -> bool:
        """Whether z was drawn and weighed; it is not where the decoder reads none."""
        return self.weights is not None and self.model.reads_latent

    def _bad_tails(self) -> int | None:
        k = self.each.values.get("iw_k")
        if not self._weighed or k is None or bool(k.isnan().all()):
            return None
        return int((k > TRUSTED).sum())

    def _estimators(self, kl: str) -> dict[str, str]:
        exact = not self.model.reads_latent and kl == "constant"
        return {
            "nll_elbo": EXACT if exact else "single-sample bound, beta 1, no penalty",
            "nll_iw": "" if self.weights is None else self.weights.label,
            "iw_ess": "(sum w)^2 / sum w^2, mean over sentences",
            "iw_bad": f"sentences whose weights have a Pareto k above {TRUSTED}",
            "rec": EXACT if exact else "one posterior sample",
            "kl": kl,
            "penalty": "what kl_term gives; no divergence",
            "mi": "aggregate posterior of the whole split, one sample a sentence",
            "mi_batch": f"aggregate posterior of {MI_BATCH} sentences"
            + ("" if _mixed(self.model) else " of like length")
            + ", one sample a sentence",
            "au": f"variance of {self.model.space.centres} >= {ACTIVE}"
            + (", less their sampling variance" if self.latents.noisy else ""),
            "kl_per_dimension": kl,
        }


class _Each:
    """Values of single sentences, put where they stand in the split."""

    def __init__(self, sentences: int) -> None:
        self.sentences = sentences
        self.values: dict[str, Tensor] = {}

    def add(self, name: str, index: Tensor, values: Tensor) -> None:
        """Values (B,) of the sentences ``index`` (B,)."""
        if name not in self.values:
            self.values[name] = torch.full((self.sentences,), math.nan, dtype=torch.float64)
        self.values[name][index.cpu()] = values.detach().double().cpu()

    def named(self, bounded: bool, weighed: bool) -> dict[str, Tensor]:
        """(N,) float32 by name; a bound where there is one, diagnostics where z was weighed."""
        found = dict(self.values)
        if bounded:
            found["nll_elbo"] = found["rec"] + found["kl"]
        drop = set() if weighed else {"iw_ess", "iw_k"}
        return {name: value.float() for name, value in found.items() if name not in drop}


def _row(sample: PosteriorSample, row: int) -> PosteriorSample:
    """The draw of one sentence, of those of a batch of Gaussians."""
    (drawn,) = gaussian_draws(sample, slice(row, row + 1))
    return PosteriorSample(drawn.z.unsqueeze(1), drawn.distribution)


def _merge(samples: list[PosteriorSample], with_density: bool = False) -> PosteriorSample:
    """The draws of sentences as a batch's; densities only where the divergence is to come."""
    densities: list[Tensor] = (
        [s.log_prob for s in samples if s.log_prob is not None] if with_density else []
    )
    return PosteriorSample(
        torch.cat([s.z for s in samples]),
        log_prob=torch.cat(densities) if densities else None,
        centre=torch.cat([s.mean for s in samples]),
    )


def perplexity(nats: float) -> float:
    """exp(nats per token); infinite where it overflows, as of a model that has diverged."""
    return math.exp(nats) if nats < 700 else math.inf
