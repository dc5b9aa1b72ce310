"""The APo-VAE: geometry, the direction of the pseudo-inputs on a known case, what composes."""

import math

import pytest
import torch
from aecore_apovae import ApoVae, Network

from aecore import Sizes
from aecore.assembly import assemble
from aecore.catalogue import Catalogue
from aecore.errors import CompositionError, ConfigError
from aecore.evaluation.protocol import evaluate_split
from aecore.geometry import Ball, WrappedNormal
from aecore.matching import dual
from aecore.streams import Streams
from aecore.testing import Subject, parametrize_with_checks
from aecore.testing.lab import batch_of, build, corpus, step_on

SMALL = {"width": 16, "layers": 1, "lr": 1e-3}
VAMP = {**SMALL, "prior": "vamp", "components": 5, "length": 4}
BALL = Ball(0.7)


@parametrize_with_checks("apovae", settings=SMALL)
def test_conformance(subject, check):
    check(subject)


@parametrize_with_checks("apovae", settings=VAMP)
def test_conformance_with_pseudo_inputs(subject, check):
    check(subject)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_draws_lie_as_far_from_their_centre_as_the_tangent_vector_is_long():
    """With G(f, xi) = xi and short vectors, which are not bounded: chi-distributed distances."""
    network = Network(Ball(0.1), Sizes(9, 2, 4, 3))
    for parameter in network.bent.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.zeros_(network.straight.weight[:, :4])
    sample = network.draw(torch.randn(2, 4), 4000)
    far = network.ball.distance(sample.mean.unsqueeze(1), sample.z)
    shrunk = network.longest * torch.tanh(torch.randn(8000, 3).norm(dim=-1) / network.longest)
    assert far.mean().item() == pytest.approx(shrunk.mean().item(), rel=0.03)


def test_however_far_the_encoder_wants_them_no_draw_meets_the_edge():
    network = Network(BALL, Sizes(9, 2, 4, 32))
    sample = network.draw(1e4 * torch.randn(50, 4), 100)
    assert sample.z.norm(dim=-1).max() < BALL.limit * 0.999999
    assert sample.z.isfinite().all()


def test_a_ball_without_room_is_refused():
    with pytest.raises(ConfigError, match=r"curvature at most 1\b"):
        build(Subject.installed("apovae", {**SMALL, "curvature": 3.0}), latent=32)


def kl(q, p, n=200_000):
    """KL(q || p) of two wrapped normals by Monte Carlo, nats, and its error."""
    z, log_q, _ = q.rsample((n,))
    values = (log_q - p.log_prob(z)).squeeze(-1).double()
    return values.mean().item(), values.std().item() / math.sqrt(n)


def test_descent_on_the_dual_lowers_the_true_kl_and_the_printed_ascent_raises_it():
    """q and p are wrapped normals of which p has a centre to learn; nu is their true log ratio."""

    def around(tangent):
        centre = BALL.exp(torch.zeros_like(tangent), tangent / 2)
        return WrappedNormal(BALL, centre, torch.full_like(centre, 0.8))

    q, place = around(torch.tensor([[1.2, 0.4]])), torch.tensor([[0.0, 0.0]], requires_grad=True)

    def nu(z):
        with torch.no_grad():
            fixed = around(place.detach())
        return (q.log_prob(z) - fixed.log_prob(z)).squeeze(-1)

    drawn, _, _ = around(place).rsample((100_000,))
    codes, _, _ = q.rsample((100_000,))
    (slope,) = torch.autograd.grad(dual(nu(codes), nu(drawn)).mean(), place)
    before, error = kl(q, around(place.detach()))
    step = 0.1 * slope / slope.norm()
    lower, upper = (kl(q, around((place + s).detach()))[0] for s in (-step, step))
    assert lower < before - 10 * error
    assert upper > before + 10 * error


@pytest.mark.parametrize(("direction", "sign"), [("descent", 1), ("ascent", -1)])
def test_the_setting_turns_the_gradient_of_the_pseudo_inputs_round_and_nothing_else(
    direction, sign
):
    found = []
    for chosen in ("descent", direction):
        model = build(Subject.installed("apovae", {**VAMP, "pseudo_inputs": chosen}), dropout=0.0)
        torch.manual_seed(1)
        step = step_on(model, batch_of(6))
        step.kl.sum().backward()
        plugin = model.plugin("apovae")
        weight = model.encoder.embedding.weight
        found.append((step.kl.detach(), plugin.inputs.grad, weight.grad))
    (value, inputs, encoder), (other, turned, same) = found
    torch.testing.assert_close(value, other)
    torch.testing.assert_close(turned, sign * inputs)
    torch.testing.assert_close(encoder, same)
    assert inputs.abs().max() > 0


@pytest.mark.parametrize("settings", [SMALL, VAMP])
def test_what_is_reported_is_a_dual_and_the_yardstick_lies_on_the_ball(settings):
    model = build(Subject.installed("apovae", settings), latent=2, spread=True)
    figures = evaluate_split(model, corpus().valid, Streams(0), 3, iw_samples=30)
    assert (figures.kl_estimator, figures.nll_elbo) == ("dual", None)
    assert "normal coordinates" in figures.estimators["nll_iw"]
    assert ("a mixture of" in figures.estimators["nll_iw"]) == ("prior" in settings)
    assert math.isfinite(figures.nll_iw)
    assert model.plugin("apovae").logged["edge"].item() == 0


def composed(*names, **settings):
    return assemble({name: settings.get(name, {}) for name in names}, Catalogue.discover())


def test_what_composes_and_what_is_refused():
    for other in ("annealing", "betavae", "controlvae", "ae_pretrain", "dae"):
        assert composed("apovae", other).composition.levels["geometry"] == "ball"
    for other in ("free_bits", "flowprior", "savae", "vmf", "poincare", "wae_mmd", "ivae", "daae"):
        with pytest.raises(CompositionError):
            composed("apovae", other)


@pytest.mark.parametrize(
    "settings", [{"steps": 0}, {"components": 0}, {"prior": "flow"}, {"curvature": 0.0}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="validation error"):
        ApoVae.Config(**settings)
