"""``curves.svg``: KL, reconstruction and beta over the steps of a run.

The same rows give the same bytes. matplotlib is the extra ``plots``; it is imported when something
is drawn.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from aecore.progress import Silent
from aecore.reports.svg import INSTALL, svg
from aecore.runs.config import RunConfig
from aecore.runs.files import write_atomic
from aecore.runs.folder import RunFolder
from aecore.training.stages import JOINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]

#: Key in metrics.jsonl -> title of its panel, with the unit of its axis.
PANELS = {
    "kl": "KL divergence, nats per sentence",
    "rec": "reconstruction, nats per sentence",
    "beta": "beta, the weight of the KL",
}
#: Characters of the title, and of the corpus in it, that stay clear of the legend.
TITLE, CORPUS = 72, 32
#: The setting that plugins which steer the KL call their set point.
SET_POINT = "target_kl"
TRAIN, VALID, TARGET = "#4477aa", "#cc3311", "#222222"
#: Where the panels are, in shares of the figure; room for numbers of five digits between them.
FRAME = {"left": 0.055, "right": 0.985, "bottom": 0.15, "top": 0.79, "wspace": 0.21}
#: An epoch's drawing may cost this share of the time since the last one.
SHARE = 0.01
#: Seconds of training after which the first one is drawn before the end.
FIRST = 60.0


class Curves(Silent):
    """A listener that keeps ``curves.svg`` up to date; without matplotlib it says so once.

    Args:
        folder: where metrics.jsonl is, and where the drawing goes.
        config: gives the title and the set point.
        note: told what stands in the way of a drawing.
    """

    def __init__(self, folder: RunFolder, config: RunConfig, note: Callable[[str], None]) -> None:
        self.folder, self.config, self._note = folder, config, note
        self._drawn_at, self._wait = time.monotonic(), FIRST

    def row(self, row: Row) -> None:
        """Draw after a validation, where that is cheap against the training before."""
        due = row.get("split") == "valid" and time.monotonic() - self._drawn_at >= self._wait
        if due and find_spec("matplotlib") is not None:
            self._draw()

    def finish(self, summary: Row) -> None:
        """Draw the whole run, or say what that needs."""
        if find_spec("matplotlib") is None:
            self._note(f"no curves.svg without matplotlib: {INSTALL}")
        else:
            self._draw()

    def _draw(self) -> None:
        began = time.monotonic()
        try:
            lines = self.folder.metrics.read_text(encoding="utf-8").splitlines()
            data = draw(
                [json.loads(line) for line in lines], title_of(self.config), set_points(self.config)
            )
            write_atomic(self.folder.curves, data)
        except Exception as error:  # a broken font or backend must not cost anybody a training
            self._note(f"curves.svg could not be drawn: {type(error).__name__}: {error}")
        self._drawn_at = time.monotonic()
        self._wait = (self._drawn_at - began) / SHARE


def title_of(config: RunConfig) -> str:
    """Which run it is."""
    corpus = (
        config.data.spec
        if len(config.data.spec) <= CORPUS
        else f"...{config.data.spec[3 - CORPUS :]}"
    )
    title = f"{' + '.join(config.plugins) or 'vae'} on {corpus}, seed {config.train.seed}"
    return title if len(title) <= TITLE else f"{title[: TITLE - 3]}..."


def set_points(config: RunConfig) -> list[float]:
    """The set points of the KL that plugins were given, nats per sentence."""
    found = [settings.get(SET_POINT) for settings in config.plugins.values()]
    return [float(value) for value in found if isinstance(value, int | float)]


def draw(rows: Sequence[Row], title: str, targets: Sequence[float] = ()) -> bytes:
    """An SVG of the joint phase: train by windows of steps, validation by epochs.

    Windows that the end of an epoch cut to less than half are left out: the mean of a few batches
    is noise.

    Args:
        rows: the lines of metrics.jsonl; values that are missing or null are left out.
        targets: set points of the KL, nats per sentence.
    """
    joint = [row for row in rows if row["stage"] == JOINT]
    train = _long_windows(
        [row for row in joint if row["split"] == "train" and row.get("span") == "window"]
    )
    valid = [row for row in joint if row["split"] == "valid"]

    def panels(figure: Figure) -> None:
        for axes, key in zip(
            figure.subplots(1, len(PANELS), gridspec_kw=FRAME), PANELS, strict=True
        ):
            _panel(axes, key, train, valid, targets if key == "kl" else ())
        figure.suptitle(
            title, x=0.012, y=0.97, ha="left", fontweight="bold", fontsize=12, parse_math=False
        )
        _legend(figure)

    return svg(panels, 11, 3.6)


def _long_windows(rows: Sequence[Row]) -> list[Row]:
    lengths = [
        row["step"] - before
        for row, before in zip(rows, [0, *(row["step"] for row in rows)], strict=False)
    ]
    return [row for row, length in zip(rows, lengths, strict=True) if 2 * length >= max(lengths)]


def _panel(
    axes: Axes, key: str, train: Sequence[Row], valid: Sequence[Row], targets: Sequence[float]
) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set(title=PANELS[key], xlabel="step")
    lowest = 0.0
    for rows, colour, label, marks in (
        (train, TRAIN, "train", ""),
        (valid, VALID, "validation", "o"),
    ):
        points = [(row["step"], row[key]) for row in rows if _finite(row.get(key))]
        if points:
            lowest = min(lowest, *(value for _, value in points))
            marker = "o" if len(points) == 1 else marks  # a line of one point would not be seen
            axes.plot(
                *zip(*points, strict=True),
                color=colour,
                label=label,
                linewidth=1.5,
                marker=marker,
                markersize=3.5,
            )
    for target in targets:
        axes.axhline(
            target, color=TARGET, linestyle=(0, (5, 3)), linewidth=1, label="set point", zorder=1.5
        )
    if key != "rec" and lowest == 0:
        axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _legend(figure: Any) -> None:
    """One legend for all panels, at the right of the title."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            found.values(), found.keys(), loc="upper right", ncols=len(found), fontsize=10
        )
