"""The plugin in its composition: zero divergences, the flat limit, the edge, settings."""

import math

import pytest
import torch
from aecore_poincare import LEAST, WIDEST, Poincare
from torch.distributions import Normal

from aecore import Sizes
from aecore.assembly import assemble
from aecore.catalogue import Catalogue
from aecore.errors import ConfigError
from aecore.evaluation.protocol import evaluate_split
from aecore.geometry import Ball
from aecore.streams import Streams
from aecore.testing import parametrize_with_checks
from aecore.testing.lab import batch_of, build, corpus, step_on
from aecore.testing.subject import Subject
from aecore.vae import gaussian_kl


def model(latent=4, spread=True, **settings):
    return build(Subject.installed("poincare", settings), latent=latent, dropout=0.0, spread=spread)


def standing(location, spread, **settings):
    """A plugin whose encoder gives these numbers, (B, D) each; and its features."""
    dimensions = location.shape[1]
    plugin = Poincare(
        Poincare.Config(**settings),
        Sizes(vocabulary=9, embedding=2, hidden=2 * dimensions, latent=dimensions),
    )
    with torch.no_grad():
        plugin.head.weight.copy_(torch.eye(2 * dimensions))
    return plugin, torch.cat([location, spread], 1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("dimensions", [2, 32])
@pytest.mark.parametrize("curvature", [0.1, 0.7])
def test_a_posterior_that_is_the_prior_costs_nothing(dimensions, curvature):
    """At s = 0 and m = 0 q is p: log densities from noise and from points agree."""
    plugin, features = standing(
        torch.zeros(3, dimensions), torch.zeros(3, dimensions), curvature=curvature, prior_std=0.8
    )
    sample = plugin.posterior_sample(features, 200)
    apart = sample.log_prob - plugin.prior_logprob(sample.z)
    assert apart.abs().max() < 2e-3 + 2 * dimensions * LEAST / 0.8


def test_at_the_same_centre_the_divergence_is_that_of_the_normals():
    """The volume cancels: KL = sum of KL(N(0, s^2) || N(0, 1))."""
    spread = torch.tensor([[-1.0, 0.5, -2.0]])
    plugin, features = standing(torch.zeros(1, 3), spread)
    sample = plugin.posterior_sample(features, 40_000)
    log_ratio = (sample.log_prob - plugin.prior_logprob(sample.z)).double()
    scale = WIDEST / (1 + (WIDEST - 1) * (-spread).exp()) + LEAST
    due = gaussian_kl(torch.zeros(1, 3), scale).sum().item()
    assert abs(log_ratio.mean().item() - due) < 4 * log_ratio.std().item() / 200


def test_without_curvature_it_is_the_vae():
    """In 2 z, where the ball's metric is that of R^D: the closed Gaussian KL, in the mean."""
    location, spread = torch.randn(1, 3), 0.5 * torch.randn(1, 3)
    plugin, features = standing(location, spread, curvature=1e-8)
    sample = plugin.posterior_sample(features, 40_000)
    scale = WIDEST / (1 + (WIDEST - 1) * (-spread).exp()) + LEAST
    assert torch.allclose(sample.mean * 2, location, atol=1e-5)
    assert torch.allclose(
        sample.log_prob, Normal(location, scale).log_prob(2 * sample.z).sum(-1), atol=1e-3
    )
    assert torch.allclose(
        plugin.prior_logprob(sample.z), Normal(0.0, 1.0).log_prob(2 * sample.z).sum(-1), atol=1e-3
    )
    log_ratio = (sample.log_prob - plugin.prior_logprob(sample.z)).double()
    assert abs(log_ratio.mean() - gaussian_kl(location, scale).sum()) < 4 * log_ratio.std() / 200


def test_the_prior_integrates_to_one_by_monte_carlo():
    """E[exp(log p) lambda^2] over the disc of radius r, times its area: uniform points."""
    plugin, _ = standing(torch.zeros(1, 2), torch.zeros(1, 2), curvature=1.0, prior_std=0.6)
    n = 200_000
    radius = plugin.ball.limit * torch.rand(n).double().sqrt()
    angle = 2 * math.pi * torch.rand(n).double()
    z = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
    weight = (
        math.pi
        * plugin.ball.limit**2
        * plugin.prior_logprob(z).exp()
        * plugin.ball.conformal(z).squeeze(-1).square()
    )
    assert abs(weight.mean() - 1) < 4 * weight.std() / math.sqrt(n)
    assert weight.std() / math.sqrt(n) < 0.01


def test_draws_keep_their_distance_from_the_centre():
    """d(mu, z) is the length of sigma eps: chi-distributed for sigma 1, wherever mu is."""
    plugin, features = standing(
        torch.tensor([[2.0, -1.0, 0.5, 0.0]]), torch.zeros(1, 4), curvature=0.5
    )
    sample = plugin.posterior_sample(features, 5000)
    due = plugin.furthest * math.tanh(math.sqrt(5.25) / plugin.furthest)
    assert due > 2  # a little less than asked for
    distance = plugin.ball.distance(sample.mean.unsqueeze(1), sample.z).double()
    assert abs(distance.square().mean() - 4) < 4 * distance.square().std() / math.sqrt(5000)
    assert plugin.ball.distance(torch.zeros(1, 4), sample.mean).item() == pytest.approx(
        due, rel=1e-5
    )


def test_training_starts_near_the_prior_and_stays_off_the_edge():
    built = model(latent=32, spread=False)
    step = step_on(built, batch_of(7), 50)
    assert abs(step.kl.mean().item()) < 0.1
    assert built.plugin("poincare").logged["clipped"].item() == 0


def test_posteriors_stay_clear_of_the_edge_however_far_and_wide_the_encoder_wants_them():
    plugin, features = standing(torch.full((2, 32), 1e3), torch.full((2, 32), 1e3))
    sample = plugin.posterior_sample(features, 2000)
    assert plugin.logged["clipped"].item() < 0.02
    kl = sample.log_prob - plugin.prior_logprob(sample.z)
    narrow, features = standing(torch.full((2, 32), 1e3), torch.full((2, 32), -1.0))
    assert kl.mean() > 10  # what lies so far out costs
    assert narrow.posterior_sample(features, 2000).log_prob.isfinite().all()
    assert narrow.logged["clipped"].item() == 0


def test_clipped_draws_are_counted(monkeypatch):
    monkeypatch.setattr(Poincare, "furthest", 1e3)  # as if nothing bounded the centres
    # far out, and wide
    plugin, features = standing(torch.full((2, 32), 5.0), torch.full((2, 32), 3.0), curvature=0.7)
    sample = plugin.posterior_sample(features, 100)
    held = (sample.z.norm(dim=-1) >= plugin.ball.limit - 1e-7).float().mean().item()
    assert plugin.logged["clipped"].item() == pytest.approx(held)
    assert held > 0.9
    assert torch.isfinite(sample.log_prob).all()
    assert torch.isfinite(plugin.decoder_condition(sample.z)).all()


@pytest.mark.parametrize(
    ("settings", "width"), [({}, 4), ({"width": 7}, 7), ({"decoder": "log_0"}, 4)]
)
def test_what_the_decoder_reads(settings, width):
    built = model(**settings)
    assert built.condition(built.prior_sample(3)).shape == (3, width)
    assert built.space == Ball(0.7)


def test_log_0_is_the_tangent_vector():
    built = model(decoder="log_0")
    v = torch.randn(5, 4)
    assert torch.allclose(built.condition(built.space.exp(torch.zeros(5, 4), v)), v, atol=1e-4)


def test_likelihood_information_and_units():
    figures = evaluate_split(model(), corpus().valid, Streams(0), 4, mi=True, iw_samples=20)
    assert figures.kl_estimator == "monte-carlo"
    assert figures.nll_elbo == pytest.approx(figures.rec + figures.kl)
    assert "20 samples of the posterior" in figures.estimators["nll_iw"]
    assert 0 <= figures.mi <= math.log(6) + 1e-9
    assert figures.estimators["au"].startswith("variance of log_0 of the posteriors' centres")


def test_what_composes():
    catalogue = Catalogue.discover()
    for other in ("annealing", "betavae", "controlvae"):
        levels = assemble({"poincare": {}, other: {}}, catalogue).composition.levels
        assert (levels["kl"], levels["geometry"], levels["kl_estimator"]) == (
            "sentence",
            "ball",
            "monte-carlo",
        )
        assert levels["kl_gradient"] == {"encoder", "prior"}


@pytest.mark.parametrize(
    "settings",
    [
        {"curvature": 0.0},
        {"curvature": -1.0},
        {"prior_std": 0.0},
        {"width": 0},
        {"decoder": "linear"},
        {"c": 1.0},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="validation error"):
        Poincare.Config(**settings)


def volume(length, curvature):
    """log sinh(sqrt(c) r) / (sqrt(c) r)."""
    x = math.sqrt(curvature) * length
    return x + torch.log(-torch.expm1(-2 * x) / (2 * x))


def divergence(plugin, mean, scale, n):
    """log q - log p at n draws, by hyperbolic trigonometry: no point of the ball is computed.

    The draw's distance r from the centre, that of the centre from 0, and the angle between the two
    give its distance d from 0: cosh d = cosh m cosh r + sinh m sinh r cos t.
    """
    c, (d,) = plugin.config.curvature, mean.shape
    v = scale.double() * torch.randn(n, d).double()
    m = plugin.ball.distance(torch.zeros_like(mean), mean).double()
    r = v.norm(dim=-1)
    cosine = (v @ (mean / mean.norm()).double()) / r
    k = math.sqrt(c)
    grown = torch.cosh(k * m) * torch.cosh(k * r) + torch.sinh(k * m) * torch.sinh(k * r) * cosine
    far = torch.acosh(grown) / k
    log_q = Normal(0.0, scale.double()).log_prob(v).sum(-1) - (d - 1) * volume(r, c)
    log_p = -0.5 * far.square() - 0.5 * d * math.log(2 * math.pi) - (d - 1) * volume(far, c)
    return log_q - log_p


@pytest.mark.parametrize(("dimensions", "curvature"), [(32, 0.7), (32, 1.0), (8, 2.1), (2, 3.4)])
def test_the_widest_and_furthest_posterior_costs_what_trigonometry_says(dimensions, curvature):
    """Down to the smallest ball that is allowed, nothing is cut off at the edge."""
    away = torch.full((1, dimensions), 50.0)
    plugin, features = standing(away, away, curvature=curvature)
    n = 50_000
    sample = plugin.posterior_sample(features, n)
    found = (sample.log_prob - plugin.prior_logprob(sample.z)).double()
    q = sample.distribution
    due = divergence(plugin, q.mean[0].double(), q.scale[0], n)
    error = math.sqrt((found.var().item() + due.var().item()) / n)
    assert abs(found.mean().item() - due.mean().item()) < 4 * error + 1e-3
    assert plugin.logged["clipped"].item() < 2e-3


def test_posteriors_that_do_not_fit_into_the_ball_are_refused():
    with pytest.raises(ConfigError, match=r"curvature at most 1,") as caught:
        model(latent=32, curvature=1.6)
    assert "float32 ends 9.6 from" in str(caught.value)
    with pytest.raises(ConfigError, match=r"curvature at most 2\.1"):
        model(latent=8, curvature=6.6)


@parametrize_with_checks("poincare")
def test_conformance(subject, check):
    check(subject)


@parametrize_with_checks(
    "poincare", settings={"decoder": "log_0", "curvature": 0.1, "prior_std": 0.7}
)
def test_conformance_of_the_other_settings(subject, check):
    check(subject)
