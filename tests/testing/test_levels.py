"""Plugins whose manifest states a level that their hooks do not reach."""

import math

import torch
from torch import nn
from torch.distributions import Independent, Normal

from aecore import Plugin, PosteriorSample, hookimpl
from aecore import testing as kit
from aecore.geometry import Ball

PENALTY = {"kl": "penalty", "kl_estimator": "penalty", "kl_gradient": ["encoder"]}
GAUSSIAN = {"provides": {"posterior": "gaussian", "geometry": "euclidean"}}


def normal(mean, scale):
    return Independent(Normal(mean, scale), 1)


class Normalised(Plugin):
    @hookimpl
    def posterior_sample(self, features, n_samples):
        mean = (features - features.mean(0))[:, : self.sizes.latent]
        q = normal(mean, torch.ones_like(mean))
        return PosteriorSample(q.rsample((n_samples,)).transpose(0, 1), q)


class Groups(Plugin):
    @hookimpl
    def kl_term(self, step):
        return (step.sample.log_prob - step.log_prior).mean(1, keepdim=True)


def test_a_divergence_that_says_it_is_per_dimension(fails):
    fails(
        kit.check_levels_are_true,
        Groups,
        """kl is 'dimension', but has another number of groups
  came: (5, 1), D = 4""",
        provides={
            "kl": "dimension",
            "kl_estimator": "monte-carlo",
            "kl_gradient": ["encoder", "prior"],
        },
    )


class Implicit(Plugin):
    roles = {"head": "encoder"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.head = nn.Linear(2 * sizes.hidden, sizes.latent)

    @hookimpl
    def posterior_sample(self, features, n_samples):
        h = features.unsqueeze(1).expand(-1, n_samples, -1)
        return PosteriorSample(self.head(torch.cat([h, torch.randn_like(h)], -1)))


def test_a_density_that_is_not_there(fails):
    fails(
        kit.check_levels_are_true,
        Implicit,
        """'implicit' (test_levels) provides posterior = 'density', \
but returned neither log_prob nor a distribution
  hook:   posterior_sample(features, n_samples), testing/test_levels.py:<n>""",
        provides={"posterior": "density", "geometry": "euclidean"},
        hooks=["posterior_sample"],
    )


class Hiding(Normalised):
    @hookimpl
    def kl_term(self, step):
        return step.sample.z.square().mean((1, 2), keepdim=True).squeeze(2)


def test_a_density_that_hides_from_its_checks(fails):
    fails(
        kit.check_levels_are_true,
        Hiding,
        """posterior is 'sampled', but its sample has a density
  due: 'own_density' or better, so that the density is used and checked""",
        provides={**PENALTY, "posterior": "sampled", "geometry": "euclidean"},
    )


class Wide(Plugin):
    @hookimpl
    def prior_logprob(self, z):
        return Normal(0.0, 2.0).log_prob(z).sum(-1)

    @hookimpl
    def prior_sample(self, n):
        return 2 * torch.randn(n, self.sizes.latent)


def test_a_prior_that_says_it_is_standard(fails):
    fails(
        kit.check_levels_are_true,
        Wide,
        """prior is 'standard', but is no N(0, I)
  largest difference from log N(0, I): <n>""",
        provides={"prior": "standard", "geometry": "euclidean"},
    )


class Outside(Wide, Normalised):
    space = Ball()


def test_latents_that_leave_the_space(fails):
    fails(
        kit.check_levels_are_true,
        Outside,
        """geometry is 'ball', but z lies outside
  norms of z: <n> to <n>""",
        provides={"posterior": "density", "prior": "density", "geometry": "ball"},
    )


class Detached(Plugin):
    @hookimpl
    def posterior_sample(self, features, n_samples):
        mean = features[:, : self.sizes.latent]
        q = normal(mean, torch.full_like(mean, math.exp(-1)))
        return PosteriorSample(q.sample((n_samples,)).transpose(0, 1), q)


def test_draws_that_are_not_reparameterised(fails):
    fails(
        kit.check_levels_are_true,
        Detached,
        """posterior is 'gaussian', but z has no gradient in the features
  likely: sample() for rsample()""",
        **GAUSSIAN,
    )
