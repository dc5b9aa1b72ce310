"""A corpus as the trainer sees it: three splits of flat ids and offsets, perhaps mapped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

import torch
from torch import Tensor

from aecore import ranks
from aecore.batch import END, PAD, START, UNKNOWN, Batch
from aecore.data.readers import Report
from aecore.data.recipe import SPLITS
from aecore.data.rows import Kind
from aecore.data.vocabulary import Vocabulary
from aecore.errors import ConfigError, closest


class Original(NamedTuple):
    """A sentence as it was written and what it may become: what metrics on text compare with."""

    text: str
    references: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Originals:
    """The N rows of a split as text, read one by one.

    Attributes:
        flat: (bytes,) uint8, a JSON list of texts after the other.
        offsets: (N+1,) int64.
    """

    flat: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        return self.offsets.numel() - 1

    def __getitem__(self, number: int) -> Original:
        if not 0 <= number < len(self):
            raise IndexError(f"sentence {number} of a split of {len(self)}")
        start, end = self.offsets[number : number + 2].tolist()
        text, *references = json.loads(self.flat[start:end].numpy().tobytes())
        return Original(text, tuple(references))

    def head(self, n: int) -> Originals:
        """The first ``n`` rows."""
        return Originals(self.flat, self.offsets[: n + 1])


@dataclass(frozen=True, eq=False)
class Split:
    """The N sentences of one split; a large one is mapped from the cache, so use pieces of it.

    Attributes:
        flat: (words,) int32, the ids of all sentences, one after the other, without ``<s>`` and
            ``</s>``.
        offsets: (N+1,) int64; sentence i is ``flat[offsets[i]:offsets[i + 1]]``.
        labels: (N,) int32, numbers in ``Corpus.labels``; None where the corpus has none.
        target: what the sentences are to become, sentence by sentence, where the corpus is pairs:
            the first reference.
        originals: the texts and all references, where valid and test are JSON lines; for metrics on
            text.
    """

    name: str
    flat: Tensor
    offsets: Tensor
    labels: Tensor | None = None
    target: Split | None = None
    originals: Originals | None = None

    @classmethod
    def of(cls, name: str, sentences: Iterable[str], vocabulary: Vocabulary) -> Split:
        """Any sentences as a split: a file to encode, a line to reconstruct."""
        return cls(name, *vocabulary.encode(sentences))

    def __len__(self) -> int:
        return self.offsets.numel() - 1

    @property
    def lengths(self) -> Tensor:
        """(N,) int64: the target tokens of each sentence, words and ``</s>``; made at each call."""
        return self.lengths_of(slice(None))

    def lengths_of(self, numbers: slice) -> Tensor:
        """``lengths[numbers]``, without making the others; ``numbers`` has no step."""
        start, end, _ = numbers.indices(len(self))
        return self.offsets[start : max(start, end) + 1].diff() + 1

    @property
    def unknown(self) -> int:
        """How many words are ``<unk>``, in pieces, so that a mapped split stays mapped."""
        return sum(int((piece == UNKNOWN).sum()) for piece in torch.split(self.flat, 1 << 20))

    @property
    def tokens(self) -> int:
        """The target tokens of the split: what a perplexity divides by."""
        return int(self.offsets[-1] - self.offsets[0]) + len(self)

    def share(self, indices: Tensor) -> Batch:
        """This rank's part of the global batch ``indices``; all of it in one process."""
        whole, size = len(indices), ranks.size()
        if whole < size:  # each takes all of it, which leaves every mean as it is
            return _part(self.batch(indices), whole * size)
        part = self.batch(indices[ranks.rows(whole)])
        return part if size == 1 else _part(part, whole)

    def batch(self, indices: Tensor) -> Batch:
        """The sentences ``indices`` (B,), in that order, as one padded batch."""
        starts = self.offsets[indices]
        lengths = self.offsets[indices + 1] - starts + 1
        steps = torch.arange(int(lengths.max()) + 1)  # (T+1,): <s>, words, </s>
        tokens = torch.full((len(indices), len(steps)), PAD)
        tokens[:, 0] = START
        tokens[torch.arange(len(indices)), lengths] = END
        inside = (steps >= 1) & (steps < lengths.unsqueeze(1))  # (B, T+1): where a word stands
        tokens[inside] = self.flat[(starts.unsqueeze(1) + steps - 1)[inside]].long()
        labels = None if self.labels is None else self.labels[indices].long()
        return Batch(
            tokens,
            lengths,
            indices.long(),
            labels,
            None if self.target is None else self.target.batch(indices),
        )

    def head(self, n: int) -> Split:
        """The first ``n`` sentences, or all where there are fewer; nothing is copied."""
        offsets = self.offsets[: n + 1]
        return Split(
            self.name,
            self.flat[: int(offsets[-1])],
            offsets,
            None if self.labels is None else self.labels[:n],
            None if self.target is None else self.target.head(n),
            None if self.originals is None else self.originals.head(n),
        )


def _part(batch: Batch, whole: int) -> Batch:
    """A batch as a rank's part of ``whole`` sentences, and so what they are to become."""
    target = None if batch.target is None else _part(batch.target, whole)
    return replace(batch, target=target, whole=whole)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Three splits under one vocabulary.

    Attributes:
        reports: which lines of the files were dropped.
        kind: ``text``, ``labelled`` or ``pairs``.
        labels: the names of the labels; ``Batch.labels`` holds numbers in this row.
        stored: the fingerprint as the cache keeps it, or empty where it is still to be computed.
    """

    train: Split
    valid: Split
    test: Split
    vocabulary: Vocabulary
    reports: tuple[Report, ...] = ()
    kind: Kind = "text"
    labels: tuple[str, ...] = ()
    stored: str = ""

    def split(self, name: str) -> Split:
        """The split called ``name``."""
        for split in (self.train, self.valid, self.test):
            if split.name == name:
                return split
        raise ConfigError(
            f"no split is called '{name}'.{closest(name, SPLITS)}", f"splits: {', '.join(SPLITS)}"
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all that a run reads of the splits: equal where the numbers are.

        These are the sentence bounds and ids; then labels with their names, and the bounds and ids
        of targets, if any.
        """
        return self.stored or self._digest()

    def _digest(self) -> str:
        digest = sha256()
        for split in (self.train, self.valid, self.test):
            target = [] if split.target is None else [split.target.offsets, split.target.flat]
            labels = [] if split.labels is None else [split.labels]
            for tensor in (split.offsets, split.flat, *labels, *target):
                digest.update(tensor.numpy().data)
        if self.labels:
            digest.update(json.dumps(self.labels).encode())
        return digest.hexdigest()
