"""The record of a run: metrics.jsonl, checkpoint, selected weights and summary."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import aecore
from aecore import ranks
from aecore.data.corpus import Corpus
from aecore.data.recipe import SPLITS
from aecore.errors import RunError
from aecore.progress import Progress
from aecore.runs.checkpoint import load_tensors, save_tensors, sha256
from aecore.runs.config import RunConfig
from aecore.runs.files import append, to_json, truncate, write_atomic
from aecore.runs.folder import RunFolder
from aecore.training.meter import Meter


class MetricsLog:
    """metrics.jsonl: means of scalars over windows and epochs, an object a line, appended.

    What belongs to a line that is half finished travels in the checkpoint.

    Args:
        path: metrics.jsonl.
        progress: hears every line.
    """

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path = path
        self.progress = progress
        self.window, self.span = Meter(), Meter()
        self.length = 0
        self.restart_clock()

    def create(self) -> None:
        """An empty file."""
        if ranks.first():
            write_atomic(self.path, b"")

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint: lines written after it are cut off, to be written again.

        Lines that are no JSON are left out, and that is said.
        """
        self.window, self.span = Meter(state["window"]), Meter(state["span"])
        if ranks.first():
            self.length = truncate(self.path, state["length"])
            lines = self.path.read_bytes().splitlines(keepends=True)
            good = [line for line in lines if _is_row(line)]
            if len(good) < len(lines):
                self.length = len(data := b"".join(good))
                write_atomic(self.path, data)
                lost = len(lines) - len(good)
                self.progress.note(f"{lost} damaged line(s) of '{self.path}' are left out")

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"window": self.window.state(), "span": self.span.state(), "length": self.length}

    def restart_clock(self) -> None:
        """Count time and tokens from here, so that a rate holds training alone."""
        self._since, self._tokens = time.monotonic(), 0

    def add(self, values: Mapping[str, float | Tensor], sentences: int, tokens: int) -> None:
        """The batch means of one step."""
        self.window.add(values, sentences)
        self.span.add(values, sentences)
        self._tokens += tokens

    def end_window(self, where: Mapping[str, Any]) -> None:
        """Write the means since the last window, if there was a step."""
        means = self.window.means()
        if means:
            rate = round(self._tokens / max(time.monotonic() - self._since, 1e-9), 1)
            kind = {"split": "train", "span": "window"}
            self.write({**where, **kind, **means, "tokens_per_s": rate})
            self.window = Meter()
        self.restart_clock()

    def end_span(self, where: Mapping[str, Any]) -> None:
        """Write the means since the epoch began."""
        self.write({**where, "split": "train", "span": "epoch", **self.span.means()})
        self.span = Meter()

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one line, and tell it."""
        if ranks.first():
            text = to_json(row) + "\n"
            append(self.path, text)
            self.length += len(text.encode())
        self.progress.row(row)


def _is_row(line: bytes) -> bool:
    """Whether a line of metrics.jsonl is whole."""
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


class Record:
    """Writes what a run leaves, and reads what a resume needs; only the first rank writes.

    Args:
        folder: the run's.
        config, corpus: a checkpoint goes on with the settings and the sentences that it was
            written with.
        sources: the distribution of each plugin.
        progress: hears every line of metrics.jsonl.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: RunConfig,
        corpus: Corpus,
        sources: Mapping[str, str],
        progress: Progress,
    ) -> None:
        self.folder = folder
        self.config, self.sources = config, dict(sources)
        self.fingerprint = corpus.fingerprint
        self.tokenizer = corpus.vocabulary.to_json()
        self.log = MetricsLog(folder.metrics, progress)
        self.saved_at = time.monotonic()

    def create(self) -> None:
        """The files that must exist before the first step."""
        if ranks.first():
            write_atomic(self.folder.tokenizer, self.tokenizer.encode())
        self.log.create()

    def checkpoint(
        self, tensors: Mapping[str, Tensor], state: Mapping[str, Any], device: torch.device
    ) -> None:
        """Write all that a resume needs, in one file with one rename.

        Raises:
            RunError: when it cannot be written; the one before is kept.
        """
        meta = {
            "state": dict(state),
            "log": self.log.state(),
            "data": self.fingerprint,
            "settings": lasting(self.config),
            "environment": self._environment(device),
        }
        try:
            if ranks.first():
                save_tensors(self.folder.checkpoint, tensors, meta)
        except RunError as error:
            way_out = (
                f"make room, then go on from the last checkpoint: aecore resume {self.folder.path}"
            )
            raise RunError(error.what, *error.evidence, way_out) from error
        self.saved_at = time.monotonic()

    def restore(self, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any], str]:
        """The checkpoint's tensors and state, and what has changed since; the log goes on there.

        Raises:
            RunError: when it is damaged, or the corpus is not the one it was written with.
        """
        tensors, meta = load_tensors(self.folder.checkpoint)
        known = {"state", "log", "data", "settings", "environment"}
        if not known <= meta.keys():
            raise RunError(
                f"'{self.folder.checkpoint}' is no checkpoint of this version of aecore",
                f"not in it: {', '.join(sorted(known - meta.keys()))}",
            )
        self._check(meta)
        self.log.restore(meta["log"])
        return tensors, meta["state"], changed(meta["environment"], self._environment(device))

    def _check(self, meta: Mapping[str, Any]) -> None:
        """Refuse another corpus or other settings than the checkpoint's."""
        path = self.folder.path
        if meta["data"] != self.fingerprint:
            raise RunError(
                f"the corpus '{self.config.data.spec}' has changed since '{path}' was started",
                "a resumed run must see the same sentences: put the old files back, or train a new "
                "run",
            )
        now, then = lasting(self.config), meta["settings"]
        edited = [
            f"{key}: {then.get(key, 'unset')} then, {now.get(key, 'unset')} now"
            for key in sorted({*now, *then})
            if now.get(key) != then.get(key)
        ]
        if edited:
            raise RunError(
                f"config.toml of '{path}' has been edited since its checkpoint was written",
                *edited[:5],
                *([f"and {len(edited) - 5} more"] if len(edited) > 5 else []),
                "a resumed run goes on as it began: put the old values back, or train a new run: "
                f"aecore train --config {self.folder.config} --out ANOTHER",
            )

    @contextmanager
    def intact(self) -> Iterator[None]:
        """What does not fit in the block is the checkpoint's fault, and said so.

        Raises:
            RunError: for tensors of another name, shape or type, and for impossible counters.
        """
        try:
            yield
        except (KeyError, TypeError, ValueError) as error:
            reason = str(error) if isinstance(error, ValueError) else repr(error)
            raise RunError(
                f"'{self.folder.checkpoint}' is not what this run would have written",
                f"reason: {reason}",
                "nothing was changed; a copy of the file, or a new run, goes on",
            ) from error

    def _environment(self, device: torch.device) -> dict[str, Any]:
        return environment(device) | self.sources

    def weights(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Write model.safetensors, the selected weights of a joint step."""
        if ranks.first():
            meta = {"step": step, "data": self.fingerprint, "tokenizer": sha256(self.tokenizer)}
            # of other weights, once these are there: a run that is extended, and killed, has none
            for file in (self.folder.summary, *map(self.folder.evaluation, SPLITS)):
                file.unlink(missing_ok=True)
            save_tensors(self.folder.weights, tensors, meta)

    def summary(self, values: Mapping[str, Any]) -> None:
        """Write summary.json."""
        if ranks.first():
            values = {**values, "data": self.fingerprint}
            write_atomic(self.folder.summary, (to_json(values, indent=2) + "\n").encode())


#: Settings that a resumed run may have others of: they decide when it ends, where and how it is
#: told, and what is measured, but no step.
FREE = {
    *("train.epochs", "train.max_steps", "train.device", "train.threads", "data.spec"),
    *("train.log_every", "train.checkpoint_seconds"),
}


def lasting(config: RunConfig) -> dict[str, Any]:
    """The settings that decide the steps of a run, by dotted name."""
    found: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, item in value.items():
                walk(f"{prefix}.{key}" if prefix else key, item)
        elif prefix not in FREE and prefix.partition(".")[0] not in {"evaluate", "versions"}:
            found[prefix] = value

    walk("", config.model_dump(mode="json", exclude_none=True))
    found["plugins"] = list(config.plugins)
    return found


def environment(device: torch.device) -> dict[str, Any]:
    """What has to be the same for a resumed run to be the same bit for bit."""
    return {
        "aecore": aecore.__version__,
        "torch": torch.__version__,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "processes": ranks.size(),
    }


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs between two environments, in words; empty where nothing does."""
    old = {"processes": 1, **old}
    return ", ".join(
        f"{name}: {old.get(name)} then, {new[name]} now"
        for name in new
        if old.get(name) != new[name]
    )
