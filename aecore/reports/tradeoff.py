"""The trade-off of a transfer: how many sentences get the style, against how much of them is kept.

A point is a run; runs that differ in one setting, such as the weight of the style, make a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aecore.errors import CompositionError, ConfigError
from aecore.evaluation.rewriting import INSTALL as METRICS
from aecore.reports.svg import INSTALL, svg
from aecore.runs.config import RunConfig
from aecore.runs.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from aecore.run import Run

COLOURS = ("#4477aa", "#cc3311", "#228833", "#aa3377", "#bb7700", "#009988")


@dataclass(frozen=True)
class Point:
    """A run in the trade-off.

    Attributes:
        method: its plugins; runs of one method make a curve.
        label: the settings in which it differs from the others of its method.
        kept: BLEU of the outcomes against the inputs, 0 to 100.
        style: the share of outcomes that the judge takes for the target, in [0, 1].
    """

    method: str
    label: str
    kept: float
    style: float


def differing(configs: Sequence[RunConfig]) -> list[str]:
    """``emb2emb.style=0.9``, for each run: in what it differs from others of the same plugins."""
    tables = [_settings(config) for config in configs]
    texts = []
    for config, table in zip(configs, tables, strict=True):
        like = [other for other, one in zip(tables, configs, strict=True) if _same(one, config)]
        names = [name for name in table if len({str(other.get(name)) for other in like}) > 1]
        texts.append(" ".join(f"{name}={table[name]}" for name in names))
    return texts


def method(config: RunConfig) -> str:
    """``emb2emb+fgim``."""
    return "+".join(config.plugins)


def _same(one: RunConfig, other: RunConfig) -> bool:
    return method(one) == method(other)


def _settings(config: RunConfig) -> dict[str, Any]:
    found: dict[str, Any] = {"seed": config.train.seed, "epochs": config.train.epochs}
    for plugin, settings in config.plugins.items():
        found |= {f"{plugin}.{name}": value for name, value in settings.items()}
    return found


def draw(points: Sequence[Point], title: str, before: float) -> bytes:
    """An SVG: s-BLEU to the right, style upwards; runs of one method joined as they came.

    Args:
        before: the share of the inputs that the judge takes for the target: doing nothing.

    Raises:
        ImportError: without matplotlib.
    """
    methods = list(dict.fromkeys(point.method for point in points))
    rows = len(points) + 1

    def scatter(figure: Figure) -> None:
        bottom = (0.55 + 0.24 * rows) / (4 + 0.24 * rows)
        frame = {"left": 0.1, "right": 0.97, "bottom": bottom, "top": 0.93}
        axes = figure.subplots(gridspec_kw=frame)
        axes.set(xlabel="s-BLEU: outcome against input", ylabel="target style by the judge, %")
        axes.plot([100], [100 * before], "s", color="#222222", label="as they were", clip_on=False)
        for name, colour in zip(methods, cycle(COLOURS), strict=False):
            of = [point for point in points if point.method == name]
            axes.plot([p.kept for p in of], [100 * p.style for p in of], color=colour, linewidth=1)
        for number, point in enumerate(points, start=1):
            _mark(axes, number, point, COLOURS[methods.index(point.method) % len(COLOURS)])
        axes.set(xlim=(0, 100), ylim=(0, 104))
        axes.set_title(title, parse_math=False)
        figure.legend(loc="lower left", bbox_to_anchor=(0.09, 0.0), fontsize=9)

    return svg(scatter, 7, 4 + 0.24 * rows)


def _mark(axes: Axes, number: int, point: Point, colour: str) -> None:
    """A point with its number, and the number in the legend."""
    at = (point.kept, 100 * point.style)
    label = f"{number}  {point.method} {point.label}".replace("$", r"\$")
    axes.plot(*([value] for value in at), "o", color=colour, label=label)
    axes.annotate(str(number), at, xytext=(5, 5), textcoords="offset points", color=colour)


def check(runs: Sequence[Run]) -> None:
    """Refuse runs that have no such trade-off, or none in common.

    Raises:
        CompositionError, ConfigError: see `aecore.api.tradeoff`.
    """
    for run in runs:
        if run.target_label is None:
            raise CompositionError(
                f"'{run.path}' gives sentences no label, so there is no style to trade",
                f"composition: {run.model.composition.label}",
                "due: runs over labels, such as emb2emb with emb2emb.supervision=labels, or fgim",
            )
        if (run.config.data.spec, run.target_label) != (
            runs[0].config.data.spec,
            runs[0].target_label,
        ):
            raise ConfigError(
                f"'{runs[0].path}' and '{run.path}' do not do the same",
                *(
                    f"{one.path}: {one.target_label} on {one.config.data.spec}"
                    for one in (runs[0], run)
                ),
            )
    missing = [name for name in ("sacrebleu", "sklearn") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"a trade-off needs {' and '.join(missing)}", METRICS)


def check_figure(path: Path) -> None:
    """Refuse what could not be drawn, before any work is done.

    Raises:
        ConfigError: without matplotlib or the folder, or for a name that does not end in .svg.
    """
    if path.suffix != ".svg":
        raise ConfigError(f"'{path}' has no known format", "due: a name that ends in .svg")
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder '{path.parent}' for '{path.name}'")
    if find_spec("matplotlib") is None:
        raise ConfigError("a figure needs matplotlib", INSTALL)


def write(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """The figure of rows of `aecore.api.tradeoff`, whole or not at all."""
    points = [
        Point(row["method"], row["differs"], row["transfer_self_bleu"], row["transfer_style"])
        for row in rows
    ]
    write_atomic(path, draw(points, title, rows[0]["transfer_style_before"]))
