"""Which sentences go into which batch: plans of sentence numbers, made before an epoch and read by index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

POOL_BATCHES = 64


@dataclass(frozen=True, eq=False)
class Plan:
    """M batches over N sentences, as one permutation and the bounds of its pieces; a cursor is a batch number.

    Attributes:
        order: (N,) int64, every sentence number once.
        bounds: (M+1,) int64; batch i is ``order[bounds[i]:bounds[i + 1]]``.
    """

    order: Tensor
    bounds: Tensor

    def __len__(self) -> int:
        return self.bounds.numel() - 1

    def __getitem__(self, number: int) -> Tensor:
        """(B,): the sentences of one batch."""
        if not 0 <= number < len(self):
            raise IndexError(f"batch {number} of a plan of {len(self)}")
        return self.order[self.bounds[number] : self.bounds[number + 1]]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[number] for number in range(len(self)))


def epoch_plan(lengths: Tensor, batch_size: int, mode: Literal["bucketed", "mixed"]) -> Plan:
    """One epoch in random order, every sentence once, at most one batch not full; drawn from torch's global generator.

    ``bucketed`` puts sentences of like length together, so that little is padding: within pools of 64 batches, which keeps
    the composition of a batch random from epoch to epoch. ``mixed`` leaves lengths to chance, for methods that compare the
    sentences of a batch with one another.

    Args:
        lengths: (N,), the length of each sentence of the split.
        batch_size: sentences in a batch.
        mode: ``bucketed`` or ``mixed``.
    """
    order, bounds = torch.randperm(len(lengths)), _bounds(len(lengths), batch_size)
    if mode == "mixed":
        return Plan(order, bounds)
    return _shuffled(Plan(_sorted_in_pools(order, lengths, POOL_BATCHES * batch_size), bounds))


def evaluation_plan(lengths: Tensor, batch_size: int) -> Plan:
    """Every sentence once, the shortest first, ties by number: the same plan at every call."""
    return Plan(lengths.argsort(stable=True), _bounds(len(lengths), batch_size))


def _bounds(n: int, batch_size: int) -> Tensor:
    return torch.tensor([*range(0, n, batch_size), n])


def _sorted_in_pools(order: Tensor, lengths: Tensor, pool: int) -> Tensor:
    """``order`` cut into pools, each sorted by length; equal lengths stay in the random order they came in."""
    by_length = lengths[order].argsort(stable=True)
    pools = (torch.arange(len(order)) // pool)[by_length]
    return order[by_length[pools.argsort(stable=True)]]


def _shuffled(plan: Plan) -> Plan:
    """The same batches in random order."""
    turns = torch.randperm(len(plan))
    sizes = plan.bounds.diff()[turns]
    order = torch.cat([plan.order[:0], *(plan[turn] for turn in turns.tolist())])
    return Plan(order, torch.cat([plan.bounds[:1], sizes.cumsum(0)]))
