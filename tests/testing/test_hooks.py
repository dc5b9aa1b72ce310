"""Plugins whose hooks are not called, do nothing, or return what they should not."""

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from aecore import Batch, CriticConfig, Plugin, PosteriorSample, hookimpl
from aecore import testing as kit
from aecore.batch import END, START
from aecore.testing import CheckFailure

GAUSSIAN = {"provides": {"posterior": "gaussian", "geometry": "euclidean"}}


def normal(mean, scale):
    return Independent(Normal(mean, scale), 1)


class Uncritical(Plugin):
    critic = CriticConfig()

    @hookimpl
    def critic_loss(self, step):
        return step.z.mean()


def test_a_critic_without_parameters(fails):
    fails(
        kit.check_hooks_are_called,
        Uncritical,
        "'uncritical' has the hook critic_loss, but no parameters of role critic",
    )


class Unasked(Plugin):
    @hookimpl
    def objective(self, step):
        return step.rec.mean(1) + step.kl.sum(1)

    @hookimpl
    def kl_penalty(self, kl):
        return kl.clamp(min=1)


def test_a_penalty_that_the_objective_does_not_ask_for(fails):
    fails(
        kit.check_hooks_are_called,
        Unasked,
        """kl_penalty is declared but was never called
  ran: 6 steps with validation and test, then generation from the prior
  likely: the objective never asks for step.kl_loss""",
        provides={"objective_gradient": ["encoder", "decoder"]},
    )


class Idle(Plugin):
    """It draws, but what it draws has no effect."""

    @hookimpl
    def kl_penalty(self, kl):
        return kl + 0 * torch.randn_like(kl)


def test_a_plugin_without_effect(fails):
    fails(
        kit.check_plugin_has_an_effect,
        Idle,
        """training is the same without it
  compared: loss and gradient norm of 5 joint steps from each of 2 initialisations, same noise
  likely: its hooks return what they were given""",
    )


class Floor(Plugin):
    @hookimpl
    def kl_penalty(self, kl):
        return kl.clamp(min=1e-3)


class Ceiling(Plugin):
    @hookimpl
    def kl_penalty(self, kl):
        return kl.clamp(max=3.0)


def test_a_floor_and_a_ceiling_have_an_effect_where_they_bite(subject_of):
    kit.check_plugin_has_an_effect(subject_of(Floor))
    kit.check_plugin_has_an_effect(subject_of(Ceiling))


class Squeezed(Plugin):
    @hookimpl
    def extra_loss(self, step):
        return step.sample.z.square().mean((1, 2)).squeeze()


def test_a_squeeze_that_only_one_sentence_shows(fails):
    fails(
        kit.check_shapes,
        Squeezed,
        """'squeezed' (test_hooks) returned a value of shape () from extra_loss; (1,) was due
  hook:   extra_loss(step), testing/test_hooks.py:<n>
  likely: a sum or mean over an axis that the core reduces itself""",
    )


class OneSample(Plugin):
    @hookimpl
    def posterior_sample(self, features):
        q = normal(features[:, : self.sizes.latent], 0.1 + features[:, : self.sizes.latent].exp())
        return PosteriorSample(q.rsample((1,)).transpose(0, 1), q)


def test_a_posterior_that_ignores_the_number_of_samples(fails):
    fails(
        kit.check_shapes,
        OneSample,
        """'onesample' (test_hooks) returned z of shape (1, 1, 4) from posterior_sample; \
(1, 3, 4) was due
  hook:   posterior_sample(features), testing/test_hooks.py:<n>""",
        **GAUSSIAN,
    )


class Half(Plugin):
    @hookimpl
    def kl_penalty(self, kl):
        return kl.bfloat16()


def test_reduced_precision(fails):
    fails(
        kit.check_shapes,
        Half,
        """kl_loss is torch.bfloat16; float32 or better was due
  in: a batch of 1 sentences with 1 samples""",
    )


class Logarithm(Plugin):
    @hookimpl
    def extra_loss(self, step):
        return (step.rec.mean(1) - step.rec.mean()).log()


def test_a_value_that_is_not_finite(fails):
    fails(
        kit.check_shapes,
        Logarithm,
        """extra_loss of logarithm is not finite
  in: a batch of 1 sentences with 1 samples""",
    )


class Peeking(Plugin):
    @hookimpl
    def posterior_sample(self, features, n_samples, batch):
        mean = features[:, : self.sizes.latent] + batch.lengths.unsqueeze(1)
        return PosteriorSample(
            normal(mean, 1.0).rsample((n_samples,)).transpose(0, 1),
            normal(mean, torch.ones_like(mean)),
        )


def test_a_posterior_that_needs_the_sentences(fails):
    fails(
        kit.check_posterior_needs_no_batch,
        Peeking,
        """'peeking' (test_hooks) raised AttributeError in posterior_sample: \
'NoneType' object has no attribute 'lengths'
  hook:   posterior_sample(features, n_samples, batch), testing/test_hooks.py:<n>""",
        **GAUSSIAN,
    )


class Averaged(Plugin):
    @hookimpl
    def decoder_condition(self, z):
        return z - z.mean(0)


def test_a_condition_that_couples_points(fails):
    fails(
        kit.check_leading_axes,
        Averaged,
        """decoder_condition depends on the leading axes of z
  largest difference between shapes (12, D) and (3, 4, D): <n>
  likely: a mean or sum over points""",
    )


class Padded(Plugin):
    @hookimpl
    def extra_loss(self, step):
        return 0.1 * step.batch.tokens.float().mean(1)


