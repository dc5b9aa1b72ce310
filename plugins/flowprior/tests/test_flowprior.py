"""The flow against autograd's Jacobian, its bound against closed forms."""

import math
from types import SimpleNamespace

import pytest
import torch
from aecore_flowprior import FlowPrior
from pydantic import ValidationError
from torch import distributions

from aecore import Sizes
from aecore.composition import Part, compose
from aecore.errors import CompositionError, ConfigError
from aecore.manifest import parse_manifest
from aecore.testing import Subject, parametrize_with_checks
from aecore.testing.lab import batch_of, build, step_on

FLOWS = ("realnvp", "nsf", "nice")


def prior(latent=4, seed=0, spread=0.0, **settings):
    """A flow in float64; ``spread`` draws its last layers, so that it bends."""
    torch.manual_seed(seed)
    plugin = FlowPrior(FlowPrior.Config(**settings), Sizes(9, 2, 3, latent)).double()
    for layer in plugin.flow if spread else ():
        for parameter in layer.hyper[-1].parameters():
            torch.nn.init.normal_(parameter, std=spread)
    return plugin


def normal(mean, deviation):
    """Normal(mean, deviation) in float64, which torch's own is not for Python numbers."""
    return distributions.Normal(
        *(torch.as_tensor(value, dtype=torch.float64) for value in (mean, deviation))
    )


def standard(z):
    return normal(0.0, 1.0).log_prob(z).sum(-1)


def term(rec, log_prior, log_q, **settings):
    """extra_loss for (B, N) values."""
    sample = SimpleNamespace(log_prob=log_q)
    return prior(**settings).extra_loss(
        SimpleNamespace(rec=rec, log_prior=log_prior, sample=sample)
    )


