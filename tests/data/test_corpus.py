"""Splits, batches and whole corpora, on numbers worked by hand."""

import random

import pytest
import torch

from aecore.data import toy
from aecore.data.corpus import Split, load_corpus
from aecore.data.recipe import Recipe
from aecore.data.vocabulary import Vocabulary
from aecore.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.txt").write_text("a b c\na b\n\na\nd d d d d\n")
    (tmp_path / "valid.txt").write_text("c x\n")
    (tmp_path / "test.txt").write_text("b\n<unk> a\n")
    return tmp_path


def test_ids_tokens_and_lengths(folder):
    corpus = load_corpus(str(folder))
    # d 5 times, a 3, b 2, c 1
    assert corpus.train.flat.tolist() == [5, 6, 7, 5, 6, 5, 4, 4, 4, 4, 4]
    assert corpus.train.lengths.tolist() == [4, 3, 2, 6]
    assert [len(split) for split in (corpus.train, corpus.valid, corpus.test)] == [4, 1, 2]
    assert [split.tokens for split in (corpus.train, corpus.valid, corpus.test)] == [15, 3, 5]
    assert corpus.valid.flat.tolist() == [7, 3]
    assert corpus.test.flat.tolist() == [6, 3, 5]
    assert len(corpus.vocabulary) == 8
    assert [line for report in corpus.reports for line in report.lines()] == [
        "train.txt: 1 empty line dropped (line 3)"
    ]


def test_a_batch_is_framed_and_padded_to_its_longest_sentence(folder):
    batch = load_corpus(str(folder)).train.batch(torch.tensor([2, 0]))
    assert batch.tokens.tolist() == [[1, 5, 2, 0, 0], [1, 5, 6, 7, 2]]
    assert batch.lengths.tolist() == [2, 4]
    assert batch.index.tolist() == [2, 0]
    assert batch.targets.tolist() == [[5, 2, 0, 0], [5, 6, 7, 2]]
    assert batch.mask.tolist() == [[True, True, False, False], [True] * 4]
    assert {str(part.dtype) for part in (batch.tokens, batch.lengths, batch.index)} == {
        "torch.int64"
    }


def test_sentences_may_repeat_or_be_empty():
    split = Split.of("file", ["a", "", "a a"], Vocabulary.build(["a"]))
    assert split.batch(torch.tensor([1, 2, 1])).tokens.tolist() == [
        [1, 2, 0, 0],
        [1, 4, 4, 2],
        [1, 2, 0, 0],
    ]
    assert split.batch(torch.tensor([1])).tokens.tolist() == [[1, 2]]


def test_every_batch_decodes_to_its_sentences():
    corpus = load_corpus("toy[:100]")
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    decoded = [corpus.vocabulary.decode(row) for row in corpus.train.batch(order).tokens]
    assert decoded == [toy.sentences()["train"][number].text for number in order.tolist()]


def test_the_head_of_a_split(folder):
    train = load_corpus(str(folder)).train
    assert train.head(2).flat.tolist() == [5, 6, 7, 5, 6]
    assert (len(train.head(2)), train.head(2).tokens, train.head(2).name) == (2, 7, "train")
    assert len(train.head(99)) == 4
    assert train.head(2).batch(torch.tensor([1])).tokens.tolist() == [[1, 5, 6, 2]]


def test_the_vocabulary_is_that_of_the_training_sentences_used(folder):
    corpus = load_corpus(f"{folder}[:50%]")
    assert len(corpus.train) == 2
    assert len(corpus.vocabulary) == 7  # a, b, c
    assert len(load_corpus(f"{folder}[:3]").train) == 3
    assert len(corpus.valid) == 1
    assert len(corpus.test) == 2
    with pytest.raises(DataError, match="asks for 5 training sentences; there are 4"):
        load_corpus(f"{folder}[:5]")


def test_a_given_vocabulary_is_used_as_it_is(folder):
    known = Vocabulary.build(["x c"])
    corpus = load_corpus(str(folder), vocabulary=known)
    assert corpus.vocabulary is known
    assert corpus.valid.flat.tolist() == [4, 5]
    assert set(corpus.train.flat.tolist()) == {3, 4}


def test_max_length_reaches_the_readers_and_the_toy(folder):
    assert load_corpus(str(folder), max_length=4).train.lengths.max() == 4
    short = load_corpus("toy", max_length=8)
    assert short.train.lengths.max() == 9
    assert short.reports[0].lines()[0].startswith("train: ")


def test_the_fingerprint_tells_ids_and_bounds_apart(folder):
    first = load_corpus(str(folder)).fingerprint
    assert first == load_corpus(str(folder)).fingerprint
    assert len(first) == 64
    (folder / "test.txt").write_text("b <unk>\na\n")  # the same ids in a row, cut elsewhere
    second = load_corpus(str(folder)).fingerprint
    (folder / "test.txt").write_text("b\n<unk> b\n")
    assert len({first, second, load_corpus(str(folder)).fingerprint}) == 3


def test_a_split_by_name(folder):
    corpus = load_corpus(str(folder))
    assert corpus.split("valid") is corpus.valid
    with pytest.raises(ConfigError) as caught:
        corpus.split("tset")
    assert (
        str(caught.value)
        == "no split is called 'tset'. Did you mean 'test'?\n  splits: train, valid, test"
    )


def test_loading_leaves_the_random_state_alone():
    toy.sentences.cache_clear()
    before = torch.get_rng_state()
    load_corpus("toy")
    assert torch.equal(before, torch.get_rng_state())


LONG = "".join(random.Random(0).choices("acgt", k=30_000))


@pytest.mark.parametrize(
    ("kind", "kept", "unit"), [("bpe", 12, "byte pairs"), ("char", 11, "characters")]
)
def test_max_length_counts_tokens(tmp_path, kind, kept, unit):
    lines = ["ab ab ab", "a b c d e f", LONG, "a"]
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
    found = load_corpus(str(tmp_path), kept, recipe=Recipe(kind))
    assert [len(split) for split in (found.train, found.valid, found.test)] == [3, 3, 3]
    assert int(found.train.lengths.max()) <= kept + 1
    due = f"over-long (more than {kept} {unit}) line dropped (line 3)"
    assert [report.lines() for report in found.reports] == [
        [f"{name}.txt: 1 {due}"] for name in ("train", "valid", "test")
    ]
    again = load_corpus(str(tmp_path), kept, found.vocabulary)
    assert again.fingerprint == found.fingerprint


def test_a_split_of_nothing_but_too_many_pieces_is_refused(tmp_path):
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text("a b\n" if name == "train" else LONG)
    with pytest.raises(DataError, match=r"valid.txt' holds no sentence[^$]*more than 9 byte pairs"):
        load_corpus(str(tmp_path), 9, recipe=Recipe("bpe"))
