"""The noise, by counting and by invariants; what the two compose with."""

import math

import pytest
import torch
from aecore_dae import Daae, Dae, NoiseConfig, corrupted

from aecore import Batch, PluginError, Sizes, Step, TransferRequest
from aecore.assembly import assemble
from aecore.catalogue import Catalogue
from aecore.errors import CompositionError
from aecore.evaluation.protocol import evaluate_split
from aecore.streams import Streams
from aecore.testing import Subject, parametrize_with_checks
from aecore.testing.lab import batch_of, build, corpus

V = 40


@parametrize_with_checks("dae")
def test_conformance_of_dae(subject, check):
    check(subject)


@parametrize_with_checks(
    "dae", settings={"drop": 0.2, "blank": 0.2, "substitute": 0.2, "shuffle": 2}
)
def test_conformance_of_all_noises(subject, check):
    check(subject)


@parametrize_with_checks("daae", settings={"width": 16})
def test_conformance_of_daae(subject, check):
    check(subject)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def sentences(n=400, words=10):
    """n sentences of 1 to 10 words, all different within a sentence."""
    lengths = torch.randint(1, words + 1, (n,))
    tokens = torch.zeros(n, words + 2, dtype=torch.long)
    tokens[:, 0] = 1
    for row, length in enumerate(lengths.tolist()):
        tokens[row, 1 : length + 1] = 4 + torch.randperm(V - 4)[:length]
        tokens[row, length + 1] = 2
    return Batch(tokens, lengths + 1, torch.arange(n))


def rows(batch):
    return [row[1:length].tolist() for row, length in zip(batch.tokens, batch.lengths, strict=True)]


def noisy(**settings):
    clean = sentences()
    config = NoiseConfig(**({"drop": 0.0} | settings))
    found = corrupted(clean, config, V)
    assert torch.equal(found.index, clean.index)
    return rows(clean), rows(found)


def pairs(clean, found):
    """(before, after) of every word, where none moves."""
    return [
        pair
        for before, after in zip(clean, found, strict=True)
        for pair in zip(before, after, strict=True)
    ]


def test_dropped_words_are_so_many_and_the_rest_keeps_its_order():
    clean, found = noisy(drop=0.3)
    for before, after in zip(clean, found, strict=True):
        assert after == [word for word in before if word in after]
        assert after
    longer = [(b, a) for b, a in zip(clean, found, strict=True) if len(b) >= 5]
    words = sum(len(b) for b, _ in longer)
    share = 1 - sum(len(a) for _, a in longer) / words
    assert abs(share - 0.3) < 4 * math.sqrt(0.21 / words) + 0.3**5  # one is kept in any case


def test_a_sentence_keeps_a_word_whatever_the_rate():
    _, found = noisy(drop=0.999)
    assert all(len(row) >= 1 for row in found)
    assert sum(map(len, found)) < 1.1 * len(found)


@pytest.mark.parametrize("k", [1, 3])
def test_no_word_moves_further_than_it_may(k):
    clean, found = noisy(shuffle=k)
    moves = [
        abs(after.index(word) - place)
        for before, after in zip(clean, found, strict=True)
        for place, word in enumerate(before)
    ]
    assert max(moves) == k
    assert [sorted(row) for row in clean] == [sorted(row) for row in found]


def test_blanks_and_substitutes_are_so_many():
    clean, found = noisy(blank=0.25)
    words = [
        (b, a)
        for before, after in zip(clean, found, strict=True)
        for b, a in zip(before, after, strict=True)
    ]
    assert {a for b, a in words if a != b} == {3}
    share = sum(a == 3 for _, a in words) / len(words)
    assert abs(share - 0.25) < 4 * math.sqrt(0.1875 / len(words))
    clean, found = noisy(substitute=0.4)
    words = [
        (b, a)
        for before, after in zip(clean, found, strict=True)
        for b, a in zip(before, after, strict=True)
    ]
    assert min(a for _, a in words) >= 4
    share = sum(a != b for b, a in words) / len(words)
    due = 0.4 * (1 - 1 / (V - 4))
    assert abs(share - due) < 4 * math.sqrt(0.24 / len(words))


@pytest.mark.parametrize(
    ("cls", "settings", "why"),
    [
        (Dae, {"drop": 0.0}, "without any noise"),
        (Dae, {"drop": 1.0}, "less than 1"),
        (Dae, {"blank": -0.1}, "greater than or equal to 0"),
        (Dae, {"substitute": 1.5}, "less than or equal to 1"),
        (Daae, {"shuffle": -1}, "greater than or equal to 0"),
        (Daae, {"steps": 0}, "greater than or equal to 1"),
    ],
)
def test_rates_out_of_range_are_refused(cls, settings, why):
    with pytest.raises(ValueError, match=why):
        cls.Config(**settings)


def test_training_reads_noise_and_evaluation_does_not():
    model = build(Subject.installed("dae", {"drop": 0.0, "blank": 1.0}), dropout=0.0)
    batch = batch_of(6)
    clean, blanked = model.features(batch), model.features(model.corrupt_input(batch))
    assert torch.equal(Step(model, batch, training=True).features, blanked)
    assert torch.equal(Step(model, batch).features, clean)
    assert not torch.equal(clean, blanked)
    plain = build(Subject.installed("ae"), dropout=0.0)
    plain.load_state_dict(model.state_dict(), strict=False)
    figures = [evaluate_split(m, corpus().valid, Streams(0), 3).rec for m in (model, plain)]
    assert figures[0] == pytest.approx(figures[1], rel=1e-5)


def test_a_critic_that_knows_nothing_guesses():
    plugin = Daae(Daae.Config(weight=3.0), Sizes(9, 2, 3, 3))
    for parameter in plugin.net.parameters():
        torch.nn.init.zeros_(parameter)

    class Seen:
        z = torch.randn(5, 1, 3)

        @property
        def sample(self):
            return self

        def prior_sample(self):
            return torch.randn(5, 3)

        def mean(self, values):
            return values.mean(0)

    assert plugin.critic_loss(Seen()).item() == pytest.approx(2 * math.log(2))
    assert plugin.kl_term(Seen()).mean().item() == pytest.approx(3 * math.log(2))


def composed(*names):
    return assemble({name: {} for name in names}, Catalogue.discover())


def test_what_composes_and_what_is_refused():
    others = ("ivae", "wae_mmd", "wae_d", "ae", "annealing", "controlvae", "flowprior", "free_bits")
    for other in (*others, "ae_pretrain", "savae", "word_dropout", "poincare", "vmf"):
        assert "dae" in composed("dae", other).composition.names
    for other in ("annealing", "ae_pretrain", "dae"):
        assert composed("daae", other).composition.levels["kl"] == "penalty"
    for other in ("wae_gan", "ivae", "controlvae", "free_bits", "flowprior", "ae"):
        with pytest.raises(CompositionError):
            composed("daae", other)
    with pytest.raises(CompositionError):
        composed("dae", "lstm_lm")


def test_arithmetic_moves_every_code_by_the_difference_of_the_means():
    plugin = Daae(Daae.Config(), Sizes(9, 2, 3, 2))
    before, after = torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([[4.0, 3.0]])
    z = torch.tensor([[1.0, 1.0], [0.0, -1.0]])
    moved = plugin.latent_map(z, TransferRequest(before, after, 2.0))
    assert moved.tolist() == [[7.0, 7.0], [6.0, 5.0]]
    with pytest.raises(PluginError, match="two sets of examples"):
        plugin.latent_map(z, TransferRequest())
