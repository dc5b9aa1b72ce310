"""How far a phase is, how fast it goes, and how long it will take."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

#: Measurements that the speed is taken over, so that it follows a change without jumping.
WINDOW = 25


@dataclass
class Pace:
    """The position in a phase and its speed; time that is spent on evaluation does not count."""

    phase: str = ""
    done: int = 0
    total: int = 0
    steps_per_epoch: int = 1
    tokens: int = 0
    tokens_per_s: float = 0.0
    steps_per_s: float = 0.0
    _marks: deque[tuple[float, int, int]] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def begin(
        self, phase: str, done: int, total: int, steps_per_epoch: int, now: float = 0.0
    ) -> None:
        """A phase starts, or goes on."""
        self.phase, self.done, self.total, self.steps_per_epoch = (
            phase,
            done,
            total,
            steps_per_epoch,
        )
        self.tokens_per_s = self.steps_per_s = 0.0
        self._marks.clear()

    def measure(self, now: float) -> None:
        """Take the speed since the oldest mark in the window."""
        self._marks.append((now, self.done, self.tokens))
        since, done, tokens = self._marks[0]
        if now > since and self.done > done:
            self.steps_per_s = (self.done - done) / (now - since)
            self.tokens_per_s = (self.tokens - tokens) / (now - since)

    def pause(self, now: float) -> None:
        """Something else than training ends now: measure from here."""
        self._marks.clear()
        self._marks.append((now, self.done, self.tokens))

    @property
    def name(self) -> str:
        """What the phase is called on the screen."""
        return "training" if self.phase == "joint" else self.phase

    @property
    def epoch(self) -> str:
        """``3/20``: the epoch under way, of how many."""
        now, planned = (-(-steps // self.steps_per_epoch) for steps in (self.done, self.total))
        return f"{max(1, now)}/{planned}"

    @property
    def seconds_left(self) -> float:
        """Until the last step, at the speed of now."""
        return (self.total - self.done) / self.steps_per_s

    def words(self) -> list[str]:
        """``epoch 3/20``, ``step 750/5000``, ``9,120 tokens/s``, ``ETA 0:21``."""
        stage = "" if self.phase == "joint" else f"[{self.phase}] "
        where = [f"{stage}epoch {self.epoch}", f"step {self.done}/{self.total}"]
        return (
            [*where, f"{self.tokens_per_s:,.0f} tokens/s", f"ETA {duration(self.seconds_left)}"]
            if self.steps_per_s
            else where
        )


def duration(seconds: float) -> str:
    """``0:21``, ``12:03``, ``3:00:00``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
