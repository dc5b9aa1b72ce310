"""The Gaussian that is fitted to a sentence, against posteriors that are known."""

import math

import pytest
import torch
from quadrature import Point, exact_nll, lively
from test_yardstick import BALL, OnTheBall
from torch.distributions import MultivariateNormal

from aecore.evaluation import importance as estimator
from aecore.evaluation import proposal
from aecore.evaluation.charts import Curved, Scale, chart_of
from aecore.evaluation.importance import importance
from aecore.evaluation.proposal import Normal, Proposals
from aecore.model import evaluating
from aecore.streams import Streams

NOISE = 0.4


def proposals(model, prior=None, deviation=1.0):
    latent = model.sizes.latent
    moments = Scale(torch.zeros(1, latent).double(), torch.full((1, latent), deviation).double())
    return Proposals(model, prior or model.prior_logprob, chart_of(model.space), moments)


def fitted(model, split, number, **options):
    sentence = split.batch(torch.tensor([number]))
    with evaluating(model), Streams(7)("test", number):
        return proposals(model, **options).fit(sentence, model.features(sentence))


@pytest.fixture
def linear(corpus, monkeypatch):
    """Every sentence a vector y = A z + noise in place of words: its exact posterior and nll."""
    model = lively(Point)
    made = torch.Generator().manual_seed(3)
    a = torch.randn(5, 2, generator=made)
    y = torch.randn(len(corpus.test), 5, generator=made) * 1.5

    def energy(number, z):
        squares = (y[number] - z @ a.t()) ** 2 / NOISE**2
        return 0.5 * squares.sum(-1) + 2.5 * math.log(2 * math.pi * NOISE**2)

    def nll(batch, z):
        return torch.stack([energy(n, row) for n, row in zip(batch.index, z, strict=True)])

    def energies(decoder, sentence, z, short=None):
        return energy(sentence.index[0], z)

    monkeypatch.setattr(model, "nll", nll)
    monkeypatch.setattr(model, "condition", lambda z: z)
    monkeypatch.setattr(estimator, "energies", energies)
    covariance = torch.linalg.inv(torch.eye(2) + a.t() @ a / NOISE**2)
    marginal = MultivariateNormal(torch.zeros(5), a @ a.t() + NOISE**2 * torch.eye(5))
    return model, (y @ a @ covariance / NOISE**2, covariance), -marginal.log_prob(y)


@pytest.mark.parametrize("deviation", [1.0, 3.0])
def test_a_gaussian_posterior_is_found(corpus, linear, deviation):
    """Whatever the scale of the coordinates, and correlated as it is."""
    model, (means, covariance), _ = linear
    assert abs(covariance[0, 1] / covariance.diagonal().prod().sqrt()) > 0.15
    for number in range(len(corpus.test)):
        found = fitted(model, corpus.test, number, deviation=deviation)
        assert torch.allclose(found.mean, means[number].double(), atol=2e-3)
        assert torch.allclose(found.factor @ found.factor.t(), covariance.double(), rtol=0.02)


def test_a_linear_gaussian_decoder_is_its_closed_form(corpus, linear):
    model, _, exact = linear
    with evaluating(model):
        weights = importance(model, corpus.test, Streams(0), 20_000)
        for number in range(len(corpus.test)):
            sentence = corpus.test.batch(torch.tensor([number]))
            found = weights.weigh(sentence, model.features(sentence))
            # 4 standard errors of a mean of weights with so many effective samples
            assert abs(found.nll - exact[number]) < 4 / math.sqrt(found.ess) + 1e-3
            assert found.ess > 0.85 * 20_000  # a tenth is the prior's


def bound(model, split, number, found):
    """E_q[-log p(x | z) - log p(z) + log q(z)], 4,000 draws."""
    with evaluating(model), Streams(9)("test"):
        z, log_q = found.draw(4000)
        z = z.float()
        sentence = split.batch(torch.tensor([number]))
        return float((model.nll(sentence, z[None])[0] - model.prior_logprob(z) + log_q).mean())


