"""The run folder: which files it has, when it may be made, and what counts as one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aecore.data.recipe import SPLITS
from aecore.errors import ConfigError, RunError
from aecore.runs.config import RunConfig, build_config
from aecore.runs.files import TEMPORARY, lock, write_atomic


class RunFolder:
    """The paths of a run, and nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.metrics = path / "metrics.jsonl"
        self.weights = path / "model.safetensors"
        self.base = path / "base.safetensors"
        self.tokenizer = path / "tokenizer.json"
        self.checkpoint = path / "checkpoint.safetensors"
        self.summary = path / "summary.json"
        self.curves = path / "curves.svg"

    def evaluation(self, split: str) -> Path:
        """What ``aecore evaluate --save`` writes of a split: energies of single sentences."""
        return self.path / f"evaluation-{split}.safetensors"

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that a run writes."""
        return (
            self.config,
            self.metrics,
            self.weights,
            self.base,
            self.tokenizer,
            self.checkpoint,
            self.summary,
            self.curves,
            *map(self.evaluation, SPLITS),
        )

    @classmethod
    def create(cls, path: Path, overwrite: bool) -> RunFolder:
        """An empty folder for a new run.

        Raises:
            RunError: when a run is there already and ``overwrite`` is false, or something that is
                no run is.
        """
        folder = cls(path)
        folder.check_free(overwrite)
        make_folder(path)
        return folder

    def check_free(self, overwrite: bool) -> None:
        """Refuse a place that holds something; done before any work."""
        if not self.path.exists():
            return
        self.recover()
        if not self.path.is_dir():
            raise RunError(f"'{self.path}' is a file; a run is a folder", "choose another --out")
        temporaries = set(self._temporaries())
        found = sorted(entry.name for entry in self.path.iterdir() if entry not in temporaries)
        if found and not self.config.is_file():
            shown = ", ".join(found[:4]) + (", ..." if len(found) > 4 else "")
            raise RunError(
                f"'{self.path}' holds files but no run, and is left alone",
                f"found: {shown}",
                "choose another --out",
            )
        if found and not overwrite:
            raise RunError(
                f"there is a run in '{self.path}' already",
                f"to go on with it:  aecore resume {self.path}",
                "to replace it:     --overwrite",
            )

    def clear(self) -> None:
        """Remove the files of the run that was there; the caller holds the lock."""
        for file in self.files:
            file.unlink(missing_ok=True)
        self.sweep()

    @contextmanager
    def replaced(self) -> Iterator[None]:
        """Set the old run aside while the block makes a new one; an error brings it back.

        The block ends with a checkpoint. The caller holds the lock.
        """
        self.sweep()
        old = [file for file in self.files if os.path.lexists(file)]
        if old:
            self._aside.mkdir(exist_ok=True)
            for file in old:
                os.replace(file, self._aside / file.name)
        try:
            yield
        except BaseException:
            self._bring_back()
            if not old:
                with suppress(OSError):  # somebody else's files
                    self.path.rmdir()
            raise
        self._drop_aside()

    @property
    def _aside(self) -> Path:
        return self.path / ".replaced"

    def _bring_back(self) -> None:
        self.clear()
        for file in self._aside.iterdir() if self._aside.is_dir() else ():
            os.replace(file, self.path / file.name)
        self._drop_aside()

    def _drop_aside(self) -> None:
        for file in self._aside.iterdir() if self._aside.is_dir() else ():
            file.unlink()
        with suppress(FileNotFoundError):
            self._aside.rmdir()

    def recover(self) -> None:
        """After a kill inside of `replaced`: the old run, unless the new one has a checkpoint."""
        if not self._aside.is_dir():
            return
        with suppress(RunError), lock(self.path):  # held: it is being replaced at this moment
            if self.checkpoint.is_file():
                self._drop_aside()
            else:
                self._bring_back()

    def sweep(self) -> None:
        """Remove temporaries of writers that were killed; the caller holds the lock."""
        for left in self._temporaries():
            left.unlink(missing_ok=True)

    def _temporaries(self) -> Iterator[Path]:
        for file in self.files:
            yield from self.path.glob(f".{file.name}.*{TEMPORARY}")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The folder of an existing run.

        Raises:
            RunError: when there is none.
        """
        folder = cls(path)
        if not path.is_dir():
            raise RunError(f"there is no run '{path}'", *_runs_near(path))
        folder.recover()
        if not folder.config.is_file():
            raise RunError(f"'{path}' is no run: it has no config.toml", *_runs_near(path))
        return folder

    def read_config(self) -> RunConfig:
        """The validated configuration.

        Raises:
            RunError: when the file is missing or not valid.
        """
        try:
            return build_config(self.config, {}, {}, ())
        except ConfigError as error:
            raise RunError(error.what, *error.evidence) from error

    def write_config(self, config: RunConfig) -> None:
        """Write config.toml whole."""
        write_atomic(self.config, config.to_toml().encode())


def make_folder(path: Path) -> None:
    """A folder with those above it; there already is as good.

    Raises:
        RunError: when it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"the folder '{path}' cannot be made", f"reason: {error.strerror or error}"
        ) from error


def _runs_near(path: Path) -> list[str]:
    """The newest runs beside a path that is none, as evidence."""
    for parent in (path if path.is_dir() else path.parent, Path("runs")):
        if parent.is_dir():
            runs = [entry for entry in parent.iterdir() if (entry / "config.toml").is_file()]
            newest = sorted(
                runs, key=lambda run: (run / "config.toml").stat().st_mtime, reverse=True
            )
            if newest:
                return [f"runs here: {', '.join(str(run) for run in newest[:3])}"]
    return ["to make one: aecore train"]
