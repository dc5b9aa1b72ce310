"""The VampPrior against a mixture worked out sentence by sentence, and who gets its gradients."""

import math

import pytest
import torch
from aecore_priors import VampPrior
from pydantic import ValidationError
from torch.distributions import Normal

from aecore import Plugin, PosteriorSample, Sizes, hookimpl
from aecore.errors import PluginError
from aecore.evaluation.protocol import evaluate_split
from aecore.plugin import MAIN_ROLES
from aecore.runs.config import TrainConfig
from aecore.streams import Streams
from aecore.testing import Subject
from aecore.testing.lab import batch_of, build, corpus, step_on
from aecore.training.optimisers import Updater

SETTINGS = {"components": 6, "mean_length": 4.0, "length_std": 2.0}


def model(**config):
    """A tiny float64 model over six pseudo-sentences of several lengths, drawn wide."""
    made = build(Subject.installed("vamp_prior", SETTINGS), dropout=0.0, **config).double()
    torch.nn.init.normal_(made.plugin("vamp_prior").inputs)
    return made


def by_hand(made, z):
    """log 1/M sum_k N(z; mu_k, sigma_k^2), each pseudo-sentence encoded alone."""
    plugin, head = made.plugin("vamp_prior"), made.plugin("vae").head.weight
    parts = []
    for words, length in zip(plugin.inputs, plugin.lengths.tolist(), strict=True):
        _, (last, _) = made.encoder.lstm(words[:length].unsqueeze(0))
        mean, log_variance = (head @ last.flatten()).chunk(2)
        parts.append(
            -0.5
            * ((z - mean) ** 2 / log_variance.exp() + log_variance + math.log(2 * math.pi)).sum(-1)
        )
    return torch.stack(parts).exp().mean(0).log()


def test_the_density_is_the_mixture_by_hand():
    made = model()
    assert len(set(made.plugin("vamp_prior").lengths.tolist())) > 2
    z = torch.randn(3, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(made.prior_logprob(z), by_hand(made, z), rtol=0, atol=1e-10)


def test_draws_have_the_moments_of_the_mixture():
    made, n = model(), 40_000
    with torch.no_grad():
        z = made.prior_sample(n)
        components = made.posterior_sample(made.plugin("vamp_prior").features()).distribution
    means, variances = components.mean, components.stddev.square()
    variance = (variances + means.square()).mean(0) - means.mean(0).square()
    torch.testing.assert_close(
        z.mean(0), means.mean(0), rtol=0, atol=4 * float((z.std(0) / n**0.5).max())
    )
    squares = (z - z.mean(0)).square()
    torch.testing.assert_close(
        squares.mean(0), variance, rtol=0, atol=4 * float((squares.std(0) / n**0.5).max())
    )
    assert bool((means.var(0) > 0.05).all())  # else one component would pass too


def test_gradients_are_those_of_finite_differences():
    made, z = model(), torch.randn(4, 4, dtype=torch.float64)
    inputs, recurrent = made.plugin("vamp_prior").inputs, made.encoder.lstm.weight_hh_l0
    found = torch.autograd.grad(made.prior_logprob(z).sum(), (inputs, recurrent))
    for parameter, gradient, place in (
        (inputs, found[0], (2, 0, 3)),
        (recurrent, found[1], (5, 1)),
    ):
        values = []
        for change in (1e-6, -2e-6):
            with torch.no_grad():
                parameter[place] += change
            values.append(made.prior_logprob(z).sum().item())
        with torch.no_grad():
            parameter[place] += 1e-6
        assert float(gradient[place]) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)
        assert abs(float(gradient[place])) > 1e-4


def test_what_follows_a_pseudo_sentence_counts_for_nothing():
    made, z = model(), torch.randn(4, 4, dtype=torch.float64)
    plugin = made.plugin("vamp_prior")
    (gradient,) = torch.autograd.grad(made.prior_logprob(z).sum(), plugin.inputs)
    after = torch.arange(plugin.inputs.shape[1]) >= plugin.lengths.unsqueeze(1)
    assert bool(after.any())
    assert float(gradient[after].abs().max()) == 0
    assert bool((gradient[:, 0].abs().sum(-1) > 0).all())


def test_the_joint_step_moves_the_encoder_through_the_prior_too():
    made = model()
    updater = Updater(made, TrainConfig(), MAIN_ROLES, 0.1)
    step = step_on(made, batch_of(5))
    log_prior = made.prior_logprob(step.sample.z.detach()).mean()  # the prior's part alone
    encoder = made.params("encoder")
    due = torch.autograd.grad(log_prior, encoder, retain_graph=True, allow_unused=True)
    assert sum(float(g.abs().sum()) for g in due if g is not None) > 0.1
    updater.gradients(log_prior, MAIN_ROLES)
    for parameter, gradient in zip(encoder, due, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)
    # as where before_step rests the encoder
    updater.gradients(made.prior_logprob(step.sample.z.detach()).mean(), ["prior"])
    assert all(parameter.grad is None for parameter in encoder)
    assert float(made.plugin("vamp_prior").inputs.grad.abs().sum()) > 0


