"""Plugins that stop a gradient, let one through, or move what is not theirs."""

import torch
from torch import nn
from torch.distributions import Independent, Normal

from aecore import CriticConfig, Plugin, PosteriorSample, Stage, hookimpl
from aecore import testing as kit

BOTH_GRADIENTS = {
    "kl": "sentence",
    "kl_estimator": "monte-carlo",
    "kl_gradient": ["encoder", "prior"],
}


class NoGradient(Plugin):
    @hookimpl
    def posterior_sample(self, features, n_samples):
        mean = features[:, : self.sizes.latent]
        q = Independent(Normal(mean, torch.ones_like(mean)), 1)
        return PosteriorSample(q.sample((n_samples,)).transpose(0, 1), q)


def test_a_reconstruction_that_does_not_reach_the_encoder(fails):
    fails(
        kit.check_gradient_reaches_the_encoder,
        NoGradient,
        """rec has no gradient in the encoder
  gradient norms: 0, 0
  declared: z is reparameterised; likely: sample() for rsample(), or a detach()""",
        provides={"posterior": "gaussian", "geometry": "euclidean"},
    )


class Frozen(Plugin):
    @hookimpl
    def objective(self, step):
        return step.rec.mean(1)


def test_an_objective_that_moves_more_than_it_says(fails):
    fails(
        kit.check_gradient_reaches_the_encoder,
        Frozen,
        """the objective has a gradient in the encoder, which is not declared
  gradient norms: <n>, <n>
  declared: objective_gradient = ['decoder']""",
        provides={"objective_gradient": ["decoder"]},
    )


class Detached(Plugin):
    @hookimpl
    def kl_term(self, step):
        return (step.sample.log_prob - step.log_prior).mean(1, keepdim=True).detach()


def test_a_divergence_without_a_gradient(fails, subject_of):
    fails(
        kit.check_kl_gradient_is_as_declared,
        Detached,
        """kl has no gradient in the encoder
  gradient norms: 0, 0
  declared: kl_gradient = ['encoder', 'prior']""",
        provides=BOTH_GRADIENTS,
    )
    kit.check_kl_gradient_is_as_declared(
        subject_of(Detached, provides={**BOTH_GRADIENTS, "kl_gradient": []})
    )


class Standard(Plugin):
    @hookimpl
    def kl_term(self, step):
        standard = Normal(0.0, 1.0).log_prob(step.sample.z).sum(-1)
        return (step.sample.log_prob - standard).mean(1, keepdim=True)


def test_a_divergence_that_ignores_the_prior_it_says_it_moves(fails):
    fails(
        kit.check_kl_gradient_is_as_declared,
        Standard,
        """kl has no gradient in a learned prior
  gradient norms: 0
  declared: kl_gradient = ['encoder', 'prior']""",
        provides=BOTH_GRADIENTS,
    )


class Constant(Plugin):
    @hookimpl
    def kl_penalty(self, kl):
        return kl.detach().clamp(min=3)


def test_a_penalty_without_a_gradient(fails):
    fails(
        kit.check_penalty_keeps_the_gradient,
        Constant,
        """kl_loss has no gradient in the encoder
  gradient norms: 0, 0
  declared: kl_penalty is a function of kl; likely: a detach()""",
    )