@pytest.mark.parametrize("cls", [Point, OnTheBall])
def test_the_fit_gains_on_its_start_and_nothing_near_is_better(corpus, cls, monkeypatch):
    model = lively(cls)
    for number in range(3):
        found = fitted(model, corpus.test, number)
        lowest = bound(model, corpus.test, number, found)
        with monkeypatch.context() as only:
            only.setattr(proposal, "STEPS", 1)
            assert bound(model, corpus.test, number, fitted(model, corpus.test, number)) > lowest
        for push in ([0.4, 0.0], [0.0, -0.4]):
            other = Normal(
                found.chart, found.mean + found.factor @ torch.tensor(push).double(), found.factor
            )
            assert bound(model, corpus.test, number, other) > lowest - 0.02
        for width in (0.6, 1.6):
            other = Normal(found.chart, found.mean, width * found.factor)
            assert bound(model, corpus.test, number, other) > lowest


def test_the_bound_of_the_fit_is_near_the_likelihood(corpus):
    model = lively(Point)
    exact = exact_nll(model, corpus.test)
    for number in range(4):
        gap = bound(model, corpus.test, number, fitted(model, corpus.test, number)) - exact[number]
        assert -0.02 < gap < 0.3


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("after", [0, 2])
def test_a_bound_that_is_no_number_ends_the_fit(corpus, bad, after):
    """What was best until then is kept; the estimate is as wide as that."""
    model, calls = lively(Point), []

    def prior(z):
        calls.append(len(z))
        return model.prior_logprob(z) + (bad if len(calls) > after else 0.0)

    found = fitted(model, corpus.test, 0, prior=prior)
    assert len(calls) == after + 1
    assert torch.isfinite(found.factor).all()
    started = torch.equal(found.factor, proposal.START * torch.eye(2).double())
    assert started == (after == 0)


@pytest.mark.parametrize("steep", [1e8, 1e16, 1e30])
def test_a_curvature_of_many_magnitudes_breaks_nothing(corpus, steep):
    """One direction is steep and the other is not: what is kept is a Gaussian in any case."""
    model = lively(Point)

    def prior(z):
        return model.prior_logprob(z) - steep * (z[..., 0] + z[..., 1]).square()

    found = fitted(model, corpus.test, 0, prior=prior)
    assert torch.isfinite(found.mean).all()
    assert (found.factor.diagonal() > 0).all()
    assert torch.isfinite(found.draw(10)[1]).all()


def test_the_factor_is_that_of_the_covariance():
    root = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    precision = root @ root.t() + torch.eye(5, dtype=torch.float64)
    factor = proposal._Iterate(torch.zeros(5).double(), precision).factor
    assert torch.allclose(factor, torch.linalg.cholesky(torch.linalg.inv(precision)))


def test_a_decoder_that_ignores_z_is_given_the_prior(corpus):
    model = lively(Point)
    with torch.no_grad():
        model.decoder.bridge.weight.zero_()
        model.decoder.lstm.weight_ih_l0[:, 5:] = 0
    found = fitted(model, corpus.test, 0)
    assert torch.allclose(found.mean, torch.zeros(2).double(), atol=1e-5)
    assert torch.allclose(found.factor, torch.eye(2).double(), atol=1e-5)


def test_the_model_is_as_it_was(corpus):
    model = lively(Point)
    model.decoder.output.weight.requires_grad_(False)
    fitted(model, corpus.test, 0)
    for name, parameter in model.named_parameters():
        assert parameter.grad is None
        assert parameter.requires_grad == (name != "decoder.output.weight"), name


def test_draws_and_density_agree_on_the_ball():
    """Also far out, where the volume element is most of it."""
    factor = torch.tensor([[0.5, 0.0], [0.3, 0.8]]).double()
    normal = Normal(Curved(BALL), torch.tensor([3.0, -1.0]).double(), factor)
    z, log_q = normal.draw(500)
    assert torch.allclose(normal.log_prob(z), log_q, atol=1e-5)


def test_what_the_edge_holds_back_weighs_nothing():
    """As wide as the ball: what lies beyond the edge is no draw of the density that is told."""
    normal = Normal(Curved(BALL), torch.zeros(2).double(), 10.0 * torch.eye(2).double())
    z, log_q = normal.draw(4000)
    held = z.norm(dim=-1) >= BALL.limit * (1 - 1e-9)
    assert 0.1 < held.float().mean() < 0.9
    assert torch.equal(log_q == torch.inf, held)