def test_with_standard_components_the_kl_is_that_of_the_default_prior():
    kls = []
    for subject in (Subject.installed("vamp_prior", SETTINGS), Subject.defaults()):
        made = build(subject, dropout=0.0)
        # features of 0 give N(0, I), since the posterior's head has no bias
        if not subject.is_default:
            made.plugin("vamp_prior").features = lambda: torch.zeros(6, 12)
        step = step_on(made, batch_of(7), samples=4, sample=drawn(made))
        kls.append((step.sample.log_prob - step.log_prior).mean(1, keepdim=True))
    torch.testing.assert_close(*kls, rtol=0, atol=1e-5)
    assert kls[0].mean() > 1


def drawn(made):
    """The posterior of seven sentences, under the same noise for every model."""
    torch.manual_seed(1)
    return made.posterior_sample(made.features(batch_of(7)), 4)


def test_where_every_posterior_is_that_of_the_pseudo_sentences_the_kl_is_0():
    # A collapsed encoder makes the VampPrior equal to it, wherever that lies.
    made = model(spread=False)
    torch.nn.init.zeros_(made.encoder.lstm.weight_ih_l0)
    torch.nn.init.constant_(made.plugin("vamp_prior").lengths, 13)
    made.plugin("vamp_prior").inputs = torch.nn.Parameter(
        torch.randn(6, 13, 8, dtype=torch.float64)
    )
    batch = batch_of([0])
    features = made.features_of_embedded(
        torch.zeros(1, 13, 8, dtype=torch.float64), torch.tensor([13])
    )
    step = step_on(made, batch, samples=3, features=features)
    assert step.kl.abs().max().item() < 1e-12


def test_pseudo_sentences_are_encoded_once_in_an_evaluation(monkeypatch):
    made = build(Subject.installed("vamp_prior", SETTINGS))
    calls, encode = [], made.features_of_embedded

    def counted(embedded, lengths):
        calls.append(len(lengths))
        return encode(embedded, lengths)

    monkeypatch.setattr(made, "features_of_embedded", counted)
    first = evaluate_split(made, corpus().valid, Streams(0), 4, mi=True, iw_samples=8)
    assert calls == [6]
    torch.nn.init.normal_(made.plugin("vamp_prior").inputs)
    made.weights_changed()
    assert evaluate_split(made, corpus().valid, Streams(0), 4, iw_samples=8).nll_iw != first.nll_iw
    assert calls == [6, 6]


def test_nll_iw_weighs_with_the_mixture():
    # the evaluator's own draws, weighed by hand
    made = build(Subject.installed("vamp_prior", SETTINGS), dropout=0.0).eval()
    torch.nn.init.normal_(made.plugin("vamp_prior").inputs)
    found = evaluate_split(made, corpus().valid, Streams(0), 4, iw_samples=50).nll_iw
    with_mixture, with_standard = 0.0, 0.0
    for row in range(len(corpus().valid)):
        batch = corpus().valid.batch(torch.tensor([row]))
        with Streams(0)("evaluate", "valid", row, "iw"), torch.no_grad():
            q = made.posterior_sample(made.features(batch), 50)
            weights = -made.nll(batch, q.z) - q.log_prob
            with_mixture -= float((weights + by_hand(made, q.z)).exp().mean().log()) / len(
                corpus().valid
            )
            with_standard -= float(
                (weights + Normal(0.0, 1.0).log_prob(q.z).sum(-1)).exp().mean().log()
            ) / len(corpus().valid)
    assert found == pytest.approx(with_mixture, abs=1e-4)
    assert abs(found - with_standard) > 0.01


class Noisy(Plugin):
    """A posterior that knows its density at its own draws alone."""

    @hookimpl
    def posterior_sample(self, features, n_samples):
        noise = torch.randn(len(features), n_samples, self.sizes.latent)
        mean = features[:, None, : self.sizes.latent]
        return PosteriorSample(
            mean + noise, log_prob=Normal(0.0, 1.0).log_prob(noise).sum(-1), centre=mean.squeeze(1)
        )


def test_a_posterior_without_a_distribution_is_refused_by_name():
    table = {
        "hooks": ("posterior_sample",),
        "provides": {"posterior": "density", "geometry": "euclidean"},
    }
    made = build(Subject.installed("vamp_prior"), Subject.of_class(Noisy, table))
    with pytest.raises(PluginError, match=r"vamp_prior needs q\(z . u\) at any z, and 'noisy'"):
        made.prior_logprob(torch.zeros(4))


def test_lengths_are_drawn_once_round_their_mean():
    torch.manual_seed(0)
    plugin = VampPrior(
        VampPrior.Config(components=5000, mean_length=12.0, length_std=3.0), Sizes(9, 2, 3, 2)
    )
    lengths = plugin.lengths.double()
    assert plugin.inputs.shape == (5000, 18, 2)
    assert int(plugin.lengths.max()) == 18
    assert int(plugin.lengths.min()) >= 1
    assert float(lengths.mean()) == pytest.approx(12, abs=0.15)
    assert float(lengths.std()) == pytest.approx(3, abs=0.2)
    torch.manual_seed(0)
    again = VampPrior(plugin.config, plugin.sizes)
    assert torch.equal(again.lengths, plugin.lengths)
    assert "lengths" in plugin.state_dict()


@pytest.mark.parametrize(
    "settings",
    [
        {"components": 0},
        {"mean_length": 0.5},
        {"length_std": -1.0},
        {"inputs": 3},
        {"components": 2.5},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        VampPrior.Config(**settings)
