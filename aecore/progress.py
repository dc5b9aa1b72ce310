"""What a run tells while it works; the command line shows it, the Python API is silent unless given a listener."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol


class Progress(Protocol):
    """A listener. Its methods return quickly; ``values`` waits for the device, so call it only when something is drawn."""

    def begin(self, phase: str, done: int, total: int, steps_per_epoch: int) -> None:
        """A phase starts, or goes on, at step ``done`` of ``total``."""

    def step(self, done: int, tokens: int, values: Callable[[], Mapping[str, float]]) -> None:
        """A step is done; ``tokens`` target tokens were in it."""

    def check(self, done: int, total: int) -> None:
        """Sentences evaluated so far."""

    def row(self, row: Mapping[str, object]) -> None:
        """A line that went to metrics.jsonl."""

    def note(self, text: str) -> None:
        """A sentence for the reader."""

    def alarm(self, text: str) -> None:
        """Something that the reader should act on: what it is, and lines of what to try."""

    def end(self) -> None:
        """Nothing more comes."""


class Silent:
    """Listens to nothing."""

    def begin(self, phase: str, done: int, total: int, steps_per_epoch: int) -> None:
        """See `Progress.begin`."""

    def step(self, done: int, tokens: int, values: Callable[[], Mapping[str, float]]) -> None:
        """See `Progress.step`."""

    def check(self, done: int, total: int) -> None:
        """See `Progress.check`."""

    def row(self, row: Mapping[str, object]) -> None:
        """See `Progress.row`."""

    def note(self, text: str) -> None:
        """See `Progress.note`."""

    def alarm(self, text: str) -> None:
        """See `Progress.alarm`."""

    def end(self) -> None:
        """See `Progress.end`."""
