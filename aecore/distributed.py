"""The processes that torchrun started, as ranks: torch.distributed under `aecore.ranks`.

gloo between processors, NCCL between GPUs. Whoever finds that another process is gone stops too,
with the last checkpoint kept; one of them says why.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from aecore import ranks
from aecore.errors import RunError

#: How long a process waits for another: that of the first rank may tokenise a large corpus.
PATIENCE = timedelta(hours=2)


class ProcessGone(RunError):
    """Another process of the run has ended."""


class ProcessGroup:
    """A `ranks.Group` of processes; tensors may lie on processors or GPUs."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def exchange(self, value: Tensor) -> list[Tensor]:
        """What every process gave; shards of unequal length travel padded."""
        value = value.contiguous()
        if value.dim() == 0:
            return self._gathered(value)
        lengths = self._gathered(torch.tensor(len(value), device=value.device))
        sizes = [int(length) for length in lengths]
        short = max(sizes) - len(value)
        padded = F.pad(value, (0, 0) * (value.dim() - 1) + (0, short)) if short else value
        return [found[:n] for found, n in zip(self._gathered(padded), sizes, strict=True)]

    def _gathered(self, value: Tensor) -> list[Tensor]:
        found = [torch.empty_like(value) for _ in range(self.size)]
        with _together():
            dist.all_gather(found, value)
        return found

    def total(self, value: Tensor) -> Tensor:
        """The sum over processes, the same bits on all of them."""
        summed = value.detach().clone()
        with _together():
            dist.all_reduce(summed)
        return summed


@contextmanager
def _together() -> Iterator[None]:
    """What a lost connection is told as."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()
        raise ProcessGone(
            "another process of this run has ended, so this one stops",
            f"reason: {reason[0] if reason else type(error).__name__}"[:200],
            "the last checkpoint is whole: aecore resume RUN goes on, on any number of processes",
        ) from error


def place() -> tuple[int, int]:
    """(rank, number of processes) by torchrun's environment; (0, 1) without it.

    Raises:
        RunError: for an environment that says something else than numbers.
    """
    try:
        found = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    except ValueError:
        raise RunError(
            f"RANK and WORLD_SIZE are '{os.environ.get('RANK')}' and "
            f"'{os.environ.get('WORLD_SIZE')}' in the environment, and no numbers",
            "due: what torchrun sets, or neither",
        ) from None
    return found if "RANK" in os.environ and found[1] > 1 else (0, 1)


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Inside of torchrun, this process is one of its ranks in the block; alone, nothing happens."""
    if place()[1] == 1 or ranks.size() > 1:
        yield
        return
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.set_device(device)
    with _together():
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        with ranks.together(ProcessGroup()):
            yield
    finally:
        with suppress(RuntimeError):
            dist.destroy_process_group()


def tells(error: BaseException) -> bool:
    """Whether this process is the one that says what went wrong: the first of them that asks.

    Whoever only lost another waits a moment, so that the cause is told and not its consequence.
    """
    if place()[1] == 1:
        return True
    if isinstance(error, ProcessGone):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's; this process ends anyway
        time.sleep(1.0)
    key = f"aecore/told/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    try:
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(  # type: ignore[attr-defined]
            host, port, is_master=False, timeout=timedelta(seconds=5)
        )
        return bool(store.add(key, 1) == 1)
    except (KeyError, ValueError, RuntimeError):
        return True  # nobody can be asked: better twice than never


def local_gpu() -> int:
    """The number of the GPU of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", 0)) if place()[1] > 1 else 0
