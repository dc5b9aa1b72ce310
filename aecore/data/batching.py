"""Batching: plans of sentence numbers, made before an epoch and read by index.

Up to `LARGE` sentences a plan is one permutation. Beyond, it would be most of what a process holds,
so it is made of blocks of consecutive sentences in random order, and only the window of blocks that
the current batch is in is ever laid out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from aecore.streams import stream

Mode = Literal["bucketed", "mixed"]
POOL_BATCHES = 64
#: Sentences up to which an epoch is one permutation: 8 bytes each.
LARGE = 262_144
#: Sentences in a block (rounded up to whole batches) and blocks in a window of a larger epoch.
BLOCK = 2048
WINDOW = 128


class Sentences(Protocol):
    """A split, or whatever else knows the lengths of N sentences without having made them all."""

    def __len__(self) -> int: ...

    def lengths_of(self, numbers: slice) -> Tensor:
        """(n,) int64: the lengths of some consecutive sentences."""


class Plan(ABC):
    """M batches over N sentences, every sentence in one of them; a cursor is a batch number."""

    @abstractmethod
    def __len__(self) -> int:
        """M."""

    @abstractmethod
    def _batch(self, number: int) -> Tensor:
        """(B,): the sentences of batch ``number``, which is in range; the same at every call."""

    def __getitem__(self, number: int) -> Tensor:
        """(B,): the sentences of one batch."""
        if not 0 <= number < len(self):
            raise IndexError(f"batch {number} of a plan of {len(self)}")
        return self._batch(number)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[number] for number in range(len(self)))


@dataclass(frozen=True, eq=False)
class WholePlan(Plan):
    """A plan as one permutation and the bounds of its pieces.

    Attributes:
        order: (N,) int64, every sentence number once.
        bounds: (M+1,) int64; batch i is ``order[bounds[i]:bounds[i + 1]]``.
    """

    order: Tensor
    bounds: Tensor

    def __len__(self) -> int:
        return self.bounds.numel() - 1

    def _batch(self, number: int) -> Tensor:
        return self.order[self.bounds[number] : self.bounds[number + 1]]


@dataclass(eq=False)
class BlockPlan(Plan):
    """A plan that lays out a window of blocks at a time, so that it takes 2 MiB.

    And 8 bytes for every 2,048 sentences.

    A window is shuffled, bucketed and cut as a small epoch is. Its draws are keyed by ``seed`` and
    its number, so batch i is the same whatever was read before it, also in another process.

    Attributes:
        sentences: whose lengths are asked for.
        block: sentences in a block, whole batches; the last block of the corpus may have fewer.
        blocks: the numbers of the blocks in the order of the epoch.
        firsts: (W+1,) int64, the number of the first batch of each window, and M.
        mode: None keeps the order of the blocks and sorts a window by length, drawing nothing.
    """

    sentences: Sentences
    batch_size: int
    mode: Mode | None
    seed: int
    block: int
    blocks: Tensor
    firsts: Tensor
    _current: tuple[int, WholePlan] | None = field(default=None, repr=False)

    @classmethod
    def drawn(cls, sentences: Sentences, batch_size: int, mode: Mode | None) -> BlockPlan:
        """Draw seed and order of blocks from torch's global generator; nothing without a mode."""
        block = -(-BLOCK // batch_size) * batch_size
        count = -(-len(sentences) // block)
        seed = 0 if mode is None else int(torch.randint(2**62, ()))
        blocks = torch.arange(count) if mode is None else torch.randperm(count)
        sizes = torch.where(blocks == count - 1, len(sentences) - (count - 1) * block, block)
        batches = [
            -(-int(sizes[first : first + WINDOW].sum()) // batch_size)
            for first in range(0, count, WINDOW)
        ]
        firsts = torch.tensor([0, *batches]).cumsum(0)
        return cls(sentences, batch_size, mode, seed, block, blocks, firsts)

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def _batch(self, number: int) -> Tensor:
        window = int(torch.searchsorted(self.firsts, number, right=True)) - 1
        if self._current is None or self._current[0] != window:
            self._current = (window, self._lay_out(window))
        return self._current[1][number - int(self.firsts[window])]

    def _lay_out(self, window: int) -> WholePlan:
        ends = [
            (number * self.block, min((number + 1) * self.block, len(self.sentences)))
            for number in self.blocks[window * WINDOW : (window + 1) * WINDOW].tolist()
        ]
        numbers = torch.cat([torch.arange(start, end) for start, end in ends])
        lengths = torch.cat([self.sentences.lengths_of(slice(start, end)) for start, end in ends])
        if self.mode is None:
            plan = _by_length(lengths, self.batch_size)
        else:
            with stream("plan", self.seed, window):
                plan = _whole(lengths, self.batch_size, self.mode)
        return WholePlan(numbers[plan.order], plan.bounds)


def epoch_plan(sentences: Tensor | Sentences, batch_size: int, mode: Mode) -> Plan:
    """One epoch in random order, each sentence once; drawn from torch's global generator.

    At most one batch is not full.

    ``bucketed`` puts sentences of like length together, so that little is padding: within pools of
    64 batches, which keeps the composition of a batch random from epoch to epoch. ``mixed`` leaves
    lengths to chance, for methods that compare the sentences of a batch with one another. Of more
    than `LARGE` sentences, blocks of 2,048 neighbours come in random order, and the sentences of
    128 such blocks at a time are shuffled.

    Args:
        sentences: a split, or (N,) the length of each of its sentences.
        batch_size: sentences in a batch.
        mode: ``bucketed`` or ``mixed``.
    """
    if len(sentences) > LARGE:
        return BlockPlan.drawn(_asked(sentences), batch_size, mode)
    return _whole(_asked(sentences).lengths_of(slice(None)), batch_size, mode)


def evaluation_plan(sentences: Tensor | Sentences, batch_size: int) -> Plan:
    """Every sentence once, the shortest first, ties by number: the same plan at every call.

    Of more than `LARGE` sentences, the shortest first among each 262,144 neighbours.
    """
    if len(sentences) > LARGE:
        return BlockPlan.drawn(_asked(sentences), batch_size, None)
    return _by_length(_asked(sentences).lengths_of(slice(None)), batch_size)


def some_sentences(n: int, count: int) -> Tensor:
    """(min(count, n),): distinct sentence numbers below ``n``, from torch's global generator."""
    if n <= LARGE:
        return torch.randperm(n)[:count]
    found: dict[int, None] = {}
    while len(found) < min(count, n):
        found |= dict.fromkeys(torch.randint(n, (min(count, n) - len(found),)).tolist())
    return torch.tensor(list(found))


@dataclass(frozen=True)
class _Known:
    """Lengths that are all there."""

    lengths: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    def lengths_of(self, numbers: slice) -> Tensor:
        return self.lengths[numbers]


def _asked(sentences: Tensor | Sentences) -> Sentences:
    return _Known(sentences) if isinstance(sentences, Tensor) else sentences


def _whole(lengths: Tensor, batch_size: int, mode: Mode) -> WholePlan:
    order, bounds = torch.randperm(len(lengths)), _bounds(len(lengths), batch_size)
    if mode == "mixed":
        return WholePlan(order, bounds)
    return _shuffled(WholePlan(_sorted_in_pools(order, lengths, POOL_BATCHES * batch_size), bounds))


def _by_length(lengths: Tensor, batch_size: int) -> WholePlan:
    return WholePlan(lengths.argsort(stable=True), _bounds(len(lengths), batch_size))


def _bounds(n: int, batch_size: int) -> Tensor:
    return torch.tensor([*range(0, n, batch_size), n])


def _sorted_in_pools(order: Tensor, lengths: Tensor, pool: int) -> Tensor:
    """``order`` in pools, each sorted by length; equal lengths stay in random order."""
    by_length = lengths[order].argsort(stable=True)
    pools = (torch.arange(len(order)) // pool)[by_length]
    return order[by_length[pools.argsort(stable=True)]]


def _shuffled(plan: WholePlan) -> WholePlan:
    """The same batches in random order."""
    turns = torch.randperm(len(plan))
    sizes = plan.bounds.diff()[turns]
    order = torch.cat([plan.order[:0], *(plan[turn] for turn in turns.tolist())])
    return WholePlan(order, torch.cat([plan.bounds[:1], sizes.cumsum(0)]))
