"""Listeners: what a run tells while it works, to a terminal or to nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from aecore.composition import Composition


class Progress(Protocol):
    """A listener, whose methods return quickly; ``values`` waits for the device."""

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

    def alarm(self, kind: str, signs: Sequence[str], composition: Composition) -> None:
        """Something that the reader should act on.

        Args:
            kind: one of `aecore.evaluation.collapse.ALARMS`.
            signs: how it shows, a line each.
            composition: what trains, so that a listener can say what to try instead.
        """

    def finish(self, summary: Mapping[str, object]) -> None:
        """The run is finished; what went to summary.json."""

    def end(self) -> None:
        """Nothing more comes from this process: the run is finished, stopped or broken."""


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

    def alarm(self, kind: str, signs: Sequence[str], composition: Composition) -> None:
        """See `Progress.alarm`."""

    def finish(self, summary: Mapping[str, object]) -> None:
        """See `Progress.finish`."""

    def end(self) -> None:
        """See `Progress.end`."""


class Listeners:
    """Several listeners as one: each hears everything, in order."""

    def __init__(self, *listeners: Progress) -> None:
        self.listeners = listeners

    def _tell(self, what: str, *values: Any) -> None:
        for listener in self.listeners:
            getattr(listener, what)(*values)

    def begin(self, phase: str, done: int, total: int, steps_per_epoch: int) -> None:
        """See `Progress.begin`."""
        self._tell("begin", phase, done, total, steps_per_epoch)

    def step(self, done: int, tokens: int, values: Callable[[], Mapping[str, float]]) -> None:
        """See `Progress.step`."""
        for listener in self.listeners:
            listener.step(done, tokens, values)

    def check(self, done: int, total: int) -> None:
        """See `Progress.check`."""
        self._tell("check", done, total)

    def row(self, row: Mapping[str, object]) -> None:
        """See `Progress.row`."""
        self._tell("row", row)

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        self._tell("note", text)

    def alarm(self, kind: str, signs: Sequence[str], composition: Composition) -> None:
        """See `Progress.alarm`."""
        self._tell("alarm", kind, signs, composition)

    def finish(self, summary: Mapping[str, object]) -> None:
        """See `Progress.finish`."""
        self._tell("finish", summary)

    def end(self) -> None:
        """See `Progress.end`."""
        self._tell("end")
