"""The importance-weighted bound of a sentence, under the composition's proposal and prior.

Source: Burda et al., ICLR 2016, https://arxiv.org/abs/1509.00519.
Deviations: the weights of all samples meet in one logsumexp and are divided by their true number.
    Public code sums over chunks of 100 and divides by the number asked for, which is biased where
    that is no multiple of 100.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aecore.batch import Batch
from aecore.composition import reaches
from aecore.data.corpus import Split
from aecore.evaluation.charts import Chart, Curved, LogDensity, Scale, chart_of
from aecore.evaluation.decoding import energies
from aecore.evaluation.lowrank import LEAST_SAMPLES, RANK, LowRank, low_rank
from aecore.evaluation.mixture import fit_mixture
from aecore.evaluation.pareto import effective_samples, pareto_k
from aecore.evaluation.proposal import Proposals
from aecore.model import Model
from aecore.streams import Streams

#: (features (1, H), sentence, K) -> z (K, D) and log q(z), (K,).
Draw = Callable[[Tensor, Batch, int], tuple[Tensor, Tensor]]

#: How the likelihood of a language model is estimated.
EXACT = "exact: the decoder reads no latent"
#: Draws from a prior that has no density, to which one is fitted.
PRIOR_DRAWS = 20_000
#: The share of samples that a fitted proposal leaves to the prior.
DEFENCE = 0.1
#: Draws from the prior of which its moments are taken.
LOOK = 2_000
#: The proposal in words, where the posterior is none.
FITTED = "a Gaussian fitted to each sentence{}, a tenth of them of the prior"
CURVED = " in normal coordinates"
#: Samples, those of the largest weights, whose reconstruction is computed in full.
HEAVIEST = 32
#: What the label adds where the low-rank approximation is taken, and sentences that decide on it.
SHORT = f"; softmax along {RANK} directions, the {HEAVIEST} heaviest samples in full"
PROBED = 4


@dataclass(frozen=True)
class Weighed:
    """The estimate for one sentence, nats, and how far its weights can be trusted."""

    nll: float
    ess: float
    k: float | None


@dataclass(frozen=True)
class Importance:
    """-log 1/K sum_k p(x | z_k) p(z_k) / q(z_k), z_k ~ q.

    Attributes:
        draw: the proposal q.
        prior: log p(z), (K, D) -> (K,).
        samples: K.
        label: the estimator, in words.
        short: the low-rank approximation of the output layer, where there is one.
    """

    model: Model
    streams: Streams
    split: str
    draw: Draw
    prior: LogDensity
    samples: int
    label: str
    short: LowRank | None = None

    def weigh(self, sentence: Batch, features: Tensor) -> Weighed:
        """One sentence, whose noise is keyed by its number; ``features`` is (1, H)."""
        with self.streams("evaluate", self.split, int(sentence.index[0]), "iw"):
            z, log_q = self.draw(features, sentence, self.samples)
            log_ratio = self.prior(z).double() - log_q.double()  # a prior may draw, too
        condition = self.model.condition(z)
        rec = energies(self.model.decoder, sentence, condition, self.short)
        # what the sum consists of is computed in full: the largest weights are those that err most
        if self.short is not None:
            heaviest = (log_ratio - rec).topk(min(HEAVIEST, self.samples)).indices
            rec[heaviest] = energies(self.model.decoder, sentence, condition[heaviest])
        weights = log_ratio - rec.double()
        return Weighed(-log_mean(weights), effective_samples(weights), pareto_k(weights))


def log_mean(log_weights: Tensor) -> float:
    """log 1/K sum_k exp(w_k), for w (K,)."""
    return float(log_weights.logsumexp(0)) - math.log(len(log_weights))


@dataclass(frozen=True)
class Prior:
    """p(z) as density and sampler, (n) -> (n, D); ``label`` says what is not the plugin's."""

    log_prob: LogDensity
    sample: Callable[[int], Tensor]
    label: str = ""


