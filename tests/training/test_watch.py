"""The collapse alarm: what the decoder gains from z, when the alarm is raised, what it suggests."""

import json

import pytest
import torch
from support import build, part, trainer_of

from aecore import Plugin, PosteriorSample, hookimpl
from aecore.catalogue import Catalogue
from aecore.composition import compose
from aecore.data.splits import Split
from aecore.streams import Streams, stream
from aecore.training.progress import Silent
from aecore.training.trainer import Trainer
from aecore.training.watch import announce, collapse_signs, gain_from_z, remedies

SOUND = {"nll_elbo": 20.0, "kl": 3.0, "au": 4, "gain": 2.5}


class Point(Plugin):
    """A posterior without noise: the first three features."""

    declares = {"provides": {"posterior": "point", "kl": "penalty", "kl_estimator": "constant", "moves": []}}

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


def test_the_gain_of_two_sentences_by_hand(corpus):
    model = with_large_weights(build(Point))
    split = Split.of("valid", ["a b c", "d e f g"], corpus.vocabulary)
    batch = split.batch(torch.tensor([0, 1]))
    with torch.no_grad():
        model.eval()
        z = model.features(batch)[:, None, :3]
        own, other = model.nll(batch, z), model.nll(batch, z.flip(0))
    model.train()
    found = gain_from_z(model, split, Streams(0), 1)
    assert found == pytest.approx(float((other - own).mean()), rel=1e-5)
    assert model.training


def test_no_sentence_keeps_its_own_latent(corpus):
    model = with_large_weights(build(Point))
    asked = []
    nll = model.nll
    model.nll = lambda batch, z: asked.append(z) or nll(batch, z)
    gain_from_z(model, corpus.train, Streams(0), 48)
    swapped, own = asked
    assert not (swapped == own).all(-1).any()
    assert sorted(map(tuple, swapped[:, 0].tolist())) == sorted(map(tuple, own[:, 0].tolist()))


def test_a_decoder_that_does_not_look_gains_nothing(corpus):
    model = with_large_weights(build(Point))
    with torch.no_grad():
        model.decoder.bridge.weight.zero_()
        model.decoder.lstm.weight_ih_l0[:, -3:] = 0
    assert gain_from_z(model, corpus.valid, Streams(0), 4) == 0


def test_one_sentence_has_no_other(corpus):
    assert gain_from_z(build(), corpus.valid.head(1), Streams(0), 4) is None


@pytest.mark.parametrize(
    ("changed", "sign"),
    [
        ({"kl": 0.04}, "the KL is 0.04 nats"),
        ({"au": 0}, "no unit is active"),
        ({"gain": -0.03}, "z gains the decoder -0.03 nats"),
    ],
)
def test_each_sign_is_enough(changed, sign):
    assert collapse_signs(SOUND) == []
    (found,) = collapse_signs({**SOUND, **changed})
    assert found.startswith(sign)


def test_what_is_not_measured_is_no_sign():
    assert collapse_signs({"nll_elbo": None, "kl": 0.0, "au": 3, "gain": None}) == []


def test_without_a_posterior_nothing_collapses():
    assert collapse_signs({"nll_elbo": 20.0, "kl": 0.0, "au": None, "gain": None}) == []


class Listening(Silent):
    def __init__(self):
        self.alarms, self.notes = [], []

    def alarm(self, text):
        self.alarms.append(text)

    def note(self, text):
        self.notes.append(text)


def test_the_alarm_is_raised_where_a_collapse_begins():
    heard, model, collapsed = Listening(), build(), False
    for figures in (SOUND, {**SOUND, "au": 0}, {**SOUND, "au": 0}, SOUND, {**SOUND, "kl": 0.0}):
        collapsed = announce(heard, model, figures, collapsed)
    assert collapsed
    assert [text.splitlines()[1].strip()[:10] for text in heard.alarms] == ["no unit is", "the KL is "]
    assert heard.notes == ["the posterior is no longer collapsed"]


def test_it_suggests_what_the_catalogue_knows_and_the_run_does_not_use():
    assert remedies(build().composition, Catalogue({}, {})) == []
    catalogue = Catalogue.discover()
    plain = "\n".join(remedies(build().composition, catalogue))
    assert "try: --plugin annealing, " in plain
    parts = [part("annealing", ["beta_schedule"])]
    steered = "\n".join(remedies(compose(parts, catalogue.defaults), catalogue))
    assert "--plugin betavae" in steered
    assert "annealing," not in steered
    assert steered.endswith("or:  other settings of 'annealing'; see: aecore plugins info annealing")


def test_it_suggests_nothing_that_the_run_would_refuse():
    catalogue = Catalogue.discover()
    uncharged = compose([catalogue.part("ae")], catalogue.defaults)
    text = "\n".join(remedies(uncharged, catalogue))
    for name in ("annealing", "betavae", "controlvae", "cyclical", "free_bits"):
        assert name not in text
    assert "lagging" in text


def test_a_run_writes_the_gain_and_remembers_the_alarm(corpus, tmp_path):
    trainer = trainer_of(build(), corpus, tmp_path / "run", epochs=2)
    trainer.progress = heard = Listening()
    while trainer.advance():
        pass
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    valid = [row for row in rows if row["split"] == "valid"]
    assert all(abs(row["gain"]) < 0.1 for row in valid)
    assert len(valid) == 2
    assert len(heard.alarms) == 1
    again = Trainer(build(), corpus, trainer.config, trainer.folder, heard)
    again.restore()
    assert again.state.collapsed


def test_looking_disturbs_no_generator(corpus):
    before = torch.get_rng_state()
    first = gain_from_z(with_large_weights(build()), corpus.valid, Streams(3), 4)
    assert torch.equal(torch.get_rng_state(), before)
    assert gain_from_z(with_large_weights(build()), corpus.valid, Streams(3), 4) == first
