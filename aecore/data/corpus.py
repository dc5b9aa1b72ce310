"""A corpus in memory: three splits as flat ids and offsets, and the vocabulary that made them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from os.path import expanduser
from pathlib import Path

import torch
from torch import Tensor

from aecore.batch import END, PAD, START, Batch
from aecore.data import toy
from aecore.data.readers import SPLITS, TOY, Report, Text, read_folder, sift
from aecore.data.spec import DataSpec
from aecore.data.vocabulary import Vocabulary
from aecore.errors import ConfigError, closest


@dataclass(frozen=True, eq=False)
class Split:
    """The N sentences of one split.

    Attributes:
        flat: (words,) int32, the ids of all sentences, one after the other, without ``<s>`` and ``</s>``.
        offsets: (N+1,) int64; sentence i is ``flat[offsets[i]:offsets[i + 1]]``.
    """

    name: str
    flat: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, name: str, sentences: Iterable[str], vocabulary: Vocabulary) -> Split:
        """Any sentences as a split: a file to encode, a line to reconstruct."""
        return cls(name, *vocabulary.encode(sentences))

    def __len__(self) -> int:
        return self.offsets.numel() - 1

    @cached_property
    def lengths(self) -> Tensor:
        """(N,) int64: the target tokens of each sentence, its words and ``</s>``."""
        return self.offsets.diff() + 1

    @property
    def tokens(self) -> int:
        """The target tokens of the split: what a perplexity divides by."""
        return int(self.offsets[-1] - self.offsets[0]) + len(self)

    def batch(self, indices: Tensor) -> Batch:
        """The sentences ``indices`` (B,), in that order, as one padded batch."""
        starts, lengths = self.offsets[indices], self.lengths[indices]
        steps = torch.arange(int(lengths.max()) + 1)  # (T+1,): <s>, words, </s>
        tokens = torch.full((len(indices), len(steps)), PAD)
        tokens[:, 0] = START
        tokens[torch.arange(len(indices)), lengths] = END
        inside = (steps >= 1) & (steps < lengths.unsqueeze(1))  # (B, T+1): where a word stands
        tokens[inside] = self.flat[(starts.unsqueeze(1) + steps - 1)[inside]].long()
        return Batch(tokens, lengths, indices.long())

    def head(self, n: int) -> Split:
        """The first ``n`` sentences, or all where there are fewer; nothing is copied."""
        offsets = self.offsets[: n + 1]
        return Split(self.name, self.flat[: int(offsets[-1])], offsets)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Three splits under one vocabulary; ``reports`` tells which lines of the files were dropped."""

    train: Split
    valid: Split
    test: Split
    vocabulary: Vocabulary
    reports: tuple[Report, ...] = ()

    def split(self, name: str) -> Split:
        """The split called ``name``."""
        for split in (self.train, self.valid, self.test):
            if split.name == name:
                return split
        raise ConfigError(f"no split is called '{name}'.{closest(name, SPLITS)}", f"splits: {', '.join(SPLITS)}")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the sentence bounds and ids of all splits: equal where a run would see the same numbers."""
        digest = sha256()
        for split in (self.train, self.valid, self.test):
            digest.update(split.offsets.numpy().tobytes())
            digest.update(split.flat.numpy().tobytes())
        return digest.hexdigest()


def load_corpus(spec: str, max_length: int = 200, vocabulary: Vocabulary | None = None) -> Corpus:
    """Read, cut and encode the corpus that ``spec`` names.

    The vocabulary is built from the training sentences that are used (with ``[:20%]``, from that head alone), unless one is
    given (a saved run's), which is used as it is. Sentences of more than ``max_length`` words are dropped and reported.
    """
    wanted = DataSpec.parse(spec)
    texts = _read_toy(max_length) if wanted.source == TOY else read_folder(Path(expanduser(wanted.source)), max_length)
    sentences = {name: text.sentences for name, text in texts.items()}
    sentences["train"] = sentences["train"][: wanted.size(len(sentences["train"]))]
    known = Vocabulary.build(sentences["train"]) if vocabulary is None else vocabulary
    train, valid, test = (Split.of(name, sentences[name], known) for name in SPLITS)
    return Corpus(train, valid, test, known, tuple(text.report for text in texts.values()))


def _read_toy(max_length: int) -> dict[str, Text]:
    """The toy goes through the same sieve as files do, so that ``max_length`` means the same."""
    return {
        name: sift(Path(TOY, name), (sentence.text.encode() for sentence in made), max_length)
        for name, made in toy.sentences().items()
    }
