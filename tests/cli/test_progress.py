"""What is shown while a training runs: when something is drawn, and what stands in a line."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from aecore_cli import progress as module
from aecore_cli.pace import Pace, duration
from aecore_cli.progress import LiveProgress, PlainProgress

TRAIN = {
    "stage": "joint",
    "split": "train",
    "span": "epoch",
    "rec": 18.214,
    "kl": 4.968,
    "beta": 0.0314,
}
VALID = {
    "stage": "joint",
    "split": "valid",
    "rec": 18.0,
    "kl": 5.4,
    "nll_elbo": 23.4,
    "ppl_elbo": 5.1,
}


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def unwanted():
    raise AssertionError("nothing is drawn, so nothing may wait for the device")


def test_a_plain_line_says_where_how_fast_and_how_well(clock, capsys):
    progress = PlainProgress()
    progress.begin("joint", 740, 5000, 250)
    progress.pace.pause(clock.now)
    clock.now += 1
    progress.step(750, 9120, unwanted)
    progress.row({**TRAIN, "span": "window"})
    progress.row(TRAIN)
    progress.row(VALID)
    train = "epoch 3/20  step 750/5000  9,120 tokens/s  ETA 7:05  rec 18.21  kl 4.97  beta 0.0314"
    assert capsys.readouterr().err == f"{train} | valid nll_elbo 23.40  ppl 5.10\n"


def test_plain_lines_come_every_ten_seconds_at_most(clock, capsys):
    progress = PlainProgress()
    progress.begin("joint", 0, 1000, 1000)
    drawn = []
    for step in range(1, 301):
        clock.now += 0.1
        progress.step(step, 100, lambda step=step: drawn.append(step) or {"rec": 1.0})
    assert len(drawn) == pytest.approx(3, abs=1)
    assert len(capsys.readouterr().err.splitlines()) == len(drawn)


def test_a_stage_is_named_and_needs_no_validation(clock, capsys):
    progress = PlainProgress()
    progress.begin("ae", 0, 10, 10)
    progress.step(10, 1, unwanted)
    progress.row({"stage": "ae", "split": "train", "span": "epoch", "rec": 2.0})
    assert capsys.readouterr().err == "[ae] epoch 1/1  step 10/10  rec 2.00\n"


def test_where_the_divergence_gives_no_bound_the_parts_are_shown(clock, capsys):
    progress = PlainProgress()
    progress.begin("joint", 0, 10, 10)
    progress.row(TRAIN)
    progress.row({**VALID, "nll_elbo": None, "ppl_elbo": None})
    assert capsys.readouterr().err.endswith("| valid rec 18.00  kl 5.40\n")


@pytest.fixture
def live(clock):
    console = Console(
        file=io.StringIO(), force_terminal=True, width=90, highlight=False, color_system=None
    )
    progress = LiveProgress(console)
    yield progress
    progress.end()


def test_the_bar_is_drawn_five_times_a_second_at_most(clock, live):
    live.begin("joint", 0, 1000, 500)
    drawn = []
    for step in range(1, 1001):
        clock.now += 0.002
        live.step(
            step, 100, lambda step=step: drawn.append(step) or {"rec": 1.0, "kl": 0.5, "beta": 1.0}
        )
    assert len(drawn) == pytest.approx(10, abs=1)
    shown = live.console.file.getvalue()
    assert "50,000 tokens/s  rec 1.00  kl 0.50  beta 1" in shown
    assert "1,000" in shown
    assert "epoch 2/2" in shown


def test_epochs_scroll_above_the_bar_in_columns(clock, live):
    live.begin("joint", 0, 500, 250)
    live.step(250, 100, unwanted)
    live.row(TRAIN)
    live.row(VALID)
    lines = [
        line
        for line in live.console.file.getvalue().splitlines()
        if "valid nll" in line or "23.40" in line
    ]
    head, row = (line.rpartition("\x1b[2K")[2] for line in lines)
    assert head.index("rec") + 3 == row.index("18.21") + 5
    assert head.index("ppl") + 3 == row.index("5.10") + 4


def test_an_evaluation_counts_its_sentences(clock, live):
    clock.now += 1
    live.check(64, 500)
    assert "measuring 64 of 500 sentences" in live.console.file.getvalue()


def test_the_cursor_comes_back_whatever_happens(clock, live):
    live.begin("joint", 0, 10, 10)
    live.end()
    live.end()
    assert live.console.file.getvalue().count("\x1b[?25h") == 1


def test_notes_are_shown_as_they_are(clock, live):
    live.note("[red]a/b[/red]")
    assert live.console.file.getvalue() == "[red]a/b[/red]\n"


def test_evaluation_does_not_slow_the_speed():
    pace = Pace()
    pace.begin("joint", 0, 100, 10)
    pace.pause(0.0)
    pace.done, pace.tokens = 10, 100
    pace.measure(1.0)
    pace.pause(61.0)
    pace.done, pace.tokens = 20, 200
    pace.measure(62.0)
    assert pace.tokens_per_s == 100
    assert pace.seconds_left == 8


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (21.4, "0:21"), (723, "12:03"), (10800, "3:00:00")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
