"""Doing a sweep: what is finished is left, what was begun goes on, what failed is told."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aecore import api
from aecore.catalogue import Catalogue
from aecore.comparing.listing import Shelved, runs_in, shelved
from aecore.data.spec import DataSpec
from aecore.errors import AecoreError, RunError, Stopped
from aecore.executor import Executor, Job, Outcome
from aecore.runs.config import RunConfig
from aecore.runs.folder import RunFolder, make_folder
from aecore.sweep.plan import Point, check, points, read_sweep
from aecore.training.record import lasting

#: Settings that a run writes down as it resolves them.
RESOLVED = {"train.precision", "train.threads", "train.device"}


@dataclass(frozen=True)
class Result:
    """A point and what became of it.

    Attributes:
        state: finished, or failed.
        run: what its folder holds; None where there is nothing.
        problem: why it failed.
        attempts: how often it was begun in this call; 0 where it was finished before.
    """

    point: Point
    state: str
    run: Shelved | None
    problem: str = ""
    attempts: int = 0


def sweep(
    file: str | Path,
    executor: Executor,
    out: str | Path | None = None,
    tell: Callable[[Result, int, int], None] = lambda result, done, total: None,
) -> list[Result]:
    """``aecore sweep --json``: train every point of a file; the results in its order.

    Args:
        out: the folder of the runs; ``runs/<name of the file>`` unless given.
        tell: called with each result as it comes, how many there are, and of how many.

    Raises:
        ConfigError: when the file or a point is not valid; nothing is trained then.
        Stopped: after Ctrl-C.
        RunError: when a folder holds a run of other settings.
    """
    path = Path(file)
    found = points(read_sweep(path))
    check(found, Catalogue.discover())
    place = Path(out) if out is not None else Path("runs") / path.stem
    for point in found:
        _check_own(place / point.name, point)
    make_folder(place)
    results = {point.name: _result(point, place, 0) for point in found}
    due = [point for point in found if results[point.name].state != "finished"]
    done = len(found) - len(due)
    jobs = [Job(point.name, train_point, (point, str(place / point.name))) for point in due]
    by_name = {point.name: point for point in due}
    try:
        for outcome in executor.run(jobs):
            result = _of(outcome, by_name[outcome.job.name], place)
            results[result.point.name] = result
            done += 1
            tell(result, done, len(found))
    except KeyboardInterrupt:
        raise Stopped(
            f"stopped after {done} of {len(found)} runs; those under way wrote their checkpoints",
            f"to go on: aecore sweep {path}" + ("" if out is None else f" --out {out}"),
            signal_number=signal.SIGINT,
        ) from None
    return [results[point.name] for point in found]


def under_way(place: Path) -> str:
    """``annealing-s0 step 400, annealing-s1 step 350``: the runs that others write to now."""
    if not place.is_dir():
        return "starting"
    running = [run for run in runs_in([place]) if run.state == "running"]
    return ", ".join(f"{run.path.name} step {run.step}" for run in running) or "starting"


def train_point(point: Point, path: str) -> None:
    """In a worker: begin the run, or go on with it."""
    folder = RunFolder(Path(path))
    if folder.config.is_file():
        api.resume(path)
    else:
        settings = dict(point.settings)
        api.train(list(point.plugins), point.data, settings, seed=point.seed, out=path)


def _check_own(path: Path, point: Point) -> None:
    """Refuse a folder with a run that the point would not have made."""
    if not (path / "config.toml").is_file():
        RunFolder(path).check_free(overwrite=False)
        return
    theirs, ours = RunFolder.open(path).read_config(), point.config()
    differ = [
        f"{key}: {one} there, {other} in the sweep"
        for key, one, other in _differences(theirs, ours)
    ]
    if differ:
        raise RunError(
            f"'{path}' holds a run of other settings than the sweep's",
            *differ[:5],
            "to keep both: --out ANOTHER; to train it anew: remove the folder",
        )


def _differences(theirs: RunConfig, ours: RunConfig) -> list[tuple[str, Any, Any]]:
    """Settings that the point names, or that every run has, and that differ."""
    one, other = lasting(theirs), lasting(ours)
    one["data.spec"], other["data.spec"] = (
        str(DataSpec.parse(config.data.spec).absolute) for config in (theirs, ours)
    )
    if ours.train.max_steps or theirs.train.max_steps:
        one["train.max_steps"], other["train.max_steps"] = (
            theirs.train.max_steps,
            ours.train.max_steps,
        )
    one["train.epochs"], other["train.epochs"] = theirs.train.epochs, ours.train.epochs
    # defaults of plugins are written out by the run, and a base's sizes taken over
    over = theirs.base is not None
    return [
        (key, one.get(key, "unset"), value)
        for key, value in other.items()
        if key not in RESOLVED
        and not (over and key.partition(".")[0] in {"model", "data"})
        and one.get(key, "unset") != value
    ]


def _of(outcome: Outcome, point: Point, place: Path) -> Result:
    error = outcome.error
    if error is None:
        return _result(point, place, outcome.attempts)
    text = str(error) if isinstance(error, AecoreError) else f"{type(error).__name__}: {error}"
    return Result(point, "failed", _shelved(place / point.name), text, outcome.attempts)


def _result(point: Point, place: Path, attempts: int) -> Result:
    run = _shelved(place / point.name)
    finished = run is not None and run.state == "finished"
    return Result(point, "finished" if finished else "to do", run, "", attempts)


def _shelved(path: Path) -> Shelved | None:
    return shelved(path) if (path / "config.toml").is_file() else None


def groups(results: Sequence[Result]) -> dict[tuple[str, ...], list[Result]]:
    """Results that differ in their seed alone, by what tells the groups apart."""
    found: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        varied = result.point.varied
        key = tuple(f"{name}={varied[name]}" for name in varied if name not in {"plugins", "seed"})
        found.setdefault((varied["plugins"], *key), []).append(result)
    return found
