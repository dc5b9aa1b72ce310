"""Executors: jobs go out to worker processes, results come back as they are done.

Worker processes of this machine by default, a Ray cluster where there is one. What a worker leaves
behind when it dies is the job's own business: it is simply given to another worker.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from aecore.errors import ConfigError

#: How often a job is given out again when its worker dies.
RETRIES = 2
#: Seconds between two looks at whether the parent process is still there.
WATCH = 1.0


@dataclass(frozen=True)
class Job:
    """A call, by a name that says what it is.

    Attributes:
        function: of a module, so that another process can import it.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
        value: what the function returned.
        error: what it raised, or that its workers died; None where it returned.
        attempts: how often it was begun.
    """

    job: Job
    value: Any = None
    error: BaseException | None = None
    attempts: int = 1


class WorkerDied(ConfigError):
    """Every worker that was given the job died."""


class Executor(Protocol):
    """Where jobs are done."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Each job's outcome, in the order in which they are done."""
        ...


def gone(job: Job, attempts: int) -> WorkerDied:
    """The error of a job whose workers died."""
    return WorkerDied(
        f"the worker of '{job.name}' died, {attempts} times",
        "likely: it was killed, by the system where memory ran out, or by hand",
        "try: fewer workers",
    )


@dataclass
class Processes:
    """Worker processes on this machine, each with one job at a time.

    Attributes:
        workers: how many.
        retries: how often a job is given out again when its worker dies.
        threads: torch's, in each worker.
    """

    workers: int
    retries: int = RETRIES
    threads: int = 1
    _workers: list[_Worker] = field(default_factory=list)

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Each job's outcome, in the order in which they are done."""
        waiting = deque((job, 1) for job in jobs)
        self._workers = [_Worker(self.threads) for _ in range(min(self.workers, len(jobs)))]
        running: dict[Future[Any], tuple[_Worker, Job, int]] = {}
        idle = list(self._workers)
        try:
            while waiting or running:
                while waiting and idle:
                    worker, (job, attempt) = idle.pop(), waiting.popleft()
                    running[worker.begin(job)] = (worker, job, attempt)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    worker, job, attempt = running.pop(future)
                    idle.append(worker)
                    error = future.exception()
                    if isinstance(error, BrokenProcessPool):
                        worker.replace()
                        if attempt <= self.retries:
                            waiting.append((job, attempt + 1))
                            continue
                        error = gone(job, attempt)
                    yield Outcome(job, None if error else future.result(), error, attempt)
        finally:
            busy = {id(worker) for worker, *_ in running.values()}
            for worker in self._workers:
                worker.stop(id(worker) in busy)


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Worker:
    """A process that does one job after another."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._start()

    def _start(self) -> None:
        self._pool = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), _prepare, (self._threads, os.getpid())
        )
        self._number: Future[int] | None = None

    def begin(self, job: Job) -> Future[Any]:
        if self._number is None:
            self._number = self._pool.submit(os.getpid)
        return self._pool.submit(job.function, *job.arguments)

    def replace(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._start()

    def stop(self, busy: bool) -> None:
        """Let a job that runs end itself: training writes its checkpoint."""
        if busy and self._number is not None:
            with suppress(ProcessLookupError, BrokenProcessPool):
                os.kill(self._number.result(), signal.SIGTERM)
        self._pool.shutdown(wait=True, cancel_futures=True)


def _prepare(threads: int, parent: int) -> None:
    """In a new worker: Ctrl-C is the parent's to hear, and nobody outlives the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10 * WATCH)  # a step and its checkpoint
    os._exit(128 + signal.SIGTERM)
