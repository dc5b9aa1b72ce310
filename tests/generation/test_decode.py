"""Generation against a search over the model's own probabilities."""

import pytest
import torch
from support import build

from aecore.batch import END, PAD, START, Batch
from aecore.generation.decode import decode
from aecore.streams import stream


@pytest.fixture(scope="module")
def model():
    made = build(dropout=(0.5, 0.5))
    with stream("weights"), torch.no_grad():
        for parameter in made.decoder.parameters():
            parameter.normal_(0, 1.0)
    return made


def word_probabilities(model, prefix, z):
    """p(next word | prefix, z), from whole-sentence energies: one teacher-forced pass a candidate."""
    model.eval()
    energies = []
    for word in range(model.sizes.vocabulary):
        tokens = torch.tensor([[START, *prefix, word]])
        with torch.no_grad():
            energies.append(model.nll(Batch(tokens, torch.tensor([len(prefix) + 1]), torch.tensor([0])), z.view(1, 1, -1)))
    return torch.softmax(-torch.cat(energies).squeeze(1), 0)


def test_greedy_takes_the_most_likely_word_at_each_step(model, corpus):
    for seed in range(4):
        with stream("z", seed):
            z = torch.randn(1, 3)
        (sentence,) = decode(model, corpus.vocabulary, z, max_length=6)
        prefix = []
        for _ in range(6):
            p = word_probabilities(model, prefix, z)
            p[[PAD, START]] = 0
            word = int(p.argmax())
            if word == END:
                break
            prefix.append(word)
        assert sentence == corpus.vocabulary.decode(prefix)


def test_sampling_follows_the_probabilities(model, corpus):
    z = torch.zeros(4000, 3)
    p = word_probabilities(model, [], z[:1])
    p[[PAD, START]] = 0
    p = p / p.sum()
    with stream("draw"):
        drawn = decode(model, corpus.vocabulary, z, temperature=1.0, max_length=1)
    for word in range(3, 11):
        share = sum(sentence == corpus.vocabulary.decode([word]) for sentence in drawn) / len(drawn)
        assert share == pytest.approx(float(p[word]), abs=4 * (0.25 / len(drawn)) ** 0.5)


def test_the_batch_size_changes_nothing_and_dropout_is_off(model, corpus):
    with stream("z"):
        z = torch.randn(9, 3)
    model.train()
    whole = decode(model, corpus.vocabulary, z, max_length=12)
    assert decode(model, corpus.vocabulary, z, max_length=12, batch_size=2) == whole
    assert model.training


def test_a_sentence_ends_at_its_end_or_is_cut(model, corpus):
    with stream("z"):
        sentences = decode(model, corpus.vocabulary, torch.randn(50, 3), max_length=5)
    assert all(len(sentence.split()) <= 5 for sentence in sentences)
    assert not any(marker in " ".join(sentences) for marker in ("<s>", "</s>", "<pad>"))