def test_pads_that_are_counted(fails):
    fails(
        kit.check_padding_changes_nothing,
        Padded,
        """objective changes when pads are added
  largest difference: <n>
  seen: widths 12 and 17
  likely: a sum or mean over batch.tokens without batch.mask""".replace(
            "objective", "extra_loss of padded"
        ),
    )


class Normalised(Plugin):
    @hookimpl
    def posterior_sample(self, features, n_samples):
        mean = (features - features.mean(0))[:, : self.sizes.latent]
        q = normal(mean, torch.ones_like(mean))
        return PosteriorSample(q.rsample((n_samples,)).transpose(0, 1), q)


def test_a_posterior_that_couples_the_sentences(fails):
    fails(
        kit.check_sentences_do_not_couple,
        Normalised,
        """kl of a sentence depends on the other sentences of its batch
  largest difference: <n>
  likely: a mean or a normalisation over the batch""",
        **GAUSSIAN,
    )


class Mean(Plugin):
    @hookimpl
    def kl_term(self, step):
        return (step.sample.log_prob - step.log_prior).mean().expand(len(step.batch), 1)


def test_a_divergence_per_sentence_that_is_a_mean(fails, subject_of):
    provides = {
        "kl": "sentence",
        "kl_estimator": "monte-carlo",
        "kl_gradient": ["encoder", "prior"],
    }
    fails(
        kit.check_sentences_do_not_couple,
        Mean,
        """kl of a sentence depends on the other sentences of its batch
  largest difference: <n>
  likely: a mean or a normalisation over the batch""",
        provides=provides,
    )
    kit.check_sentences_do_not_couple(subject_of(Mean, provides={**provides, "kl": "batch"}))


class Dropped(Plugin):
    @hookimpl
    def corrupt_input(self, batch):
        return Batch(batch.tokens[:, :-1], batch.lengths.clamp(max=5), batch.index)


def test_a_corruption_that_cuts_the_end_off(fails):
    fails(
        kit.check_corrupted_input_is_a_batch,
        Dropped,
        """corrupt_input returns a malformed sentence
  came: [1, ..., length <n>
  due: 1 words 2, then 0; length counts words and 2""",
    )


class InPlace(Plugin):
    @hookimpl
    def corrupt_input(self, batch):
        batch.tokens[:, 1] = torch.where(batch.lengths > 1, 3, END)
        return batch


def test_a_corruption_in_place(fails):
    fails(
        kit.check_corrupted_input_is_a_batch,
        InPlace,
        "corrupt_input writes into the batch that it was given",
    )


class Shifted(Plugin):
    """Reads every word one place late, so that a word stands where the start was."""

    @hookimpl
    def decoder_input(self, tokens):
        return tokens.roll(1, 1)


class Beyond(Plugin):
    @hookimpl
    def decoder_input(self, tokens):
        return torch.where(tokens > START, tokens + 100, tokens)


class Written(Plugin):
    @hookimpl
    def decoder_input(self, tokens):
        return tokens.masked_fill_(tokens > 3, 3)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Shifted, "decoder_input changes <s> or a pad"),
        (Beyond, "decoder_input gives ids beyond 0 to <n>"),
        (Written, "decoder_input changes the batch in place"),
    ],
)
def test_a_decoder_input_that_is_no_sentence(fails, cls, message):
    fails(kit.check_decoder_input_is_tokens, cls, message)


class MapsInPlace(Plugin):
    @hookimpl
    def latent_map(self, z, request):
        return z.add_(request.strength)


class MapsTogether(Plugin):
    """Centres the codes that it is given together."""

    @hookimpl
    def latent_map(self, z):
        return z - z.mean(0)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (MapsInPlace, "latent_map writes into the codes that it was given"),
        (
            MapsTogether,
            "latent_map of a sentence depends on the other sentences\n  alone and among 7: "
            "<n> apart",
        ),
    ],
)
def test_a_map_of_codes_that_is_none(fails, cls, message):
    fails(kit.check_mapped_codes_are_codes, cls, message)


class AsksNobody(Plugin):
    """A Gaussian posterior that leaves other plugins out."""

    roles = {"head": "encoder"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.head = nn.Linear(sizes.hidden, sizes.latent)

    @hookimpl
    def posterior_sample(self, features, n_samples):
        normal = Independent(Normal(self.head(features), 1.0), 1)
        return PosteriorSample(normal.rsample((n_samples,)).transpose(0, 1), normal)


def test_a_gaussian_posterior_that_asks_nobody(fails):
    fails(
        kit.check_posterior_takes_parameters,
        AsksNobody,
        """posterior_params of another plugin changes nothing
  largest difference of the means: <n>
  likely: self.model.posterior_params(mean, log_variance, batch) is not called""",
        provides={"posterior": "gaussian", "geometry": "euclidean"},
    )


class BatchNormalised(Plugin):
    """Means normalised over the batch in training, by running averages in evaluation."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.norm = nn.BatchNorm1d(sizes.latent, affine=False)

    @hookimpl
    def posterior_params(self, mean, log_variance):
        return self.norm(mean), log_variance


def test_coupling_in_training_is_a_word_of_the_manifest(subject_of):
    with pytest.raises(CheckFailure, match="of a sentence depends on the other sentences"):
        kit.check_sentences_do_not_couple(subject_of(BatchNormalised))
    kit.check_sentences_do_not_couple(subject_of(BatchNormalised, couples="training"))
