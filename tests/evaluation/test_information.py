"""Mutual information and active units against integrals and values worked by hand."""

import math

import pytest
import torch
from quadrature import DensityAtDraws, FullCovariance, Implicit, Placed, Point, cells, lively
from support import build

from aecore import PosteriorSample, hookimpl
from aecore.evaluation.mixture import fit_mixture
from aecore.evaluation.moments import Moments
from aecore.evaluation.protocol import evaluate_split
from aecore.geometry import Ball, Sphere
from aecore.model import evaluating
from aecore.streams import Streams


def measure(model, split, seed=0, batch_size=4, **options):
    return evaluate_split(model, split, Streams(seed), batch_size, mi=True, **options)


def placed(table, scale=1.0):
    model = lively(Placed)
    model.plugin("placed").table, model.plugin("placed").scale = table, scale
    return model


def test_equal_posteriors_hold_no_information(corpus):
    figures = measure(placed(torch.ones(48, 2)), corpus.train)
    assert figures.mi == pytest.approx(0, abs=1e-6)
    assert figures.mi_batch == pytest.approx(0, abs=1e-6)


def test_separate_posteriors_reach_the_ceilings(corpus):
    """log N over the split; log 32 and log 16 over its two batches, by their sentences. Exactly,
    and never above.
    """
    table = torch.arange(96.0).view(48, 2) * 100
    figures = measure(placed(table, 0.1), corpus.train)
    assert figures.mi == pytest.approx(math.log(48), abs=1e-12)
    assert figures.mi_batch == pytest.approx(
        (32 * math.log(32) + 16 * math.log(16)) / 48, abs=1e-12
    )


def exact_information(model, split):
    """1/N sum_i of the integral of q_i log(q_i / mean of q_j)."""
    z, volume = cells()
    with evaluating(model):
        batch = split.batch(torch.arange(len(split)))
        normal = model.posterior_sample(model.features(batch), 1, batch).distribution
        log_q = normal.log_prob(z.unsqueeze(1)).double()  # (M, N)
    mixture = log_q.logsumexp(1, keepdim=True) - math.log(len(split))
    return ((log_q.exp() * (log_q - mixture)).sum(0) * math.exp(volume)).mean().item()


@pytest.mark.parametrize("classes", [[], [FullCovariance]], ids=["vae", "full covariance"])
@pytest.mark.parametrize("sentences", [2, 3, 10])
def test_it_is_the_integral(corpus, classes, sentences):
    model, split = lively(*classes), corpus.test.head(sentences)
    found = torch.tensor([measure(model, split, seed).mi for seed in range(40)])
    assert abs(found.mean() - exact_information(model, split)) < 4 * found.std() / len(found) ** 0.5
    assert (found <= math.log(sentences) + 1e-9).all()


def test_batches_of_32_are_those_of_the_evaluation_order(corpus):
    """Sentences of like length share a mixture, whatever is decoded at a time."""
    model = lively()
    figures = [measure(model, corpus.train, batch_size=size) for size in (5, 48)]
    assert figures[0].mi_batch == pytest.approx(figures[1].mi_batch, abs=1e-6)
    assert figures[0].mi == pytest.approx(figures[1].mi, abs=1e-6)
    order = corpus.train.lengths.argsort(stable=True)
    parts = []
    for numbers in (order[:32], order[32:]):
        draws = [drawn(model, corpus.train, int(number)) for number in numbers]
        z = torch.cat([z for z, _ in draws])
        log_q = torch.cat([normal.log_prob(z.unsqueeze(1)) for _, normal in draws], 1).double()
        parts.append((log_q.diagonal() - log_q.logsumexp(1) + math.log(len(numbers))).sum())
    assert figures[0].mi_batch == pytest.approx(sum(parts).item() / 48, abs=1e-5)


def drawn(model, split, number):
    """z (1, D) and the posterior of one sentence, as the protocol draws it."""
    sentence = split.batch(torch.tensor([number]))
    with evaluating(model), Streams(0)("evaluate", split.name, number):
        sample = model.posterior_sample(model.features(sentence), 1, sentence)
    return sample.z[:, 0], sample.distribution


@pytest.mark.parametrize("cls", [DensityAtDraws, Implicit, Point])
def test_without_a_density_there_is_none(corpus, cls):
    figures = measure(lively(cls), corpus.test)
    assert (figures.mi, figures.mi_batch) == (None, None)
    assert figures.report()["estimators"]["mi"] is None


def test_it_is_left_out_unless_asked_for(corpus):
    figures = evaluate_split(lively(), corpus.test, Streams(0), 4)
    assert (figures.mi, figures.mi_batch) == (None, None)
    assert figures.au is not None


def column(variance):
    """48 means whose variance over N - 1 is this."""
    made = torch.linspace(-1, 1, 48)
    return made * (variance / made.var()).sqrt()


@pytest.mark.parametrize(
    ("variances", "active"), [((0, 0), 0), ((0.0099, 0.0101), 1), ((0.5, 0), 1), ((2, 0.02), 2)]
)
def test_a_unit_is_active_from_a_hundredth_on(corpus, variances, active):
    table = torch.stack([column(torch.tensor(float(v))) for v in variances], 1)
    assert measure(placed(table), corpus.train).au == active
    assert measure(placed(table + 1000), corpus.train).au == active  # no cancellation


