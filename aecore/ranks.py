"""Ranks: processes, or threads, that share every batch; in one process the identity.

Rule of gradients: a loss is one number, the same on every rank, made by `mean` over the sentences
of the global batch or from what `gather` gives. Each rank back-propagates its 1/R of it, and the
gradients of the parameters are summed over ranks, by `total`. The functions are their own exact
adjoints, so that a loss that is not linear in its means is right as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import torch
from torch import Tensor


class Group(Protocol):
    """The ranks that train together.

    Attributes:
        rank, size: r and R; 0 <= r < R.
    """

    rank: int
    size: int

    def exchange(self, value: Tensor) -> list[Tensor]:
        """What every rank gave at this call, in order; first axes may differ."""
        ...

    def total(self, value: Tensor) -> Tensor:
        """The sum of what every rank gave at this call; all of one shape, the same everywhere."""
        ...


_group: ContextVar[Group | None] = ContextVar("ranks", default=None)


@contextmanager
def together(group: Group) -> Iterator[None]:
    """Inside the block this thread is rank ``group.rank`` of ``group.size``."""
    token = _group.set(group)
    try:
        yield
    finally:
        _group.reset(token)


@contextmanager
def alone() -> Iterator[None]:
    """Inside the block this thread is one process: every rank does the whole of it."""
    token = _group.set(None)
    try:
        yield
    finally:
        _group.reset(token)


def size() -> int:
    """R, the number of ranks."""
    group = _group.get()
    return 1 if group is None else group.size


def rank() -> int:
    """r, the number of this rank, from 0."""
    group = _group.get()
    return 0 if group is None else group.rank


def first() -> bool:
    """Whether this rank is the one that writes files and speaks."""
    return rank() == 0


def key() -> tuple[str | int, ...]:
    """Part of the keys of random streams: each rank draws its own noise; nothing on the first."""
    return () if first() else ("rank", rank())


def rows(sentences: int) -> slice:
    """Which sentences of a global batch are this rank's: neighbours, in equal parts."""
    here, ranks = rank(), size()
    return slice(sentences * here // ranks, sentences * (here + 1) // ranks)


def total(value: Tensor) -> Tensor:
    """The sum over ranks, of any shape, on every rank; differentiable."""
    group = _group.get()
    if group is None:
        return value
    summed: Tensor = _Total.apply(value, group)  # type: ignore[no-untyped-call]
    return summed


def mean(values: Tensor, sentences: int) -> Tensor:
    """(B, ...) -> (...): the mean over the global batch, of which this rank has B sentences.

    Args:
        sentences: how many the global batch has, `Batch.global_size`.
    """
    return values.mean(0) if _group.get() is None else total(values.sum(0)) / sentences


def gather(values: Tensor) -> Tensor:
    """(B, ...) -> (sentences of the global batch, ...), in the order of ranks; differentiable."""
    group = _group.get()
    if group is None:
        return values
    gathered: Tensor = _Gather.apply(values, group)  # type: ignore[no-untyped-call]
    return gathered


def agree(flag: bool) -> bool:
    """Whether any rank says so: a decision that all have to take together."""
    return agreement()(flag)


def agreement() -> Callable[[bool], bool]:
    """`agree` among the ranks of now, for inside of a block that is `alone`."""
    group = _group.get()
    if group is None:
        return bool
    together = group
    return lambda flag: bool(together.total(torch.tensor(int(flag))) > 0)


def said(text: str) -> str:
    """The text of the first rank, on every rank."""
    group = _group.get()
    if group is None:
        return text
    spelt = torch.tensor(list(text.encode()), dtype=torch.uint8)
    return bytes(group.exchange(spelt)[0].tolist()).decode()


class _Total(torch.autograd.Function):
    """y = sum_r x_r; dL/dx_r = sum_s dL_s/dy."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return group.total(value.detach())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Total.apply(gradient, ctx.group), None  # type: ignore[no-untyped-call]


class _Gather(torch.autograd.Function):
    """y = (x_0, ..., x_R-1); dL/dx_r is the part of sum_s dL_s/dy that belongs to x_r."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Group) -> Tensor:
        parts = group.exchange(values.detach())
        ctx.group = group
        start = sum(len(part) for part in parts[: group.rank])
        ctx.rows = slice(start, start + len(values))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        summed = _Total.apply(gradient, ctx.group)  # type: ignore[no-untyped-call]
        return summed[ctx.rows], None
