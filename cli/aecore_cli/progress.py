"""Training progress on stderr: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aecore.composition import Composition
from aecore.progress import Progress, Silent
from aecore.training.stages import JOINT
from aecore_cli.advice import described
from aecore_cli.pace import Pace, duration
from aecore_cli.show import raw, visible

Row = Mapping[str, Any]

#: Divergences as bars, for terminals that can show them and for others.
RAMP, ASCII_RAMP = "▁▂▃▄▅▆▇█", "_.-:=+*#"
#: Bars at most.
BARS = 64
#: Nats per sentence that a full bar stands for at least.
TOP = 0.5


@contextmanager
def listening() -> Iterator[Progress]:
    """The listener that suits stderr; the terminal is left in order whatever happens."""
    console = Console(file=raw(sys.stderr), highlight=False)
    live = console.is_terminal and not console.is_dumb_terminal
    progress = LiveProgress(console) if live else PlainProgress()
    try:
        yield progress
    finally:
        progress.end()


def figures(row: Row) -> list[str]:
    """``rec 18.21``, ``kl 4.97``, ``beta 0.031``, as far as they were computed; else the loss."""
    formats = {"rec": ".2f", "kl": ".2f", "penalty": ".2f", "beta": ".3g"}
    if all(row.get(name) is None for name in formats):
        formats = {"loss": ".4g"}
    return [
        f"{name} {row[name]:{form}}" for name, form in formats.items() if row.get(name) is not None
    ]


def validation(row: Row) -> list[str]:
    """``nll_elbo 23.40``, ``ppl 5.10``; or what was measured where there is no bound.

    Of a run that rewrites the objective, all else being of its autoencoder or of nobody's interest.
    """
    if row.get("rewrites"):  # an objective of 0 is that of a plugin which has another loss
        return [f"objective {row['objective']:.4g}"] if row["objective"] else []
    if row.get("nll_elbo") is None:
        shown = [(name, row.get(name)) for name in ("rec", "kl", "penalty")]
        return [f"{name} {value:.2f}" for name, value in shown if value is not None]
    return [f"nll_elbo {row['nll_elbo']:.2f}", f"ppl {row['ppl_elbo']:.2f}"]


def latents(row: Row, encoding: str | None, bars: int = BARS) -> list[str]:
    """``au 5/8``, ``kl/dim ▁▂█▁▁▃▁▁ to 1.92``, as far as they were measured."""
    if row.get("rewrites"):
        return []
    units, divergences = row.get("au"), row.get("kl_per_dimension")
    found = (
        [] if units is None else [f"au {units}" + (f"/{len(divergences)}" if divergences else "")]
    )
    if divergences:
        found.append(f"kl/dim {sparkline(divergences, encoding, bars)} to {max(divergences):.2f}")
    return found


def sparkline(values: Sequence[float], encoding: str | None, bars: int = BARS) -> str:
    """A bar for each value, or for the largest of some neighbours; 0 at the bottom.

    The top is the largest value, but `TOP` at least: small differences between small values are not
        blown up.
    """
    share = -(-len(values) // bars)
    pooled = [max(values[start : start + share]) for start in range(0, len(values), share)]
    top, last = max([TOP, *filter(math.isfinite, pooled)]), len(RAMP) - 1
    ramp = RAMP if _encodable(RAMP, encoding) else ASCII_RAMP
    heights = [value / top * last if math.isfinite(value) else last for value in pooled]
    return "".join(ramp[min(last, max(0, round(height)))] for height in heights)


def _encodable(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


class _Paced(Silent, ABC):
    """A listener that keeps the pace and draws at most every ``interval`` seconds."""

    interval: float

    def __init__(self) -> None:
        self.pace = Pace()
        self._due = time.monotonic() + self.interval
        self._epoch: Row = {}

    def begin(self, phase: str, done: int, total: int, steps_per_epoch: int) -> None:
        """See `Progress.begin`."""
        self.pace.begin(phase, done, total, steps_per_epoch)
        self._due = time.monotonic() + self.interval

    def step(self, done: int, tokens: int, values: Callable[[], Mapping[str, float]]) -> None:
        """See `Progress.step`; costs about a microsecond where nothing is drawn."""
        pace = self.pace
        pace.done = done
        pace.tokens += tokens
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self.interval
            pace.measure(now)
            self.draw(values())

    def check(self, done: int, total: int) -> None:
        """See `Progress.check`."""
        now = time.monotonic()
        self.pace.pause(now)
        if now >= self._due:
            self._due = now + self.interval
            self.draw_check(done, total)

    def row(self, row: Row) -> None:
        """See `Progress.row`; the line of an epoch waits for its validation."""
        if row.get("span") == "window":
            self.pace.measure(time.monotonic())
        elif row.get("span") == "epoch":
            self._epoch = row
            if row["stage"] != JOINT:
                self.draw_epoch(row, None)
        elif row["split"] == "valid":
            self.draw_epoch(self._epoch, row)

    @abstractmethod
    def draw(self, values: Row) -> None:
        """Show where the phase stands; ``values`` are means since the epoch began."""

    @abstractmethod
    def draw_check(self, done: int, total: int) -> None:
        """Show how far an evaluation is."""

    @abstractmethod
    def draw_epoch(self, train: Row, valid: Row | None) -> None:
        """Show the line of an epoch; a stage has no validation."""


class PlainProgress(_Paced):
    """A line at the end of each epoch, and one every ten seconds in between."""

    interval = 10.0

    def draw(self, values: Row) -> None:
        """See `_Paced.draw`."""
        self.note("  ".join([*self.pace.words(), *figures(values)]))

    def draw_check(self, done: int, total: int) -> None:
        """See `_Paced.draw_check`."""
        self.note(f"measured {done:,} of {total:,} sentences")

    def draw_epoch(self, train: Row, valid: Row | None) -> None:
        """See `_Paced.draw_epoch`."""
        line = "  ".join([*self.pace.words(), *figures(train)])
        if valid is not None:
            measured = [*validation(valid), *latents(valid, sys.stderr.encoding)]
            line = f"{line} | valid {'  '.join(measured)}" if measured else line
        self.note(line)
        self._due = time.monotonic() + self.interval

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        print(text, file=sys.stderr, flush=True)

    def alarm(self, kind: str, signs: Sequence[str], composition: Composition) -> None:
        """See `Progress.alarm`."""
        self.note(f"warning: {described(kind, signs, composition)}")


class LiveProgress(_Paced):
    """A bar that is redrawn five times a second at most, under the lines of the epochs."""

    interval = 0.2

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console
        self._live: Live | None = None
        self._headed = ""
        self._values: Row = {}
        self._valid: Row = {}

    def begin(self, phase: str, done: int, total: int, steps_per_epoch: int) -> None:
        """See `Progress.begin`."""
        super().begin(phase, done, total, steps_per_epoch)
        self._values = {}
        self._show(self._frame())

    def draw(self, values: Row) -> None:
        """See `_Paced.draw`."""
        self._values = values
        self._show(self._frame())

    def draw_check(self, done: int, total: int) -> None:
        """See `_Paced.draw_check`."""
        self._show(self._frame(f"measuring {done:,} of {total:,} sentences"))

    def draw_epoch(self, train: Row, valid: Row | None) -> None:
        """See `_Paced.draw_epoch`."""
        self._valid = valid or {}
        if self._headed != self.pace.phase:
            self._headed = self.pace.phase
            self.console.print(Text(_line(HEADS), style="bold"))
        self.console.print(Text(_line(_cells(self.pace, train, valid or {}))))

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        self.console.print(Text(visible(text), style="dim"))

    def alarm(self, kind: str, signs: Sequence[str], composition: Composition) -> None:
        """See `Progress.alarm`."""
        what, *lines = described(kind, signs, composition).split("\n")
        self.console.print(Text(what, style="bold yellow"))
        self.console.print(Text(visible("\n".join(lines))))

    def end(self) -> None:
        """See `Progress.end`."""
        if self._live is None:
            return
        self._live.stop()
        self._live = None
        if self._headed:
            self.console.print()

    def _show(self, frame: Group) -> None:
        if self._live is None:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(frame, refresh=True)

    def _frame(self, doing: str = "") -> Group:
        """The bar, and under it the figures of the moment or what is being done."""
        pace = self.pace
        if not pace.total:
            return Group(Text(doing, style="dim"))
        bar = Table.grid(padding=(0, 2))
        left = f"{duration(pace.seconds_left)} left" if pace.steps_per_s else ""
        total = f"{pace.total:,}"
        steps = f"{pace.done:>{len(total)},}/{total}"
        width = max(10, min(40, self.console.width - 52))
        done = ProgressBar(
            pace.total,
            pace.done,
            width,
            complete_style="cyan",
            finished_style="cyan",
            style="bright_black",
        )
        bar.add_row(pace.name, done, steps, f"epoch {pace.epoch}", left)
        speed = [f"{pace.tokens_per_s:,.0f} tokens/s"] if pace.steps_per_s else []
        lines = [Text(doing or "  ".join([*speed, *figures(self._values)]), style="dim")]
        bars = max(8, min(BARS, self.console.width - 38))
        found = latents(self._valid, self.console.encoding, bars)
        if self._valid.get("rewrites"):
            found = validation(self._valid)
        if found:
            lines.append(
                Text(
                    f"validation: {'  '.join(found)}",
                    style="dim",
                    no_wrap=True,
                    overflow="ellipsis",
                )
            )
        return Group(bar, *lines)


HEADS = ("epoch", "step", "tokens/s", "rec", "kl", "beta", "valid nll", "ppl", "au")
WIDTHS = (7, 9, 9, 8, 7, 8, 10, 8, 5)


def _line(cells: tuple[str, ...]) -> str:
    return " ".join(cell.rjust(width) for cell, width in zip(cells, WIDTHS, strict=True))


def _cells(pace: Pace, train: Row, valid: Row) -> tuple[str, ...]:
    """One epoch under `HEADS`."""
    valid = {} if valid.get("rewrites") else valid
    shown = [
        (train, "rec", ".2f"),
        (train, "kl", ".2f"),
        (train, "beta", ".3g"),
        (valid, "nll_elbo", ".2f"),
        (valid, "ppl_elbo", ".2f"),
        (valid, "au", "d"),
    ]
    values = [
        f"{row[name]:{form}}" if row.get(name) is not None else "-" for row, name, form in shown
    ]
    return (pace.epoch, f"{pace.done:,}", f"{pace.tokens_per_s:,.0f}", *values)
