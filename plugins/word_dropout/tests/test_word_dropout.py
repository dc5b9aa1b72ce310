"""Word dropout: what is read, how often; targets and evaluation; conformance."""

import math

import pytest
import torch
from aecore_word_dropout import UNKNOWN, WordDropout

import aecore
from aecore.testing import Subject, parametrize_with_checks
from aecore.testing.lab import batch_of, build


@parametrize_with_checks("word_dropout")
def test_conformance(subject, check):
    check(subject)


@parametrize_with_checks("word_dropout", settings={"rate": 1.0})
def test_conformance_without_any_history(subject, check):
    check(subject)


def made(rate):
    return build(Subject.installed("word_dropout", {"rate": rate}), dropout=0.0)


def test_the_share_of_words_that_are_not_read():
    plugin, n = made(0.3).plugin("word_dropout"), 40_000
    tokens = torch.randint(4, 40, (n // 10, 10))
    share = float((plugin.decoder_input(tokens) == UNKNOWN).double().mean())
    assert abs(share - 0.3) < 5 * math.sqrt(0.3 * 0.7 / n)


def test_start_end_and_pads_are_read_as_they_are():
    batch = batch_of(7)
    found = made(1.0).decoder_input(batch)
    words = batch.inputs > UNKNOWN
    assert bool((found[words] == UNKNOWN).all())
    assert torch.equal(found[~words], batch.inputs[~words])


def test_each_word_is_drawn_on_its_own():
    plugin = made(0.5).plugin("word_dropout")
    dropped = (plugin.decoder_input(torch.full((4000, 2), 9)) == UNKNOWN).double()
    both = float((dropped[:, 0] * dropped[:, 1]).mean())
    assert abs(both - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 4000)


def test_the_targets_stay_and_only_training_drops():
    """With every word gone states depend on position alone: the chain rule by hand."""
    model, batch = made(1.0), batch_of(1)
    z = torch.randn(1, 1, model.sizes.latent)
    read = torch.where(batch.inputs > UNKNOWN, UNKNOWN, batch.inputs)
    rows, state, nats = model.condition(z)[:, 0], None, 0.0
    state = model.decoder.initial(rows)
    for word, target in zip(read[0], batch.targets[0], strict=True):
        logits, state = model.decoder.advance(word.view(1), rows, state)
        nats -= float(logits.detach().log_softmax(-1)[0, target])
    sample = aecore.PosteriorSample(z)
    training = aecore.Step(model, batch, sample=sample, training=True)
    assert float(training.rec.detach()) == pytest.approx(nats, rel=1e-5)
    plain = aecore.Step(model, batch, sample=sample)
    assert torch.equal(plain.rec, model.nll(batch, z))
    assert float(plain.rec.detach()) != pytest.approx(nats, rel=1e-3)


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_rate_is_a_probability(rate):
    with pytest.raises(ValueError, match="rate"):
        WordDropout.Config(rate=rate)
