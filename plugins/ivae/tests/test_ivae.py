"""The implicit posteriors: closed forms, critics against known divergences, what is detached."""

import math

import pytest
import torch
from aecore_ivae import ImplicitPosterior, Ivae, IvaeMi
from torch.distributions import MultivariateNormal, kl_divergence

import aecore
from aecore.assembly import assemble
from aecore.catalogue import Catalogue
from aecore.errors import CompositionError
from aecore.evaluation.protocol import evaluate_split
from aecore.streams import Streams
from aecore.testing import Subject, parametrize_with_checks
from aecore.testing.lab import batch_of, build, corpus, step_on

BOTH = ("ivae", "ivae_mi")
#: A critic that is quick in tests.
SMALL = {"width": 16, "layers": 1, "lr": 1e-3}


@parametrize_with_checks("ivae", settings=SMALL)
def test_conformance_of_ivae(subject, check):
    check(subject)


@parametrize_with_checks("ivae_mi", settings=SMALL)
def test_conformance_of_ivae_mi(subject, check):
    check(subject)


@parametrize_with_checks("ivae", settings={**SMALL, "posterior": "affine"})
def test_conformance_of_the_affine_map(subject, check):
    check(subject)


def test_the_affine_map_is_the_gaussian_that_it_is_said_to_be():
    torch.manual_seed(0)
    made = ImplicitPosterior(aecore.Sizes(9, 2, 4, 3), "affine")
    torch.nn.init.normal_(made.straight.weight, std=0.6)
    features = torch.randn(5, 4)
    z = made.draw(features, 40_000)
    assert torch.allclose(z.mean, z.z.mean(1), atol=0.03)  # the code is the mean
    for row, kl in enumerate(made.gaussian_kl(features).float()):
        q = MultivariateNormal(z.z[row].mean(0), torch.cov(z.z[row].t()))
        p = MultivariateNormal(torch.zeros(3), torch.eye(3))
        assert kl_divergence(q, p).item() == pytest.approx(kl.item(), rel=0.03)


def test_a_network_is_no_gaussian_and_says_no_closed_form():
    torch.manual_seed(0)
    made = ImplicitPosterior(aecore.Sizes(9, 2, 4, 3), "network")
    assert made.gaussian_kl(torch.randn(2, 4)) is None
    start = made.draw(torch.zeros(1, 4), 20_000).z[0]
    assert torch.allclose(start.std(0), torch.ones(3), atol=0.5)  # about as wide as the prior


class Known:
    """Codes N(mu, I) in 32 dimensions against the standard normal: a KL of |mu|^2 / 2."""

    def __init__(self, kl, n=256):
        self.shift = torch.full((32,), math.sqrt(2 * kl / 32), requires_grad=True)
        self.features = torch.zeros(n, 4)
        self.n = n

    @property
    def z(self):
        return (torch.randn(self.n, 32) + self.shift).unsqueeze(1)

    @property
    def sample(self):
        return self

    def prior_sample(self):
        return torch.randn(self.n, 32)

    def mean(self, values):
        return values.mean(0)


def settled(cls, known, steps):
    """A plugin whose critic has had so many steps at 1e-3, averaged gradients of 256 codes."""
    torch.manual_seed(0)
    plugin = cls(cls.Config(width=128, layers=2), aecore.Sizes(9, 2, 4, 32))
    weights = [parameter for _, parameter in plugin.parameters_of("critic")]
    optimiser = torch.optim.Adam(weights, 1e-3, (0.5, 0.999))
    for _ in range(steps):
        optimiser.zero_grad()
        plugin.critic_loss(known).backward(inputs=weights)
        optimiser.step()
    return plugin


def estimate(plugin, known, times=40):
    with torch.no_grad():
        return sum(plugin.kl_term(known).mean().item() for _ in range(times)) / times


@pytest.mark.parametrize("cls", [Ivae, IvaeMi])
@pytest.mark.parametrize("kl", [0.5, 3.0])
def test_a_settled_critic_knows_a_divergence_of_a_few_nats(cls, kl):
    found = estimate(settled(cls, Known(kl), 500), Known(kl))
    assert 0.6 * kl < found < 1.1 * kl


@pytest.mark.parametrize("cls", [Ivae, IvaeMi])
def test_an_untrained_critic_says_next_to_nothing(cls):
    assert abs(estimate(settled(cls, Known(3.0), 0), Known(3.0))) < 0.1


@pytest.mark.parametrize("cls", [Ivae, IvaeMi])
def test_a_step_of_the_encoder_lowers_the_true_divergence(cls):
    known = Known(3.0)
    plugin = settled(cls, known, 300)
    (slope,) = torch.autograd.grad(plugin.kl_term(known).mean(), known.shift)
    moved = known.shift - 0.05 * slope / slope.norm()
    assert moved.square().sum() / 2 < 3.0 - 0.05


@pytest.mark.parametrize("name", BOTH)
def test_the_critic_hears_the_features_but_does_not_teach_them(name):
    """The charge reaches the encoder by the codes alone."""
    model = build(Subject.installed(name, SMALL), dropout=0.0)
    step = step_on(model, batch_of(6))
    z = step.sample.z
    (slope,) = torch.autograd.grad(step.kl.sum(), z, retain_graph=True)
    weight = model.encoder.embedding.weight
    (whole,) = torch.autograd.grad(step.kl.sum(), weight, retain_graph=True)
    (by_codes,) = torch.autograd.grad(z, weight, slope)
    torch.testing.assert_close(whole, by_codes)


def test_what_is_reported_is_a_dual_and_the_truth_is_logged_beside_it():
    model = build(Subject.installed("ivae", {**SMALL, "posterior": "affine"}), spread=True)
    figures = evaluate_split(model, corpus().valid, Streams(0), 3, iw_samples=30)
    assert (figures.kl_estimator, figures.nll_elbo) == ("dual", None)
    assert math.isfinite(figures.kl)
    assert "fitted" in figures.estimators["nll_iw"] or "prior" in figures.estimators["nll_iw"]
    assert model.plugin("ivae").logged["kl_gaussian"].item() > 0


def composed(*names):
    return assemble({name: {} for name in names}, Catalogue.discover())


@pytest.mark.parametrize("name", BOTH)
def test_what_composes_and_what_is_refused(name):
    for other in ("annealing", "betavae", "cyclical", "controlvae", "ae_pretrain"):
        assert composed(name, other).composition.levels["kl_estimator"] == "dual"
    batch = {name: {}, "free_bits": {"mode": "batch"}}
    assert assemble(batch, Catalogue.discover()).composition.levels["kl"] == "batch"
    for other in ("free_bits", "flowprior", "savae", "vmf", "poincare", "wae_mmd", "lagging"):
        with pytest.raises(CompositionError):
            composed(name, other)


@pytest.mark.parametrize("settings", [{"steps": 0}, {"posterior": "gaussian"}, {"lr": 0.0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="validation error"):
        Ivae.Config(**settings)
