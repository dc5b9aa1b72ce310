"""Executors: jobs go out to worker processes, results come back as they are done.

Worker processes of this machine by default, a Ray cluster where there is one. What a worker leaves
behind when it dies is the job's own business: it is simply given to another worker.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from aecore.errors import AecoreError, ConfigError

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


class JobFailed(AecoreError):
    """What a job raised in another process, as far as it can travel.

    Attributes:
        kind: the name of the exception's class.
    """

    def __init__(self, what: str, *evidence: str, kind: str) -> None:
        super().__init__(what, *evidence)
        self.kind = kind


@dataclass(frozen=True)
class _Raised:
    """An exception without what cannot be pickled: classes take arguments of their own."""

    kind: str
    what: str
    evidence: tuple[str, ...]

    def error(self) -> JobFailed:
        return JobFailed(self.what, *self.evidence, kind=self.kind)


def called(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """In a worker: what the function returns, or a `_Raised`."""
    try:
        return function(*arguments)
    except AecoreError as error:
        return _Raised(type(error).__name__, error.what, error.evidence)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"at: {'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}"
        return _Raised(type(error).__name__, f"{type(error).__name__}: {error}", (place,))


def outcome_of(job: Job, value: Any, attempts: int) -> Outcome:
    """The outcome of a job that came to an end."""
    if isinstance(value, _Raised):
        return Outcome(job, None, value.error(), attempts)
    return Outcome(job, value, None, attempts)


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
        tick: called every second while jobs run.
    """

    workers: int
    retries: int = RETRIES
    threads: int = 1
    tick: Callable[[], None] = lambda: None
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
                done = wait(running, WATCH, FIRST_COMPLETED).done
                self.tick()
                for future in done:
                    worker, job, attempt = running.pop(future)
                    idle.append(worker)
                    error = future.exception()
                    if isinstance(error, BrokenProcessPool):
                        worker.replace()
                        if attempt <= self.retries:
                            waiting.append((job, attempt + 1))
                            continue
                        error = gone(job, attempt)
                    if error is not None:
                        yield Outcome(job, None, error, attempt)
                    else:
                        yield outcome_of(job, future.result(), attempt)
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
        try:
            return self._begun(job)
        except BrokenProcessPool:  # it died between two jobs, which is nobody's attempt
            self.replace()
            return self._begun(job)

    def _begun(self, job: Job) -> Future[Any]:
        if self._number is None:
            with _without_main():
                self._number = self._pool.submit(os.getpid)
        return self._pool.submit(called, job.function, job.arguments)

    def replace(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._start()

    def stop(self, busy: bool) -> None:
        """Let a job that runs end itself: training writes its checkpoint."""
        if busy and self._number is not None:
            with suppress(ProcessLookupError, BrokenProcessPool):
                os.kill(self._number.result(), signal.SIGTERM)
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _without_main() -> Iterator[None]:
    """A process that starts in the block does not run the script that it is started by.

    Else a script without ``if __name__ == "__main__"`` would begin again in every worker.
    """
    main = vars(sys.modules["__main__"])
    before: dict[str, Any] = {
        name: main.pop(name) for name in ("__spec__", "__file__") if name in main
    }
    main["__spec__"] = None
    try:
        yield
    finally:
        main.pop("__spec__")
        main.update(before)


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


@dataclass
class RayCluster:
    """Workers of a Ray cluster; a local one is started where no address is given.

    Ray is the extra ``ray``.

    Attributes:
        workers: processors of the local cluster, and jobs at a time.
        address: of a running cluster, such as ``auto``; its nodes need aecore, the plugins, and the
            folders that jobs write to.
        retries: how often a job is given out again when its worker dies.
    """

    workers: int
    address: str | None = None
    retries: int = RETRIES

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Each job's outcome, in the order in which they are done.

        Raises:
            ConfigError: without Ray, or where no cluster answers.
        """
        ray = _ray()
        try:
            local = {"num_cpus": self.workers} if self.address is None else {}
            ray.init(
                self.address,
                **local,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"no Ray cluster answers at '{self.address}'",
                f"reason: {str(error).splitlines()[0]}",
                "to start one here: leave the address out",
            ) from error
        try:
            task = ray.remote(num_cpus=1, max_retries=0)(_on_ray)

            def begin(job: Job) -> Any:
                return task.remote(job.function, job.arguments)

            running = {begin(job): (job, 1) for job in jobs}
            while running:
                (ref, *_), _rest = ray.wait(list(running))
                job, attempt = running.pop(ref)
                try:
                    outcome = outcome_of(job, ray.get(ref), attempt)
                except ray.exceptions.RayError:
                    if attempt <= self.retries:
                        running[begin(job)] = (job, attempt + 1)
                        continue
                    outcome = Outcome(job, None, gone(job, attempt), attempt)
                yield outcome
        finally:
            ray.shutdown()


def _on_ray(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """In a Ray worker, which keeps to one thread."""
    import torch

    torch.set_num_threads(1)
    return called(function, arguments)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "Ray is not installed", "try: pip install 'aecore[ray]'", "or leave --ray out"
        ) from error
    return ray