@pytest.mark.parametrize("flow", FLOWS)
def test_before_training_the_flow_is_the_gaussian_prior(flow):
    plugin, z = prior(flow=flow), 2 * torch.randn(64, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(plugin.prior_logprob(z), standard(z), rtol=0, atol=1e-12)


def test_before_training_the_kl_is_that_of_the_default_prior_bit_for_bit():
    kls = []
    for subject in (Subject.installed("flowprior"), Subject.defaults()):
        model = build(subject, dropout=0.0)
        torch.manual_seed(1)
        step = step_on(model, batch_of(7), samples=5)
        kls.append(
            step.kl
            if step.kl.shape[1] == 1
            else (step.sample.log_prob - step.log_prior).mean(1, keepdim=True)
        )
    assert torch.equal(*kls)


@pytest.mark.parametrize("flow", FLOWS)
def test_the_density_is_the_change_of_variables(flow):
    # log p(f(e)) = log N(e) - log |det df/de|, with the Jacobian of the sampling direction from
    # autograd.
    plugin = prior(flow=flow, layers=3, hidden=8, spread=0.5)
    forward = plugin.inverse().inv
    for noise in 1.5 * torch.randn(12, 4, dtype=torch.float64):
        jacobian = torch.autograd.functional.jacobian(forward, noise)
        expected = standard(noise) - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(
            plugin.prior_logprob(forward(noise)), expected, rtol=0, atol=1e-9
        )


def test_two_affine_layers_by_hand():
    # Layer 1 keeps z1 and layer 2 keeps z2; with constant networks each is e -> e exp(a) + b, a
    # squashed by zuko.
    plugin = prior(latent=2, layers=2, hidden=1)
    for layer, (shift, scale) in zip(plugin.flow, ((0.5, 1.0), (-1.0, -0.4)), strict=True):
        layer.hyper[-1].bias.data = torch.tensor([shift, scale], dtype=torch.float64)
    a, b = (s / (1 + abs(s) / math.log(1000)) for s in (1.0, -0.4))
    z = torch.tensor([0.3, -0.7], dtype=torch.float64)
    noise = (0.3 * math.exp(b) - 1.0, -0.7 * math.exp(a) + 0.5)
    expected = -0.5 * (noise[0] ** 2 + noise[1] ** 2) - math.log(2 * math.pi) + a + b
    assert float(plugin.prior_logprob(z)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("flow", FLOWS)
def test_the_inverse_brings_back_what_the_flow_made(flow):
    transform = prior(flow=flow, latent=7, hidden=8, spread=0.5).inverse()
    noise = 2 * torch.randn(500, 7, dtype=torch.float64)
    torch.testing.assert_close(transform(transform.inv(noise)), noise, rtol=0, atol=1e-8)


@pytest.mark.parametrize("flow", FLOWS)
def test_samples_and_density_agree(flow):
    # E_p[g / p] = 1 for a normalised g, here a narrow normal; and E_p[sum z^2] against the integral
    # over g-weighted draws.
    plugin, n = prior(flow=flow, latent=3, layers=2, hidden=8, spread=0.3), 40_000
    with torch.no_grad():
        z = plugin.prior_sample(n)
        log_p = plugin.prior_logprob(z)
        narrow = normal(z.mean(0), 0.7 * z.std(0)).log_prob(z).sum(-1)
        mass = (narrow - log_p).exp()
        wide = normal(z.mean(0), 1.3 * z.std(0))
        there = wide.sample((n,))
        weighted = (
            plugin.prior_logprob(there) - wide.log_prob(there).sum(-1)
        ).exp() * there.square().sum(-1)
    assert float(mass.mean()) == pytest.approx(1, abs=4 * float(mass.std()) / n**0.5)
    error = (float(weighted.var() + z.square().sum(-1).var()) / n) ** 0.5
    assert float(weighted.mean() - z.square().sum(-1).mean()) == pytest.approx(0, abs=4 * error)
    assert error < 0.05


@pytest.mark.parametrize("flow", FLOWS)
def test_the_gradient_of_the_density_is_that_of_finite_differences(flow):
    plugin, z = (
        prior(flow=flow, layers=2, hidden=4, spread=0.5),
        torch.randn(3, 4, dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradcheck(plugin.prior_logprob, (z,))
    weight = plugin.flow[0].hyper[-1].weight

    def of_weight(value):
        with torch.no_grad():
            weight.copy_(value)
        return float(plugin.prior_logprob(z).sum())

    (found,) = torch.autograd.grad(plugin.prior_logprob(z).sum(), weight)
    start, step = weight.detach().clone(), torch.zeros_like(weight)
    step[0, 1] = 1e-6
    assert float(found[0, 1]) == pytest.approx(
        (of_weight(start + step) - of_weight(start - step)) / 2e-6, rel=1e-6
    )


def test_the_term_by_hand():
    # Weights p(x, z) / q: exp(-3 - 1 + 2) and exp(-4 - 2 + 1); twice the weight is twice the term.
    rec, log_prior, log_q = (
        torch.tensor([row], dtype=torch.float64) for row in ([3.0, 4.0], [-1.0, -2.0], [-2.0, -1.0])
    )
    due = -math.log((math.exp(-2) + math.exp(-5)) / 2)
    assert term(rec, log_prior, log_q).tolist() == [pytest.approx(due, abs=1e-12)]
    assert term(rec, log_prior, log_q, iw_weight=2.0).tolist() == [
        pytest.approx(2 * due, abs=1e-12)
    ]


# z ~ N(0, 1), x | z ~ N(A z, S^2): p(x) = N(0, A^2 + S^2), p(z | x) = N(A x / (A^2 + S^2), S^2 /
# (A^2 + S^2))
A, S = 1.7, 0.6


def linear(x, samples, shift=0.0, stretch=1.0):
    """(rec, log_prior, log_q), (B, N) each, for exact posteriors, shifted and stretched."""
    evidence = A * A + S * S
    q = normal((A * x / evidence + shift).unsqueeze(1), stretch * S / evidence**0.5)
    z = q.sample((samples,)).squeeze(-1).t()
    return -normal(A * z, S).log_prob(x.unsqueeze(1)), normal(0.0, 1.0).log_prob(z), q.log_prob(z)


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_with_the_exact_posterior_the_term_is_log_p_of_x_for_every_n(samples):
    x = torch.linspace(-4, 4, 9, dtype=torch.float64)
    due = -normal(0.0, math.sqrt(A * A + S * S)).log_prob(x)
    torch.testing.assert_close(term(*linear(x, samples)), due, rtol=0, atol=1e-10)


def test_with_another_posterior_the_term_bounds_log_p_of_x_and_closes_in_with_n():
    x = torch.full((20_000,), 1.3, dtype=torch.float64)
    due = -float(normal(0.0, math.sqrt(A * A + S * S)).log_prob(x[0]))
    torch.manual_seed(0)
    gaps = {}
    for samples in (1, 2, 5, 50):
        found = term(*linear(x, samples, shift=0.3, stretch=1.3)) - due
        gaps[samples] = float(found.mean())
        assert found.std() / len(x) ** 0.5 < 0.01
    assert gaps[1] > gaps[2] + 0.03 > gaps[5] + 0.06 > gaps[50] > -0.005
    # With one sample the mean gap is KL(q || p(z | x)) = (log(1/t) + (t^2 + (d/s)^2 - 1) / 2), t =
    # 1.3, d = 0.3.
    deviation = S / math.sqrt(A * A + S * S)
    kl = -math.log(1.3) + (1.3**2 + (0.3 / deviation) ** 2 - 1) / 2
    assert gaps[1] == pytest.approx(kl, abs=0.03)


def test_with_one_sample_the_two_terms_are_one():
    # Why N = 1 is refused: Eq. 7 would be twice the usual bound.
    rec, log_prior, log_q = linear(torch.randn(6, dtype=torch.float64), 1, shift=0.5)
    usual = rec.mean(1) + (log_q - log_prior).mean(1)
    torch.testing.assert_close(term(rec, log_prior, log_q), usual, rtol=0, atol=1e-12)


def test_the_loss_of_a_step_is_eq_7_over_its_n_samples():
    model = build(Subject.installed("flowprior", {"samples": 3, "iw_weight": 0.5}), dropout=0.0)
    assert model.samples == 3
    step = step_on(model, batch_of(5))
    plugin, log_p = (
        model.plugin("flowprior"),
        torch.stack([model.nll(step.batch, step.sample.z)[:, k] for k in range(3)], 1),
    )
    weights = (step.log_prior - log_p - step.sample.log_prob).double()
    usual = -weights.mean(1)
    iw = -weights.exp().mean(1).log()
    torch.testing.assert_close(model.objective(step).double(), usual, rtol=0, atol=1e-4)
    torch.testing.assert_close(plugin.extra_loss(step).double(), 0.5 * iw, rtol=0, atol=1e-4)
    assert bool((iw < usual).all())  # Jensen


@pytest.mark.parametrize(
    "settings",
    [
        {"samples": 1},
        {"samples": 0},
        {"layers": 0},
        {"hidden": 0},
        {"flow": "maf"},
        {"iw_weight": -0.1},
        {"bins": 3},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        FlowPrior.Config(**settings)


def test_the_checks_of_other_distributions_stay_on():
    # zuko turns them off for the whole process when it is imported
    with pytest.raises(ValueError, match="constraint"):
        distributions.Normal(0.0, -1.0)


def test_one_latent_dimension_is_refused():
    with pytest.raises(ConfigError, match="two latent dimensions"):
        prior(latent=1)


def test_the_divergence_is_per_sentence_and_penalties_refuse_it():
    subject = Subject.installed("flowprior")
    assert subject.level["kl"] == "sentence"
    assert subject.level["kl_estimator"] == "monte-carlo"
    penalty = {"summary": "", "api": ">=1", "hooks": ["kl_term"]}
    penalty["provides"] = {"kl": "penalty", "kl_estimator": "penalty", "kl_gradient": ["encoder"]}
    parts = [
        Part(name, m, "")
        for name, m in (
            ("flowprior", subject.manifest),
            ("gan", parse_manifest(penalty, "gan", "test")),
        )
    ]
    with pytest.raises(CompositionError, match="'flowprior' does not compose with 'gan'"):
        compose(parts, Part("vae", Subject.defaults().manifest, ""))


@parametrize_with_checks("flowprior")
def test_conformance(subject, check):
    check(subject)