def test_one_sentence_has_no_variance(corpus):
    assert measure(lively(), corpus.test, limit=1).au is None


class OnTheBall(Point):
    """Codes at given points of the ball."""

    declares = {"provides": {**Point.declares["provides"], "prior": "samples", "geometry": "ball"}}
    space = Ball(4.0)

    @hookimpl
    def posterior_sample(self, features, batch):
        return PosteriorSample(self.table[batch.index].unsqueeze(1))

    @hookimpl
    def prior_logprob(self, z):
        raise AssertionError

    @hookimpl
    def prior_sample(self, n):
        return torch.zeros(n, 2)


class OnTheCircle(OnTheBall):
    declares = {"provides": {**OnTheBall.declares["provides"], "geometry": "sphere"}}
    space = Sphere()


@pytest.mark.parametrize(("variances", "active"), [((0.0099, 0.0101), 1), ((2, 0.02), 2)])
def test_on_the_ball_units_are_those_of_log_0(corpus, variances, active):
    """In the coordinates of the ball, of radius 1/2, no variance reaches that of its
    tangent space.
    """
    table = torch.stack([column(torch.tensor(float(v))) for v in variances], 1)
    model = lively(OnTheBall)
    model.plugin("ontheball").table = model.space.exp(torch.zeros(2), table)
    figures = measure(model, corpus.train)
    assert figures.au == active
    assert figures.estimators["au"] == "variance of log_0 of the posteriors' centres >= 0.01"


def test_on_the_sphere_only_directions_count(corpus):
    model = lively(OnTheCircle)
    model.plugin("onthecircle").table = (
        torch.tensor([[1.0, 0.0]]) * torch.linspace(0.5, 9, 48)[:, None]
    )
    assert measure(model, corpus.train).au == 0
    model.plugin("onthecircle").table = torch.randn(
        48, 2, generator=torch.Generator().manual_seed(0)
    )
    assert measure(model, corpus.train).au == 2


class Deaf(Implicit):
    """An implicit posterior that ignores its sentence."""

    @hookimpl
    def posterior_sample(self, features, n_samples):
        return PosteriorSample(torch.randn(len(features), n_samples, self.sizes.latent))


class HalfDeaf(Implicit):
    """One that hears with its first unit."""

    @hookimpl
    def posterior_sample(self, features, n_samples, batch):
        noise = torch.randn(len(features), n_samples, self.sizes.latent)
        return PosteriorSample(
            noise
            + torch.stack([column(torch.tensor(0.3)), torch.zeros(48)], 1)[batch.index].unsqueeze(1)
        )


def test_the_noise_of_estimated_means_is_no_activity(corpus):
    for cls, active in ((Deaf, 0), (HalfDeaf, 1)):
        model = build(cls)
        model = lively(cls)
        found = [measure(model, corpus.train, seed) for seed in range(5)]
        assert [figures.au for figures in found] == [active] * 5
        assert "less their sampling variance" in found[0].estimators["au"]


def test_the_divergence_of_each_dimension_adds_up(corpus):
    figures = measure(lively(), corpus.train)
    assert len(figures.kl_per_dimension) == 2
    assert sum(figures.kl_per_dimension) == pytest.approx(figures.kl)
    assert measure(lively(), corpus.train, batch_size=1).kl_per_dimension == pytest.approx(
        figures.kl_per_dimension
    )
    assert measure(lively(FullCovariance), corpus.train).kl_per_dimension is None


def test_moments_are_those_of_the_whole():
    rows = torch.randn(50, 3, dtype=torch.float64) * 1e-3 + 1e4
    moments = Moments()
    for row in rows:
        moments.add(row.unsqueeze(0))
    assert torch.allclose(moments.mean, rows.mean(0))
    assert torch.allclose(moments.variance, rows.var(0), rtol=1e-6)


def test_a_mixture_is_a_density_that_fits_its_samples():
    torch.manual_seed(0)
    side = (torch.rand(6000, 1) < 0.3).float()
    samples = torch.randn(6000, 2) @ torch.tensor([[0.5, 0.3], [0.0, 0.4]]) + 2.5 * side
    mixture = fit_mixture(samples, (1, 2, 8))
    assert len(mixture.weights) > 1
    z, volume = cells()
    assert mixture.log_prob(z).double().exp().sum().item() * math.exp(volume) == pytest.approx(
        1, abs=1e-3
    )
    covariance = torch.tensor([[0.25, 0.15], [0.15, 0.25]])
    bumps = [
        torch.distributions.MultivariateNormal(torch.full((2,), m), covariance).log_prob(samples)
        for m in (0.0, 2.5)
    ]
    truth = torch.logaddexp(bumps[0] + math.log(0.7), bumps[1] + math.log(0.3))
    assert (truth - mixture.log_prob(samples)).mean().item() == pytest.approx(0, abs=0.02)


def test_one_gaussian_is_the_closed_form():
    samples = (
        torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)).double()
        * torch.tensor([1.0, 2.0, 0.5])
        + 1
    )
    mixture = fit_mixture(samples, (1,))
    kept = samples[400:]
    assert torch.allclose(mixture.means[0], kept.mean(0))
    assert torch.allclose(
        mixture.factors[0] @ mixture.factors[0].t(), torch.cov(kept.t()), rtol=1e-2, atol=1e-2
    )
