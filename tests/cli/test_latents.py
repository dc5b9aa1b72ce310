"""What the progress shows of the latents: active units, and the divergence of each dimension as a
bar.
"""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from support import build

from aecore.evaluation.collapse import IDLE
from aecore_cli.progress import LiveProgress, PlainProgress, latents, sparkline

VALID = {
    "stage": "joint",
    "split": "valid",
    "rec": 18.0,
    "kl": 5.4,
    "nll_elbo": 23.4,
    "ppl_elbo": 5.1,
    "au": 2,
    "kl_per_dimension": [0.0, 2.0, 1.0],
}
TRAIN = {
    "stage": "joint",
    "split": "train",
    "span": "epoch",
    "rec": 18.214,
    "kl": 4.968,
    "beta": 0.0314,
}


def test_a_bar_a_dimension_between_nothing_and_the_largest():
    assert sparkline([0.0, 0.3, 1.0, 2.1, -0.01], "utf-8") == "▁▂▄█▁"
    assert sparkline([0.0, 0.3, 1.0, 2.1, -0.01], "ascii") == "_.:#_"


def test_a_collapsed_posterior_is_flat():
    assert sparkline([1e-4, 3e-3, 0.0], "utf-8") == "▁▁▁"


@pytest.mark.parametrize(("dimensions", "bars"), [(64, 64), (65, 33), (128, 64), (1000, 63)])
def test_neighbours_share_a_bar_where_there_are_many(dimensions, bars):
    values = [0.0] * (dimensions - 1) + [1.0]
    drawn = sparkline(values, "utf-8")
    assert len(drawn) == bars
    assert drawn == "▁" * (bars - 1) + "█"


def test_only_what_was_measured_is_shown():
    assert latents(VALID, "utf-8") == ["au 2/3", "kl/dim ▁█▅ to 2.00"]
    assert latents({"au": 4, "kl_per_dimension": None}, "utf-8") == ["au 4"]
    assert latents({}, "utf-8") == []


def test_plain_lines_end_with_it(capsys):
    progress = PlainProgress()
    progress.begin("joint", 10, 10, 10)
    progress.row(TRAIN)
    progress.row(VALID)
    assert capsys.readouterr().err.endswith(
        "| valid nll_elbo 23.40  ppl 5.10  au 2/3  kl/dim ▁█▅ to 2.00\n"
    )


@pytest.mark.parametrize("width", [60, 100])
def test_the_live_view_keeps_it_under_the_bar(width):
    console = Console(
        file=io.StringIO(), force_terminal=True, width=width, highlight=False, color_system=None
    )
    progress = LiveProgress(console)
    progress.begin("joint", 10, 20, 10)
    progress.row(TRAIN)
    progress.row({**VALID, "kl_per_dimension": [0.0, 2.0] * 32})
    progress.draw({"rec": 1.0})
    progress.end()
    shown = console.file.getvalue()
    assert "validation: au 2/64  kl/dim " in shown
    assert "to 2.00" in shown


def test_an_alarm_stands_out_and_keeps_its_lines(capsys):
    alarm = (IDLE, ["2 of 15 nats"], build().composition)
    what, why = "most of the KL says nothing of the sentence", "  2 of 15 nats"
    PlainProgress().alarm(*alarm)
    assert capsys.readouterr().err.startswith(f"warning: {what}\n{why}\n  try: ")
    console = Console(
        file=io.StringIO(), force_terminal=True, width=60, highlight=False, color_system="standard"
    )
    LiveProgress(console).alarm(*alarm)
    assert console.file.getvalue().startswith(f"\x1b[1;33m{what}\x1b[0m\n{why}\n  try: ")
