"""What runs there are, read from their files alone: no weights, no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aecore.errors import AecoreError, RunError
from aecore.runs.config import RunConfig
from aecore.runs.files import lock
from aecore.runs.folder import RunFolder

#: The figures of a listing, as summary.json names them.
FIGURES = ("nll_elbo", "ppl_elbo", "rec", "kl", "penalty", "mi", "au")
#: How deep below a folder runs are looked for.
DEPTH = 3


@dataclass(frozen=True)
class Shelved:
    """A run as its files tell it.

    Attributes:
        state: finished; running, by another process; stopped, which resume goes on with; damaged.
        step: the joint steps that are done, as far as lines of metrics.jsonl say.
        figures: of summary.json; of the last validation where there is none, on ``split``.
        problem: what is wrong with a damaged one.
    """

    path: Path
    config: RunConfig | None
    state: str
    step: int = 0
    split: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def plugins(self) -> str:
        """``ae_pretrain+free_bits``."""
        return "-" if self.config is None else "+".join(self.config.plugins) or "vae"

    def as_data(self) -> dict[str, Any]:
        """For ``--json``."""
        config = self.config
        head = {
            "run": str(self.path),
            "plugins": None if config is None else list(config.plugins),
            "data": None if config is None else config.data.spec,
            "seed": None if config is None else config.train.seed,
            "state": self.state,
            "step": self.step,
            "split": self.split or None,
        }
        figures = {name: self.figures.get(name) for name in FIGURES}
        return {**head, **figures, "problem": self.problem or None}


def shelved(path: Path) -> Shelved:
    """The run in a folder.

    Raises:
        RunError: when the folder is no run; what is damaged in one is told in its place.
    """
    folder = RunFolder.open(path)
    try:
        config = folder.read_config()
        rows = _rows(folder.metrics)
        summary = _summary(folder.summary)
    except AecoreError as error:
        return Shelved(path, None, "damaged", problem=error.what)
    joint = [row for row in rows if row.get("stage") == "joint"]
    step = max((int(row.get("step", 0)) for row in joint), default=0)
    if summary:
        return Shelved(path, config, "finished", step, str(summary.get("split", "")), summary)
    valid = [row for row in joint if row.get("split") == "valid"]
    last = dict(valid[-1]) if valid else {}
    state = "running" if _held(path) else "stopped"
    return Shelved(path, config, state, step, "valid" if last else "", last)


def runs_in(places: Iterable[str | Path]) -> list[Shelved]:
    """Every run in these folders and three levels below, by path.

    Raises:
        RunError: for a place that is no folder.
    """
    found = {}
    for place in places:
        path = Path(place)
        if not path.is_dir():
            raise RunError(f"there is no folder '{path}'", "to make a run: aecore train")
        for folder in _folders(path, DEPTH):
            found[folder.absolute()] = shelved(folder)
    return [found[path] for path in sorted(found)]


def _folders(path: Path, depth: int) -> Iterator[Path]:
    if (path / "config.toml").is_file():
        yield path
        return
    if depth > 0:
        for inner in sorted(path.iterdir()):
            if inner.is_dir() and not inner.is_symlink() and not inner.name.startswith("."):
                yield from _folders(inner, depth - 1)


def _held(path: Path) -> bool:
    """Whether another process writes to the run."""
    try:
        with lock(path):
            return False
    except RunError:
        return True


def _rows(path: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; the last one may be half written."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def _summary(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"'{path}' is damaged", f"reason: {error}") from error
    if not isinstance(found, dict):
        raise RunError(f"'{path}' is damaged", "it holds no table")
    return found


def number(value: Any, places: int = 2) -> str:
    """A figure as a cell; a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.{places}f}"
