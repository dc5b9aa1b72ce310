"""The penalties in their compositions: signs, known distances, what they need, what they refuse."""

import math

import pytest
import torch
from aecore_wae import WaeGan, WaeMmd, Wgan

import aecore
from aecore.assembly import assemble
from aecore.catalogue import Catalogue
from aecore.errors import AecoreError, CompositionError
from aecore.evaluation.protocol import evaluate_split
from aecore.streams import Streams
from aecore.testing import Subject, parametrize_with_checks
from aecore.testing.lab import batch_of, build, corpus, step_on, training

ALL = ("wae_gan", "wae_mmd", "wgan")
GAUSSIAN = {"encoder": "gaussian"}


@parametrize_with_checks("wae_gan")
def test_conformance_of_wae_gan(subject, check):
    check(subject)


@parametrize_with_checks("wae_mmd")
def test_conformance_of_wae_mmd(subject, check):
    check(subject)


@parametrize_with_checks("wgan")
def test_conformance_of_wgan(subject, check):
    check(subject)


@parametrize_with_checks("wae_mmd", settings={**GAUSSIAN, "kernel": "rbf", "moment_steps": 3})
def test_conformance_over_a_gaussian(subject, check):
    check(subject)


@pytest.mark.parametrize("name", ALL)
def test_the_posterior_is_a_point_or_a_gaussian(name):
    model = build(Subject.installed(name))
    assert model.level["posterior"] == "point"
    assert step_on(model, batch_of(5)).sample.z.shape[1] == 1
    gaussian = build(Subject.installed(name, GAUSSIAN))
    assert gaussian.level["posterior"] == "gaussian"
    assert step_on(gaussian, batch_of(5), samples=3).sample.z.shape[1] == 3


class Apart:
    """A batch of codes that lie away from the prior by a shift which can be learnt."""

    def __init__(self, n=256, shift=1.0):
        torch.manual_seed(0)
        self.shift = torch.full((3,), shift / math.sqrt(3), requires_grad=True)
        self.n = n

    @property
    def z(self):
        return (torch.randn(self.n, 3) + self.shift).unsqueeze(1)

    def prior_sample(self):
        return torch.randn(self.n, 3)

    def gather(self, values):
        return values

    def mean(self, values):
        return values.mean(0)

    @property
    def sample(self):
        return self

    @property
    def batch(self):
        return [None] * self.n


def settled(cls, apart, updates=150, **settings):
    """A plugin whose critic has been trained on the codes as they are."""
    plugin = cls(cls.Config(**settings), aecore.Sizes(9, 2, 3, 3))
    found = list(plugin.parameters_of("critic")) if plugin.critic else []
    if found:
        weights = [parameter for _, parameter in found]
        optimiser = torch.optim.RMSprop(weights, 1e-3)
        for _ in range(updates):
            optimiser.zero_grad()
            plugin.critic_loss(apart).backward(inputs=weights)
            optimiser.step()
            for weight in weights if plugin.critic.clamp else ():
                weight.data.clamp_(-0.1, 0.1)
    return plugin


@pytest.mark.parametrize("cls", [WaeGan, WaeMmd, Wgan])
def test_a_step_of_the_encoder_lowers_the_true_distance(cls):
    """Of N(mu, I) from N(0, I), whose divergences are all functions of |mu|."""
    apart = Apart()
    plugin = settled(cls, apart)
    (slope,) = torch.autograd.grad(plugin.kl_term(apart).mean(), apart.shift)
    moved = apart.shift - 0.01 * slope / slope.norm()
    assert moved.norm() < apart.shift.norm() - 0.005


def test_the_mmd_of_a_batch_is_the_same_for_each_sentence_and_weighed_once():
    apart = Apart(n=6)
    torch.manual_seed(1)
    one = settled(WaeMmd, apart, weight=1.0).kl_term(apart)
    torch.manual_seed(1)
    ten = settled(WaeMmd, apart, weight=10.0).kl_term(apart)
    assert one.shape == (6, 1)
    assert one.unique().numel() == 1
    torch.testing.assert_close(ten, 10 * one)