def importance(model: Model, split: Split, streams: Streams, samples: int) -> Importance | None:
    """The estimator of a composition, what it needs fitted to the frozen model; or None.

    Nothing that is fitted depends on ``samples``, on the batch size, or on the other sentences.
    """
    if not samples:
        return None
    if not model.reads_latent:
        return Importance(model, streams, split.name, _nothing(model), _zero, 1, EXACT)
    own, priced = _has_own_proposal(model), reaches("prior", model.level["prior"], "density")
    chart = chart_of(model.space)
    if not (own and priced) and chart is None:
        return None  # nothing is fitted on the sphere
    prior = (
        Prior(model.prior_logprob, model.prior_sample)
        if priced or chart is None
        else fitted_prior(model, streams, chart)
    )
    if own:
        draw, source = _own(model), "the posterior"
    else:
        assert chart is not None
        proposals = Proposals(model, prior.log_prob, chart, _moments(prior, streams, chart))
        draw = _defended(proposals, prior)
        source = FITTED.format(CURVED if isinstance(chart, Curved) else "")
    short = low_rank(model.decoder.output.weight) if samples >= LEAST_SAMPLES else None
    label = f"importance-weighted, {samples} samples of {source}{prior.label}"
    found = Importance(model, streams, split.name, draw, prior.log_prob, samples, label)
    return found if short is None else _shortened(found, short, split)


def _shortened(whole: Importance, short: LowRank, split: Split) -> Importance:
    """With the low-rank approximation, unless it is futile on a few sentences of the split."""
    found = replace(whole, short=short, label=f"{whole.label}{SHORT}")
    for number in torch.linspace(0, len(split) - 1, min(PROBED, len(split))).long().tolist():
        sentence = split.batch(torch.tensor([number])).to(whole.model.device)
        found.weigh(sentence, whole.model.features(sentence))
    return whole if short.futile else found


def _has_own_proposal(model: Model) -> bool:
    """Whether the posterior has a density and was charged for leaving the prior.

    Else it may lie far from it, and is no proposal.
    """
    density = reaches("posterior", model.level["posterior"], "own_density")
    return density and reaches("kl", model.level["kl"], "batch")


def _own(model: Model) -> Draw:
    def draw(features: Tensor, sentence: Batch, samples: int) -> tuple[Tensor, Tensor]:
        sample = model.posterior_sample(features, samples, sentence)
        assert sample.log_prob is not None
        return sample.z[0], sample.log_prob[0]

    return draw


def _moments(prior: Prior, streams: Streams, chart: Chart) -> Scale:
    with streams("evaluate", "prior", "moments"), torch.no_grad():
        return Scale.of(chart.coordinates(prior.sample(LOOK).cpu().double()))


def _defended(proposals: Proposals, prior: Prior) -> Draw:
    """A defensive mixture: some samples are the prior's, all weighed by both (Hesterberg, 1995).

    A Gaussian that maximises the bound sits on one mode; the prior bounds the weight of what it
    misses by p(x | z) / share.
    """

    def draw(features: Tensor, sentence: Batch, samples: int) -> tuple[Tensor, Tensor]:
        proposal = proposals.fit(sentence, features)
        spare = int(DEFENCE * samples)
        own, log_own = (found.to(features.device) for found in proposal.draw(samples - spare))
        own = own.to(features)
        if not spare:
            return own, log_own
        z, share = torch.cat([own, prior.sample(spare).to(own)]), spare / samples
        log_q = torch.cat([log_own, proposal.log_prob(z[-spare:].cpu()).to(log_own)])
        priced = prior.log_prob(z).double()
        return z, torch.logaddexp(log_q + math.log(1 - share), priced + math.log(share))

    return draw


def _nothing(model: Model) -> Draw:
    return lambda features, sentence, samples: (
        features.new_zeros(samples, model.sizes.latent),
        features.new_zeros(samples),
    )


def _zero(z: Tensor) -> Tensor:
    return z.new_zeros(len(z))


def fitted_prior(model: Model, streams: Streams, chart: Chart) -> Prior:
    """A density for a prior that can only be sampled: a mixture in normal coordinates."""
    with streams("evaluate", "prior"), torch.no_grad():
        mixture = fit_mixture(chart.coordinates(model.prior_sample(PRIOR_DRAWS)))

    def log_prob(z: Tensor) -> Tensor:
        v = chart.coordinates(z)
        return mixture.log_prob(v) - chart.log_volume(v)

    def sample(n: int) -> Tensor:
        return chart.point(mixture.sample(n))

    fitted = f"{len(mixture.weights)} Gaussians fitted to {PRIOR_DRAWS:,} of its samples"
    label = f"; prior: a mixture of {fitted}"
    return Prior(log_prob, sample, label)
