"""A batch of sentences: B rows of word ids, padded to the longest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PAD, START, END, UNKNOWN = 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class Batch:
    """B sentences ``<s> w1 ... wk </s>``, of T = k + 1 targets each: ``<s>`` is never predicted.

    Attributes:
        tokens: (B, T+1) int64, rows padded with ``PAD`` on the right.
        lengths: (B,) int64, the targets of each row: its words and ``</s>``.
        index: (B,) int64, the number of each sentence in its split.
        labels: (B,) int64, the number of each sentence's label in ``Corpus.labels``; None where the
            corpus has none.
        target: what each sentence is to become, row by row, with a T of its own; None where the
            corpus is no pairs.
        whole: the sentences of the global batch that these are a rank's part of; None where they
            are all of it.
    """

    tokens: Tensor
    lengths: Tensor
    index: Tensor
    labels: Tensor | None = None
    target: Batch | None = None
    whole: int | None = None

    def __len__(self) -> int:
        return int(self.tokens.shape[0])

    @property
    def global_size(self) -> int:
        """The sentences that all ranks together have in this batch."""
        return len(self) if self.whole is None else self.whole

    @property
    def inputs(self) -> Tensor:
        """(B, T): what the decoder reads."""
        return self.tokens[:, :-1]

    @property
    def targets(self) -> Tensor:
        """(B, T): what the decoder predicts."""
        return self.tokens[:, 1:]

    @property
    def mask(self) -> Tensor:
        """(B, T) bool: true where a target is a word or ``</s>``."""
        steps = torch.arange(self.tokens.shape[1] - 1, device=self.tokens.device)
        return steps < self.lengths.unsqueeze(1)

    def rows(self, selection: slice | Tensor) -> Batch:
        """The sentences of ``selection``, as a batch padded to the longest of them."""
        lengths = self.lengths[selection]
        width = int(lengths.max()) + 1
        return Batch(
            self.tokens[selection, :width],
            lengths,
            self.index[selection],
            None if self.labels is None else self.labels[selection],
            None if self.target is None else self.target.rows(selection),
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            self.tokens.to(device),
            self.lengths.to(device),
            self.index.to(device),
            None if self.labels is None else self.labels.to(device),
            None if self.target is None else self.target.to(device),
            self.whole,
        )
