"""Parameters without a gradient are trained around; plugins change a Gaussian posterior."""

import pytest
import torch
from support import SIZES, build, changed, snapshot, some_batch, trainer_of
from torch import nn
from torch.distributions import Normal, kl_divergence

from aecore import Plugin, Step, hookimpl


class Fixed(Plugin):
    """A posterior's head of which one half is left as it was made."""

    roles = {"free": "encoder", "fixed": "encoder", "prior_mean": "prior"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.free, self.fixed = nn.Linear(sizes.hidden, 1), nn.Linear(sizes.hidden, 1)
        self.prior_mean = nn.Parameter(torch.zeros(sizes.latent), requires_grad=False)
        self.fixed.requires_grad_(False)

    @hookimpl
    def extra_loss(self, step):
        return (self.free(step.features) + self.fixed(step.features)).square().squeeze(1)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd", "muon"])
def test_a_parameter_without_a_gradient_is_trained_around(corpus, tmp_path, optimiser):
    model = build(Fixed)
    before = snapshot(model)
    trainer_of(model, corpus, tmp_path / "run", epochs=1, optimiser=optimiser).run()
    moved = changed(before, model)
    assert {"plugins.fixed.free.weight", "encoder.lstm.weight_hh_l0"} <= moved
    assert not [name for name in moved if "fixed.fixed" in name or "prior_mean" in name]


class Scaled(Plugin):
    """Halves every mean."""

    @hookimpl
    def posterior_params(self, mean, log_variance):
        return mean / 2, log_variance


class Floored(Plugin):
    """A floor under the variance."""

    @hookimpl
    def posterior_params(self, mean, log_variance):
        return mean, log_variance.clamp(min=0.5)


def test_parameters_of_the_posterior_go_through_every_plugin_in_order():
    batch = some_batch()
    plain = Step(build(), batch).sample.distribution
    step = Step(build(Scaled, Floored), batch)
    found = step.sample.distribution
    torch.testing.assert_close(found.mean, plain.mean / 2)
    floor = torch.tensor(0.5).mul(0.5).exp()  # of the deviation, where log variance is 0.5
    torch.testing.assert_close(found.stddev, plain.stddev.clamp(min=floor))
    due = kl_divergence(Normal(found.mean, found.stddev), Normal(0.0, 1.0))
    torch.testing.assert_close(step.kl, due)
    assert step.kl.shape == (len(batch), SIZES.latent)
