"""metrics.jsonl: one object a line, appended; what belongs to a half-finished line travels in the checkpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from aecore.progress import Progress
from aecore.runs.files import append, to_json, truncate, write_atomic
from aecore.training.meter import Meter


class Journal:
    """Collects the scalars of the steps and writes their means: over a window of steps, and over an epoch.

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
        write_atomic(self.path, b"")

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint: lines written after it are cut off, since they are written again."""
        self.window, self.span = Meter(state["window"]), Meter(state["span"])
        self.length = truncate(self.path, state["length"])

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
            rate = self._tokens / max(time.monotonic() - self._since, 1e-9)
            self.write(
                {
                    **where,
                    "split": "train",
                    "span": "window",
                    **means,
                    "tokens_per_s": round(rate, 1),
                }
            )
            self.window = Meter()
        self.restart_clock()

    def end_span(self, where: Mapping[str, Any]) -> None:
        """Write the means since the epoch began."""
        self.write({**where, "split": "train", "span": "epoch", **self.span.means()})
        self.span = Meter()

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one line."""
        text = to_json(row) + "\n"
        append(self.path, text)
        self.length += len(text.encode())
        self.progress.row(row)
