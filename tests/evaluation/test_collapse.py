"""Posterior collapse: what the decoder gains from z, what z tells, and when an alarm is raised."""

import json
import math

import pytest
import torch
from support import build, trainer_of

from aecore import Plugin, PosteriorSample, hookimpl
from aecore.data.splits import Split
from aecore.evaluation.collapse import (
    collapse_signs,
    idle_signs,
    information_in_z,
    raise_alarms,
    signs_of,
    z_gap_of,
)
from aecore.progress import Silent
from aecore.streams import Streams, stream
from aecore.training.trainer import Trainer

SOUND = {"nll_elbo": 20.0, "kl": 3.0, "au": 4, "z_gap": 2.5}


class Point(Plugin):
    """A posterior without noise: the first three features."""

    declares = {
        "provides": {
            "posterior": "point",
            "kl": "penalty",
            "kl_estimator": "penalty",
            "kl_gradient": [],
        }
    }

    @hookimpl
    def posterior_sample(self, features):
        return PosteriorSample(features[:, None, :3], centre=features[:, :3])

    @hookimpl
    def kl_term(self, step):
        return step.sample.z.new_zeros(len(step.batch), 1)


def with_large_weights(model):
    with stream("weights"), torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 1.0)
    return model


def test_the_gap_of_two_sentences_by_hand(corpus):
    model = with_large_weights(build(Point))
    split = Split.of("valid", ["a b c", "d e f g"], corpus.vocabulary)
    batch = split.batch(torch.tensor([0, 1]))
    with torch.no_grad():
        model.eval()
        z = model.features(batch)[:, None, :3]
        own, other = model.nll(batch, z), model.nll(batch, z.flip(0))
    model.train()
    found = z_gap_of(model, split, Streams(0), 1)
    assert found == pytest.approx(float((other - own).mean()), rel=1e-5)
    assert model.training


def test_no_sentence_keeps_its_own_latent(corpus):
    model = with_large_weights(build(Point))
    asked = []
    nll = model.nll
    model.nll = lambda batch, z: asked.append(z) or nll(batch, z)
    z_gap_of(model, corpus.train, Streams(0), 48)
    swapped, own = asked
    assert not (swapped == own).all(-1).any()
    assert sorted(map(tuple, swapped[:, 0].tolist())) == sorted(map(tuple, own[:, 0].tolist()))


def test_a_decoder_that_does_not_look_gains_nothing(corpus):
    model = with_large_weights(build(Point))
    with torch.no_grad():
        model.decoder.bridge.weight.zero_()
        model.decoder.lstm.weight_ih_l0[:, -3:] = 0
    assert z_gap_of(model, corpus.valid, Streams(0), 4) == 0


def test_one_sentence_has_no_other(corpus):
    assert z_gap_of(build(), corpus.valid.head(1), Streams(0), 4) is None


@pytest.mark.parametrize(
    ("changed", "sign"),
    [
        ({"kl": 0.04}, "the KL is 0.04 nats"),
        ({"au": 0}, "no unit is active"),
        ({"z_gap": -0.03}, "z gains the decoder -0.03 nats"),
    ],
)
def test_each_sign_is_enough(changed, sign):
    assert collapse_signs(SOUND) == []
    (found,) = collapse_signs({**SOUND, **changed})
    assert found.startswith(sign)


def test_what_is_not_measured_is_no_sign():
    assert collapse_signs({"nll_elbo": None, "kl": 0.0, "au": 3, "z_gap": None}) == []


def test_without_a_posterior_nothing_collapses():
    assert collapse_signs({"nll_elbo": 20.0, "kl": 0.0, "au": None, "z_gap": None}) == []


class Listening(Silent):
    def __init__(self):
        self.alarms, self.notes = [], []

    def alarm(self, kind, signs, composition):
        self.alarms.append((kind, *signs))

    def note(self, text):
        self.notes.append(text)


def test_the_alarm_is_raised_where_a_collapse_begins():
    heard, composition, alarms = Listening(), build().composition, []
    for figures in (SOUND, {**SOUND, "au": 0}, {**SOUND, "au": 0}, SOUND, {**SOUND, "kl": 0.0}):
        alarms = raise_alarms(heard, composition, figures, alarms)
    assert alarms == ["collapsed"]
    assert [(kind, sign[:10]) for kind, sign in heard.alarms] == [
        ("collapsed", "no unit is"),
        ("collapsed", "the KL is "),
    ]
    assert heard.notes == ["the posterior is no longer collapsed"]


