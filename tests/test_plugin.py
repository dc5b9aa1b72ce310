"""What a plugin keeps of the weights, and when it makes it anew."""

import pytest
import torch
from support import Joint, build, make_corpus, some_batch, trainer_of
from torch import nn
from torch.distributions import Normal

from aecore.hookspec import hookimpl
from aecore.model import evaluating
from aecore.plugin import CriticConfig, Plugin
from aecore.streams import stream


class Moving(Plugin):
    """N(location, I), where the location is the mean of a layer's weights and is kept; a critic
    that asks for prior samples.
    """

    roles = {"layer": "prior", "net": "critic"}
    critic = CriticConfig(steps=3)
    declares = {"provides": {"prior": "density", "geometry": "euclidean"}}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.layer, self.net = nn.Linear(sizes.latent, 5), nn.Linear(sizes.latent, 1)
        self.made = 0

    def location(self):
        self.made += 1
        torch.randn(7)  # a make that draws must not shift anybody's noise
        return self.layer.weight.mean(0)

    def other(self):
        return "another thing"

    @hookimpl
    def prior_logprob(self, z):
        return Normal(self.cached(self.location), 1.0).log_prob(z).sum(-1)

    @hookimpl
    def prior_sample(self, n):
        return self.cached(self.location) + torch.randn(n, self.sizes.latent)

    @hookimpl
    def critic_loss(self, step):
        return (self.net(step.prior_sample()) - self.net(step.z)).mean()


@pytest.fixture
def model():
    return build(Moving)


def test_without_gradients_it_is_made_once(model):
    plugin, z = model.plugin("moving"), torch.randn(4, 3)
    with evaluating(model):
        found = [model.prior_logprob(z) for _ in range(3)]
        assert plugin.cached(plugin.other) == "another thing"
    assert plugin.made == 1
    assert torch.equal(found[0], found[2])


def test_where_gradients_are_recorded_it_is_made_at_every_call(model):
    z = torch.randn(4, 3)
    with evaluating(model):
        model.prior_logprob(z)
    for _ in range(2):
        (gradient,) = torch.autograd.grad(
            model.prior_logprob(z).sum(), model.plugin("moving").layer.weight
        )
        assert gradient.abs().sum() > 0
    assert model.plugin("moving").made == 3


def test_the_mode_is_part_of_what_is_kept(model):
    with torch.no_grad():
        for mode in (True, False, True):
            model.train(mode).prior_sample(2)
    assert model.plugin("moving").made == 2


def test_loaded_weights_are_a_new_version(model):
    z = torch.zeros(3)
    with evaluating(model):
        before, version = model.prior_logprob(z), model.version
        model.load_state_dict(build(Moving, seed=1).state_dict())
        after = model.prior_logprob(z)
        assert model.version != version
    assert after != before
    assert (
        after
        == Normal(model.plugin("moving").layer.weight.mean(0), 1.0).log_prob(torch.zeros(3)).sum()
    )


def test_an_update_is_a_new_version_and_the_steps_of_a_critic_are_none(tmp_path, model):
    joint, plugin = Joint(model, make_corpus(tmp_path)), model.plugin("moving")
    for _ in range(2):
        plugin.made = 0
        joint.step(some_batch())
        # once for the three steps of the critic, and once with a graph, for the divergence
        assert plugin.made == 2
    with torch.no_grad():
        assert torch.equal(plugin.cached(plugin.location), plugin.layer.weight.mean(0))


def test_best_weights_that_are_reloaded_are_a_new_version(tmp_path, model):
    (tmp_path / "data").mkdir()
    trainer = trainer_of(
        model, make_corpus(tmp_path / "data"), tmp_path / "run", schedule="plateau"
    )
    trainer.selection.weights = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    with evaluating(model):
        before = model.prior_logprob(torch.zeros(3))
        trainer._decay()
        assert model.prior_logprob(torch.zeros(3)) != before


def test_whether_it_is_made_shifts_no_draw(model):
    with evaluating(model):
        with stream("draw"):
            first = model.prior_sample(3)
        with stream("draw"):
            again = model.prior_sample(3)
    assert model.plugin("moving").made == 1
    assert torch.equal(first, again)
