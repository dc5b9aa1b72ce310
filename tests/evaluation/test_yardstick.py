"""nll_iw where no posterior will do as a proposal, against what is known: closed forms, a language
model's exact likelihood, a posterior's own estimate, quadrature on the ball.
"""

import math
from typing import ClassVar

import pytest
import torch
from quadrature import Point, cells, lively

from aecore import PosteriorSample, hookimpl
from aecore.evaluation import importance as estimator
from aecore.evaluation.charts import Flat, chart_of
from aecore.evaluation.protocol import evaluate_split
from aecore.geometry import Ball, Sphere, WrappedNormal
from aecore.model import evaluating
from aecore.streams import Streams

BALL = Ball(0.7)
CURVED = {**Point.declares["provides"], "geometry": "ball"}


def measure(model, split, samples, **options):
    return evaluate_split(model, split, Streams(0), 4, iw_samples=samples, **options)


class OnTheBall(Point):
    """A code on the ball under a penalty; the prior is a wrapped normal."""

    space = BALL
    declares = {"provides": {**CURVED, "prior": "density"}}

    @hookimpl
    def posterior_sample(self, features):
        v = self.head(features)
        return PosteriorSample(BALL.exp(torch.zeros_like(v), v / 2).unsqueeze(1))

    @hookimpl
    def prior_logprob(self, z):
        return standard(z).log_prob(z.unsqueeze(-2)).squeeze(-1)

    @hookimpl
    def prior_sample(self, n):
        return standard(torch.zeros(2)).rsample((n,))[0].squeeze(-2)


def standard(like):
    return WrappedNormal(BALL, like.new_zeros(1, 2), like.new_full((1, 2), 0.9))


class BumpsOnTheBall(OnTheBall):
    """The same with a prior of two bumps that tells no density."""

    declares = {"provides": {**CURVED, "prior": "samples"}}
    CENTRES = torch.tensor([[0.5, 0.2], [-0.4, -0.4]])

    @hookimpl
    def prior_logprob(self, z):
        raise AssertionError("a prior of samples was asked for a density")

    @hookimpl
    def prior_sample(self, n):
        side = (torch.rand(n, 1) < 0.3).long().squeeze(1)
        z, _, _ = WrappedNormal(BALL, self.CENTRES[side], torch.full((n, 2), 0.5)).rsample()
        return z

    @classmethod
    def log_prior(cls, z):
        bumps = WrappedNormal(BALL, cls.CENTRES, torch.full((2, 2), 0.5)).log_prob(z.unsqueeze(-2))
        return (bumps + torch.tensor([0.7, 0.3]).log()).logsumexp(-1)


def exact_on_the_ball(model, split, log_prior):
    """(N,): -log of the integral over normal coordinates at 0, whose volume element is known."""
    v, cell = cells()
    z = BALL.exp(torch.zeros_like(v), v / 2)
    x = math.sqrt(BALL.curvature) * v.norm(dim=-1).double().clamp(min=1e-6)
    volume = cell + (torch.sinh(x) / x).log()
    with evaluating(model):
        log_p = log_prior(z).double() + volume
        assert abs(log_p.exp().sum().item() - 1) < 2e-3  # the grid holds the prior
        rows = [
            model.nll(split.batch(torch.tensor([n])), z.unsqueeze(0))[0].double()
            for n in range(len(split))
        ]
    return torch.stack([-(log_p - row).logsumexp(0) for row in rows])


@pytest.mark.parametrize(
    ("cls", "log_prior"), [(OnTheBall, None), (BumpsOnTheBall, BumpsOnTheBall.log_prior)]
)
def test_on_the_ball_it_is_the_integral(corpus, cls, log_prior):
    model = lively(cls)
    exact = exact_on_the_ball(model, corpus.test, log_prior or model.prior_logprob)
    figures = measure(model, corpus.test, 3000)
    assert figures.nll_iw == pytest.approx(exact.mean().item(), abs=0.03)
    assert "fitted to each sentence in normal coordinates" in figures.estimators["nll_iw"]
    assert ("a mixture of" in figures.estimators["nll_iw"]) == (log_prior is not None)
    assert figures.iw_ess > 100
    assert figures.iw_bad <= 3


def test_the_chart_is_one_of_normal_coordinates():
    v = torch.randn(50, 3, dtype=torch.float64)
    chart = chart_of(BALL)
    z = chart.point(v)
    assert torch.allclose(chart.coordinates(z), v, atol=1e-6)
    assert torch.allclose(BALL.distance(torch.zeros_like(z), z), v.norm(dim=-1))
    x = math.sqrt(0.7) * v.norm(dim=-1)
    assert torch.allclose(chart.log_volume(v), 2 * (torch.sinh(x) / x).log())
    flat = chart_of(lively().space)
    assert isinstance(flat, Flat)
    assert torch.equal(flat.point(flat.coordinates(v)), v)
    assert not flat.log_volume(v).any()
    assert chart_of(Sphere()) is None


def test_a_gaussian_posterior_gets_the_same_by_a_fit_as_by_itself(corpus, monkeypatch):
    model = lively()
    own = measure(model, corpus.test, 3000)
    monkeypatch.setattr(estimator, "_has_own_proposal", lambda model: False)
    fitted = measure(model, corpus.test, 3000)
    assert "of the posterior" in own.estimators["nll_iw"]
    assert "a Gaussian fitted to each sentence," in fitted.estimators["nll_iw"]
    assert fitted.nll_iw == pytest.approx(own.nll_iw, abs=0.03)


def test_single_sentences_make_the_means(corpus):
    model = lively()
    figures = measure(model, corpus.test, 30)
    assert set(figures.each) == {"rec", "kl", "nll_elbo", "nll_iw", "iw_ess", "iw_k"}
    for name in ("rec", "kl", "nll_elbo", "nll_iw", "iw_ess"):
        assert figures.each[name].shape == (len(corpus.test),)
        assert figures.each[name].dtype == torch.float32
        assert figures.each[name].mean().item() == pytest.approx(getattr(figures, name), rel=1e-5)
    assert int((figures.each["iw_k"] > 0.7).sum()) == figures.iw_bad
    # in the order of the split, whatever the order in which they were measured
    single = evaluate_split(model, corpus.test.head(3), Streams(0), 1, iw_samples=30)
    assert torch.allclose(figures.each["nll_iw"][:3], single.each["nll_iw"], atol=1e-4)


def test_a_penalty_is_no_figure_of_a_sentence(corpus):
    assert set(measure(lively(Point), corpus.test, 0).each) == {"rec"}


class Coupled(Point):
    """A penalty that asks of which lengths its batches are."""

    declares = {**Point.declares, "batching": "mixed"}
    seen: ClassVar[list[list[int]]] = []

    @hookimpl
    def kl_term(self, step):
        self.seen.append(step.batch.lengths.tolist())
        return step.sample.z.mean((0, 1)).square().sum().expand(len(step.batch), 1)


def test_a_penalty_that_compares_codes_meets_batches_of_mixed_lengths(corpus):
    figures = [measure(lively(cls), corpus.train, 0) for cls in (Coupled, Coupled, Point)]
    half = len(Coupled.seen) // 2
    assert Coupled.seen[:half] == Coupled.seen[half:]  # the same at every call
    assert sum(len(set(lengths)) > 1 for lengths in Coupled.seen[:half]) > half / 2
    assert figures[0].rec == pytest.approx(figures[2].rec, rel=1e-5)