def test_a_run_writes_the_gap_and_remembers_the_alarm(corpus, tmp_path):
    trainer = trainer_of(build(), corpus, tmp_path / "run", epochs=2)
    trainer.progress = heard = Listening()
    while trainer.advance():
        pass
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    valid = [row for row in rows if row["split"] == "valid"]
    assert all(abs(row["z_gap"]) < 0.1 for row in valid)
    assert len(valid) == 2
    assert len(heard.alarms) == 1
    again = Trainer(build(), corpus, trainer.config, trainer.folder, heard)
    again.restore()
    assert again.state.alarms == ["collapsed"]


def test_looking_disturbs_no_generator(corpus):
    before = torch.get_rng_state()
    first = z_gap_of(with_large_weights(build()), corpus.valid, Streams(3), 4)
    assert torch.equal(torch.get_rng_state(), before)
    assert z_gap_of(with_large_weights(build()), corpus.valid, Streams(3), 4) == first


# Nats of code that say nothing


@pytest.mark.parametrize(
    ("figures", "idle"),
    [
        # of 15.5 nats 2.6 tell 256 sentences apart, of 5.5 that could
        ({"kl": 15.5, "mi_256": 2.6}, True),
        ({"kl": 15.5, "mi_256": 3.0}, False),
        ({"kl": 4.0, "mi_256": 1.9}, True),
        ({"kl": 4.0, "mi_256": 2.1}, False),
        ({"kl": 0.5, "mi_256": 0.0}, False),  # next to nothing is paid: that is for the other alarm
        ({"kl": 15.5, "mi_256": None}, False),
        ({"kl": 15.5, "mi": 2.9, "sentences": 500}, True),
        ({"kl": 15.5, "mi": 3.2, "sentences": 500}, False),
        # seven sentences cannot be told apart by more than log 7
        ({"kl": 15.5, "mi_256": 1.0, "sentences": 7}, False),
        ({"kl": 15.5, "mi_256": 1.0, "nll_elbo": None}, False),  # a penalty is no divergence
    ],
)
def test_a_kl_far_above_the_mutual_information_is_idle(figures, idle):
    assert bool(idle_signs({"nll_elbo": 20.0, **figures})) is idle


def test_a_collapse_is_not_called_idle_too():
    assert list(signs_of({**SOUND, "au": 0, "mi_256": 0.0})) == ["collapsed"]
    assert list(signs_of({**SOUND, "mi_256": 0.1})) == ["idle"]


class Far(Plugin):
    """Posteriors that no two sentences share."""

    declares = {"provides": {"posterior": "gaussian"}}

    @hookimpl
    def posterior_sample(self, features, n_samples):
        mean = 1e4 * features[:, :3]
        normal = torch.distributions.Independent(
            torch.distributions.Normal(mean, torch.ones_like(mean)), 1
        )
        return PosteriorSample(normal.rsample((n_samples,)).transpose(0, 1), normal)


def test_the_information_of_posteriors_that_do_not_overlap_is_their_number(corpus):
    split = Split.of("valid", ["a b c", "d e f g", "g", "b b"], corpus.vocabulary)
    found = information_in_z(with_large_weights(build(Far)), split, Streams(0), 3)
    assert found == pytest.approx(math.log(4), abs=1e-4)


def test_posteriors_that_are_all_the_same_tell_nothing(corpus):
    model = build()
    torch.nn.init.zeros_(model.plugin("vae").head.weight)
    assert information_in_z(model, corpus.valid, Streams(0), 4) == pytest.approx(0, abs=1e-6)


def test_the_information_does_not_need_a_gaussian(corpus):
    class Other(Far):
        declares = {"provides": {"posterior": "density"}}

    one, other = (with_large_weights(build(cls)) for cls in (Far, Other))
    ceiling = math.log(len(corpus.valid))
    for model in (one, other):
        found = information_in_z(model, corpus.valid, Streams(0), 1)
        assert 0.5 * ceiling < found <= ceiling + 1e-4