class Network(Plugin):
    """A linear critic; what it is trained on is broken below."""

    roles = {"nu": "critic"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.critic = CriticConfig()
        self.nu = nn.Linear(sizes.latent, 1)

    def gap(self, step):
        return self.nu(step.z[:, 0]).mean() - self.nu(step.prior_sample()).mean()

    def penalty(self, step):
        return 0.1 * self.nu(step.sample.z[:, 0]).squeeze(1)


class Unused(Network):
    roles = {"nu": "prior"}

    @hookimpl
    def extra_loss(self, step):
        return step.sample.z[:, 0, 0]


def test_a_parameter_that_no_loss_depends_on(fails):
    fails(
        kit.check_every_parameter_is_trained,
        Unused,
        """'nu.weight' has the role prior, but training never moved it
  ran: 6 steps
  likely: no loss depends on it, a detach(), or the wrong role""",
    )


class Thawed(Network):
    roles = {"nu": "frozen"}

    @hookimpl
    def extra_loss(self, step):
        with torch.no_grad():
            self.nu.weight.add_(0.1)
        return self.penalty(step)


def test_a_frozen_parameter_that_moves(fails):
    fails(
        kit.check_every_parameter_is_trained,
        Thawed,
        """'nu.weight' has the role frozen, but was changed
  likely: an update of the plugin's own""",
    )


class OwnOptimiser(Network):
    @hookimpl
    def critic_loss(self, step):
        with torch.no_grad():
            self.model.encoder.embedding.weight.mul_(0.9)
        return self.gap(step)


def test_a_critic_that_moves_the_encoder(fails):
    fails(
        kit.check_critic_leaves_main_parameters,
        OwnOptimiser,
        """a critic step changes parameters that are not the critic's
  changed: encoder.embedding.weight, largest change <n>
  likely: critic_loss updates parameters itself, or an optimiser of its own holds them""",
    )


class Deaf(Network):
    @hookimpl
    def critic_loss(self, step):
        return 0 * self.gap(step)


def test_a_critic_that_learns_nothing(fails):
    fails(
        kit.check_critic_leaves_main_parameters,
        Deaf,
        """a critic step does not move the critic
  likely: critic_loss does not depend on its parameters""",
    )


class Meddling(Network):
    @hookimpl
    def critic_loss(self, step):
        return self.gap(step)

    @hookimpl
    def extra_loss(self, step):
        with torch.no_grad():
            self.nu.weight.clamp_(-0.01, 0.01)
        return self.penalty(step)


def test_a_joint_step_that_moves_the_critic(fails):
    fails(
        kit.check_joint_step_leaves_the_critic,
        Meddling,
        """a joint step changes the critic's parameters
  changed: plugins.meddling.nu.weight, largest change <n>
  likely: a hook other than critic_loss updates it""",
    )


class Staged(Plugin):
    """A stage that is broken below."""

    def losses(self, step):
        return step.rec.mean(1)

    @hookimpl
    def pre_train_init(self):
        return [Stage("warm_up", self.losses, trains=("decoder",), epochs=5)]


class Spilling(Staged):
    def losses(self, step):
        with torch.no_grad():
            self.model.encoder.embedding.weight.mul_(0.9)
        return step.rec.mean(1)


def test_a_stage_that_moves_more_than_it_names(fails):
    fails(
        kit.check_stages_train_their_roles_alone,
        Spilling,
        """the stage 'warm_up' changes parameters of roles that it does not name
  trains: decoder
  changed: encoder.embedding.weight, largest change <n>""",
    )


class Scalar(Staged):
    def losses(self, step):
        return step.rec.mean()


def test_a_stage_whose_loss_is_reduced(fails):
    fails(
        kit.check_stages_train_their_roles_alone,
        Scalar,
        "the stage 'warm_up' returns a loss of shape (); (7,) was due",
    )


class Empty(Staged):
    @hookimpl
    def pre_train_init(self):
        return []


def test_no_stage_and_no_effect(fails):
    fails(
        kit.check_stages_train_their_roles_alone,
        Empty,
        "pre_train_init returns no stage and changes no tensor",
    )


class Fixed(Plugin):
    roles = {"location": "prior"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.location = nn.Parameter(torch.zeros(sizes.latent))

    @hookimpl
    def prior_logprob(self, z):
        return Normal(self.location, 1.0).log_prob(z).sum(-1)

    @hookimpl
    def prior_sample(self, n):
        return Normal(self.location, 1.0).sample((n,))


def test_prior_draws_without_a_gradient(fails):
    fails(
        kit.check_prior_is_differentiable,
        Fixed,
        """prior_sample has no gradient in the prior's parameters
  gradient norms: 0
  declared: samples are reparameterised""",
        provides={"prior": "density", "geometry": "euclidean"},
    )