def test_a_critic_that_knows_nothing_guesses():
    apart = Apart(shift=0.0)
    plugin = WaeGan(WaeGan.Config(weight=3.0), aecore.Sizes(9, 2, 3, 3))
    for parameter in plugin.net.parameters():
        torch.nn.init.zeros_(parameter)
    assert plugin.critic_loss(apart).item() == pytest.approx(2 * math.log(2))
    assert plugin.kl_term(apart).mean().item() == pytest.approx(3 * math.log(2))


def test_the_right_critic_knows_the_jensen_shannon_divergence():
    """At its best D the critic's loss is 2 log 2 - 2 JS; here |mu| = 2 in three dimensions."""
    torch.manual_seed(0)
    # by symmetry: twice the mean over draws of the prior of log sigmoid(log p / q)
    ratio = 2 - 2 * torch.randn(200_000)
    js = math.log(2) - torch.nn.functional.softplus(-ratio).mean().item()
    apart = Apart(n=1000, shift=2.0)
    plugin = settled(WaeGan, apart, updates=200, width=64, layers=2)
    losses = [plugin.critic_loss(apart).item() for _ in range(20)]
    assert sum(losses) / 20 == pytest.approx(2 * math.log(2) - 2 * js, abs=0.04)


def test_the_clipped_critic_stays_within_its_clip():
    with training(Subject.installed("wgan", {"lr": 0.1, "steps": 2}), dropout=0.0) as trainer:
        for _ in range(3):
            trainer.advance()
        weights = [p for _, p in trainer.model.plugin("wgan").parameters_of("critic")]
        assert max(float(weight.abs().max()) for weight in weights) <= 0.01


def test_what_is_reported_is_a_penalty_and_the_yardstick_is_there():
    for name in ALL:
        model = build(Subject.installed(name), latent=2, spread=True)
        figures = evaluate_split(model, corpus().valid, Streams(0), 3, iw_samples=30)
        assert (figures.kl, figures.nll_elbo, figures.kl_estimator) == (None, None, "penalty")
        assert figures.penalty is not None
        assert math.isfinite(figures.nll_iw)
        assert figures.iw_ess >= 1


def test_a_batch_that_is_left_with_one_sentence_costs_nothing():
    model = build(Subject.installed("wae_mmd"))
    step = step_on(model, batch_of(1))
    assert step.kl.tolist() == [[0.0]]
    assert step.kl.requires_grad


def test_batches_of_one_sentence_are_refused(tmp_path):
    with pytest.raises(AecoreError, match="a batch of one sentence has none"):
        aecore.train(
            ["wae_mmd"],
            "toy[:50]",
            {"train.batch_size": 1, "model.sizes": "toy"},
            max_steps=2,
            out=tmp_path / "run",
        )


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (WaeGan, {"steps": 0}),
        (Wgan, {"clamp": 0.0}),
        (WaeMmd, {"kernel": "linear"}),
        (WaeMmd, {"weight": 0.0}),
        (WaeGan, {"layers": 0}),
        (WaeMmd, {"encoder": "point"}),
    ],
)
def test_settings_out_of_range_are_refused(cls, settings):
    with pytest.raises(ValueError, match="validation error"):
        cls.Config(**settings)


def composed(*names, **settings):
    return assemble({name: settings.get(name, {}) for name in names}, Catalogue.discover())


@pytest.mark.parametrize("name", ALL)
def test_what_composes_and_what_is_refused(name):
    for other in ("annealing", "betavae", "ae_pretrain", "word_dropout"):
        assert composed(name, other).composition.levels["kl"] == "penalty"
    for other in ("controlvae", "free_bits", "flowprior", "ae", "savae", "vamp_prior"):
        with pytest.raises(CompositionError):
            composed(name, other)
    with pytest.raises(CompositionError):
        composed("wae_gan", "wae_mmd")
