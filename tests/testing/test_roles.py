"""Plugins whose parameters have the wrong role, or one that nobody trains."""

import torch
from torch import nn
from torch.distributions import Independent, Normal

from aecore import Plugin, PosteriorSample, hookimpl
from aecore import testing as kit

GAUSSIAN = {"provides": {"posterior": "gaussian", "geometry": "euclidean"}}


class Misplaced(Plugin):
    """An encoder's head that says it is a prior's."""

    roles = {"head": "prior"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.head = nn.Linear(sizes.hidden, 2 * sizes.latent)

    @hookimpl
    def posterior_sample(self, features, n_samples, batch):
        mean, log_variance = self.model.posterior_params(*self.head(features).chunk(2, -1), batch)
        q = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
        return PosteriorSample(q.rsample((n_samples,)).transpose(0, 1), q)


def test_a_head_of_the_encoder_in_the_role_of_a_prior(fails):
    fails(
        kit.check_parameters_are_in_their_places,
        Misplaced,
        """posterior_sample depends on parameters of another role
  'head.weight' has the role prior
  'head.bias' has the role prior
  due: encoder or frozen, else what trains that part leaves it out""",
        **GAUSSIAN,
    )


class Forgotten(Plugin):
    """A projection of role frozen that no stage names."""

    roles = {"projection": "frozen"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.projection = nn.Linear(sizes.latent, 1)

    @hookimpl
    def extra_loss(self, step):
        return 0.1 * self.projection(step.sample.z).square().mean((1, 2))


def test_a_frozen_parameter_that_no_stage_trains(fails):
    fails(
        kit.check_every_parameter_is_trained,
        Forgotten,
        """'projection.weight' has the role frozen, and no stage trains it
  due: a stage that trains frozen, values set in pre_train_init, or a buffer""",
    )


class Prepared(Forgotten):
    @hookimpl
    def pre_train_init(self):
        with torch.no_grad():
            self.projection.weight.fill_(0.5)
            self.projection.bias.fill_(0.1)
        return []


def test_one_that_is_set_before_training(subject_of):
    kit.check_every_parameter_is_trained(subject_of(Prepared))
