"""The mixture of Gaussians against torch's own, in float64, and against its moments."""

import math

import pytest
import torch
from aecore_priors import MogPrior
from aecore_priors.usage import usage
from pydantic import ValidationError
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from aecore import Sizes
from aecore.testing import Subject, parametrize_with_checks
from aecore.testing.lab import batch_of, build, step_on

N = 40_000


def prior(latent=3, seed=0, **settings):
    """A mixture in float64 whose deviations differ, and whose weights do where they are learned."""
    torch.manual_seed(seed)
    plugin = MogPrior(MogPrior.Config(**settings), Sizes(9, 2, 3, latent)).double()
    with torch.no_grad():
        plugin.log_scales.normal_(-0.3, 0.4)
        if plugin.config.learned_weights:
            plugin.logits.normal_()
    return plugin


def oracle(plugin):
    parts = Independent(Normal(plugin.means, plugin.log_scales.exp()), 1)
    return MixtureSameFamily(Categorical(logits=plugin.logits), parts)


@pytest.mark.parametrize("learned", [False, True])
def test_the_density_is_that_of_torch(learned):
    plugin, z = (
        prior(components=7, learned_weights=learned),
        3 * torch.randn(5, 11, 3, dtype=torch.float64),
    )
    torch.testing.assert_close(
        plugin.prior_logprob(z), oracle(plugin).log_prob(z), rtol=0, atol=1e-12
    )


def test_one_point_by_hand():
    # 1/2 N(0.5; 0, 1) + 1/2 N(0.5; 2, 0.5^2)
    plugin = prior(latent=1, components=2)
    with torch.no_grad():
        plugin.means.copy_(torch.tensor([[0.0], [2.0]]))
        plugin.log_scales.copy_(torch.tensor([[0.0], [math.log(0.5)]]))
    due = 0.5 * math.exp(-0.125) / math.sqrt(2 * math.pi) + 0.5 * math.exp(-4.5) / (
        0.5 * math.sqrt(2 * math.pi)
    )
    assert plugin.prior_logprob(torch.tensor([0.5])).item() == pytest.approx(
        math.log(due), abs=1e-7
    )


def test_gradients_are_those_of_finite_differences():
    plugin = prior(components=3, latent=2, learned_weights=True)
    z = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    parameters = {
        name: p.detach().clone().requires_grad_() for name, p in plugin.named_parameters()
    }

    def density(point, *values):
        return torch.func.functional_call(
            _Density(plugin), dict(zip(parameters, values, strict=True)), (point,)
        )

    assert torch.autograd.gradcheck(density, (z, *parameters.values()))


class _Density(torch.nn.Module):
    def __init__(self, plugin):
        super().__init__()
        self.means, self.log_scales, self.logits = plugin.means, plugin.log_scales, plugin.logits

    def forward(self, z):
        return MogPrior.prior_logprob(self.eval(), z)


@pytest.mark.parametrize("learned", [False, True])
def test_draws_have_the_moments_of_the_mixture(learned):
    # sum w m and sum w (s^2 + m^2) - (sum w m)^2, closed forms that torch's mixture holds too
    plugin = prior(components=4, learned_weights=learned)
    z = plugin.prior_sample(N).detach()
    due = oracle(plugin)
    error = (z.std(0) / N**0.5).max()
    torch.testing.assert_close(z.mean(0), due.mean, rtol=0, atol=4 * float(error))
    spread = (z - z.mean(0)).square()
    torch.testing.assert_close(
        spread.mean(0), due.variance, rtol=0, atol=4 * float((spread.std(0) / N**0.5).max())
    )


def test_draws_are_reparameterised():
    # z = m + s e: the gradient of sum z in the means counts the draws, in the log deviations it is
    # the sum of z - m.
    plugin = prior(components=4, learned_weights=True)
    z = plugin.prior_sample(1000)
    means, log_scales = torch.autograd.grad(z.sum(), (plugin.means, plugin.log_scales))
    assert means.sum(0).tolist() == [1000] * 3
    torch.testing.assert_close(log_scales.sum(0), z.sum(0) - (means * plugin.means).sum(0))


def test_components_start_apart_in_a_mixture_of_unit_variance():
    plugin = MogPrior(MogPrior.Config(components=2000, spread=0.6), Sizes(9, 2, 3, 5))
    assert torch.pdist(plugin.means).min() > 0.01
    with torch.no_grad():
        z = plugin.prior_sample(N)
    torch.testing.assert_close(z.var(0), torch.ones(5), rtol=0, atol=0.05)
    # two components with the same deviations and another mean get different gradients, so they
    # separate
    (gradient,) = torch.autograd.grad(plugin.prior_logprob(torch.randn(50, 5)).sum(), plugin.means)
    assert len(gradient.unique(dim=0)) == 2000


def test_with_standard_components_the_kl_is_that_of_the_default_prior():
    kls = []
    for subject in (Subject.installed("mog_prior"), Subject.defaults()):
        model = build(subject, dropout=0.0)
        for parameter in model.params("prior"):
            torch.nn.init.zeros_(parameter)
        torch.manual_seed(1)
        step = step_on(model, batch_of(7), samples=4)
        kls.append((step.sample.log_prob - step.log_prior).mean(1, keepdim=True))
        kl = step.kl
    # the default is analytic, so the estimate is made here from its densities
    assert kl.shape == (7, 4)
    torch.testing.assert_close(*kls, rtol=0, atol=1e-5)
    assert kls[0].mean() > 1


def test_usage_by_hand():
    equal = torch.zeros(2, 6, 4)
    assert [float(v) for v in usage(equal).values()] == pytest.approx([4, 1])
    apart = 50.0 * torch.eye(4).repeat(3, 1)
    assert [float(v) for v in usage(apart).values()] == pytest.approx([4, 4])
    one = torch.tensor([0.0, -50, -50, -50]).expand(5, 4)
    assert [float(v) for v in usage(one).values()] == pytest.approx([1, 1])
    # half of the points to the first two components alike, half to the third: used exp H(1/4, 1/4,
    # 1/2), distinct 2
    mixed = torch.tensor([[0.0, 0, -50], [-50, -50, 0]])
    assert [float(v) for v in usage(mixed).values()] == pytest.approx([2**1.5, 2])


@pytest.mark.parametrize(
    "settings", [{"components": 0}, {"spread": 0.0}, {"spread": 1.0}, {"weights": "free"}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        MogPrior.Config(**settings)


@parametrize_with_checks("mog_prior", "vamp_prior")
def test_conformance(subject, check):
    check(subject)
