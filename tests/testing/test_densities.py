"""Plugins whose densities do not integrate, are not those of their draws, or whose divergence is
another.
"""

import math

import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

from aecore import Plugin, PosteriorSample, hookimpl
from aecore import testing as kit

GAUSSIAN = {"posterior": "gaussian", "geometry": "euclidean"}
DENSITY = {"posterior": "density", "geometry": "euclidean"}
PRIOR = {"prior": "density", "geometry": "euclidean"}


class Scaled:
    """A normal whose log density is off by a constant per dimension, or whose scale is not that of
    the draws.
    """

    def __init__(self, mean, shift=0.0, stretch=1.0):
        self.normal = Independent(Normal(mean, torch.full_like(mean, stretch)), 1)
        self.mean, self.stddev, self.shift = mean, self.normal.stddev, shift

    def log_prob(self, z):
        return self.normal.log_prob(z) + self.shift * z.shape[-1]


class Posterior(Plugin):
    """N(first features, I), with a density that is broken below."""

    shift, stretch, exact = 0.0, 1.0, False

    @hookimpl
    def posterior_sample(self, features, n_samples):
        mean = features[:, : self.sizes.latent]
        z = mean.unsqueeze(1) + torch.randn(len(mean), n_samples, mean.shape[1])
        q = Scaled(mean, self.shift, self.stretch)
        return PosteriorSample(
            z, log_prob=q.log_prob(z.transpose(0, 1)).t(), distribution=None if self.exact else q
        )


class Unnormalised(Posterior):
    shift = 0.5 * math.log(2 * math.pi)


class SlightlyOff(Posterior):
    shift = 0.01


class Stretched(Posterior):
    stretch = 1.1


class ExactlyWrong(Unnormalised):
    exact = True


def test_a_posterior_without_its_constant(fails):
    fails(
        kit.check_posterior_density_integrates,
        Unnormalised,
        """the density of posterior_sample does not integrate to 1 at D = 2
  integral over 57600 cells: 6.28<n>
  for: sentence 0""",
        provides=GAUSSIAN,
    )


def test_two_per_cent_of_mass_in_two_dimensions(fails):
    fails(
        kit.check_posterior_density_integrates,
        SlightlyOff,
        """the density of posterior_sample does not integrate to 1 at D = 2
  integral over 57600 cells: 1.0<n>
  for: sentence 0""",
        provides=GAUSSIAN,
    )


def test_a_density_known_from_the_noise_alone(fails):
    fails(
        kit.check_posterior_density_integrates,
        ExactlyWrong,
        """the density of posterior_sample is not that of its draws at D = 2
  E_q[r / q], r a narrow normal, 20000 draws: 0.1<n>, standard error <n>
  for: sentence 0""",
        provides=DENSITY,
    )


def test_mass_in_eight_dimensions(fails):
    fails(
        kit.check_posterior_mass,
        SlightlyOff,
        """the density of posterior_sample has not mass 1 at D = 8
  mass by importance sampling, 19998 draws: 1.0<n>, standard error <n>
  for: sentence 0""",
        provides=GAUSSIAN,
    )


def test_draws_of_another_width_than_the_density(fails):
    fails(
        kit.check_posterior_draws_follow_the_density,
        Stretched,
        """the density of posterior_sample is not that of its draws at D = 2
  E_q[r / q], r a narrow normal, 20000 draws: 1.<n>, standard error <n>
  for: sentence 0""",
        provides=GAUSSIAN,
    )


class Mirrored(Posterior):
    """The covariance of the density is that of the draws mirrored."""

    @hookimpl
    def posterior_sample(self, features, n_samples):
        latent = self.sizes.latent
        mean, root = features[:, :latent], torch.eye(latent)
        root[1, 0] = 0.3
        z = mean.unsqueeze(1) + torch.randn(len(mean), n_samples, latent) @ root.T
        return PosteriorSample(
            z, MultivariateNormal(mean, scale_tril=torch.tril(root * (2 * torch.eye(latent) - 1)))
        )


def test_draws_of_another_correlation_than_the_density(fails):
    fails(
        kit.check_posterior_draws_follow_the_density,
        Mirrored,
        "the ...\n  ...\n  for: sentence 0",
        provides=DENSITY,
    )


class Prior(Plugin):
    """N(0, width^2), with a density that is broken below."""

    shift, width, drawn = 0.0, 1.5, 1.5

    @hookimpl
    def prior_logprob(self, z):
        return (Normal(0.0, self.width).log_prob(z) + self.shift).sum(-1)

    @hookimpl
    def prior_sample(self, n):
        return self.drawn * torch.randn(n, self.sizes.latent)


class Jacobian(Prior):
    """The determinant of a scaling was forgotten."""

    shift = math.log(1.5)


class Narrow(Prior):
    drawn = 1.4


def test_a_prior_without_its_jacobian(fails):
    fails(
        kit.check_prior_density_integrates,
        Jacobian,
        """the density of prior_logprob does not integrate to 1 at D = 2
  integral over 57600 cells: 2.2<n>""",
        provides=PRIOR,
    )


def test_the_mass_of_a_prior_in_eight_dimensions(fails):
    fails(
        kit.check_prior_mass,
        Jacobian,
        """the density of prior_logprob has not mass 1 at D = 8
  mass by importance sampling, 19998 draws: 25.<n>, standard error <n>""",
        provides=PRIOR,
    )


def test_prior_draws_that_do_not_follow_the_density(fails):
    fails(
        kit.check_prior_sample_agrees_with_logprob,
        Narrow,
        """the density of prior_logprob is not that of its draws at D = 2
  E_q[r / q], r a narrow normal, 20000 draws: <n>, standard error <n>""",
        provides=PRIOR,
    )


class Divergence(Plugin):
    """The closed form with a factor missing."""

    @hookimpl
    def kl_term(self, step):
        q = step.sample.distribution
        return 0.5 * (q.mean.square() + q.stddev.square() - 1) - 0.5 * q.stddev.log()


def test_a_closed_form_that_is_wrong(fails):
    fails(
        kit.check_kl_agrees_with_monte_carlo,
        Divergence,
        """kl_term is not the divergence of the posterior from the prior
  kl_term: <n> nats
  E[log q - log p]: <n> nats over 20000 draws, standard error <n>
  for: sentence <n>""",
        provides={
            "kl": "dimension",
            "kl_estimator": "analytic",
            "kl_gradient": ["encoder", "prior"],
        },
    )


class Reversed(Plugin):
    @hookimpl
    def kl_term(self, step):
        return (step.log_prior - step.sample.log_prob).mean(1, keepdim=True)


def test_a_sample_estimate_with_the_wrong_sign(fails):
    fails(
        kit.check_kl_agrees_with_monte_carlo,
        Reversed,
        """kl_term is not the divergence of the posterior from the prior
  kl_term: -<n> nats
  E[log q - log p]: <n> nats over 20000 draws, standard error <n>""",
        provides={
            "kl": "batch",
            "kl_estimator": "monte-carlo",
            "kl_gradient": ["encoder", "prior"],
        },
    )


class Learned(Plugin):
    """A good prior: two wide apart components, and a density that is theirs."""

    roles = {"centres": "prior"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.centres = nn.Parameter(
            torch.stack([torch.full((sizes.latent,), 1.5), torch.full((sizes.latent,), -1.5)])
        )

    @hookimpl
    def prior_logprob(self, z):
        return Normal(self.centres, 1.0).log_prob(z.unsqueeze(-2)).sum(-1).logsumexp(-1) - math.log(
            2
        )

    @hookimpl
    def prior_sample(self, n):
        return self.centres[torch.randint(2, (n,))] + torch.randn(n, self.sizes.latent)


def test_a_mixture_is_measured_rightly(subject_of):
    subject = subject_of(Learned, provides=PRIOR)
    kit.check_prior_density_integrates(subject)
    kit.check_prior_mass(subject)
    kit.check_prior_sample_agrees_with_logprob(subject)
