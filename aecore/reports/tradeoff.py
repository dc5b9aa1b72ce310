"""The trade-off of a transfer: how many sentences get the style, against how much of them is kept.

A point is a run; runs that differ in one setting, such as the weight of the style, make a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aecore.errors import CompositionError, ConfigError
from aecore.evaluation.rewriting import INSTALL as METRICS
from aecore.reports.svg import INSTALL, svg
from aecore.runs.config import RunConfig
from aecore.runs.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aecore.run import Run

POINT = "#4477aa"


@dataclass(frozen=True)
class Point:
    """A run in the trade-off.

    Attributes:
        label: the settings in which it differs from the others.
        kept: BLEU of the outcomes against the inputs, 0 to 100.
        style: the share of outcomes that the judge takes for the target, in [0, 1].
    """

    label: str
    kept: float
    style: float


def differing(configs: Sequence[RunConfig]) -> list[str]:
    """What tells the runs apart, ``emb2emb.style=0.9`` or the plugins, a text for each run."""
    tables = [_settings(config) for config in configs]
    names = list(dict.fromkeys(name for table in tables for name in table))
    apart = [name for name in names if len({str(table.get(name)) for table in tables}) > 1]
    same_plugins = len({tuple(config.plugins) for config in configs}) == 1
    texts = []
    for config, table in zip(configs, tables, strict=True):
        plugins = [] if same_plugins else ["+".join(config.plugins)]
        own = [f"{name}={table[name]}" for name in apart if name in table and same_plugins]
        texts.append(" ".join([*plugins, *own]))
    return texts


def _settings(config: RunConfig) -> dict[str, Any]:
    found: dict[str, Any] = {"seed": config.train.seed, "epochs": config.train.epochs}
    for plugin, settings in config.plugins.items():
        found |= {f"{plugin}.{name}": value for name, value in settings.items()}
    return found


def draw(points: Sequence[Point], title: str, before: float) -> bytes:
    """An SVG: s-BLEU to the right, style upwards, the runs joined in the order they came.

    Args:
        before: the share of the inputs that the judge takes for the target: doing nothing.

    Raises:
        ImportError: without matplotlib.
    """

    def scatter(figure: Figure) -> None:
        axes = figure.subplots(
            gridspec_kw={"left": 0.1, "right": 0.97, "bottom": 0.13, "top": 0.87}
        )
        axes.set(xlabel="s-BLEU: outcome against input", ylabel="target style by the judge, %")
        axes.axhline(100 * before, color="#222222", linestyle=(0, (5, 3)), linewidth=1)
        axes.annotate("as they were", (0, 100 * before), xytext=(3, 4), textcoords="offset points")
        kept, style = [p.kept for p in points], [100 * p.style for p in points]
        axes.plot(kept, style, color=POINT, marker="o", linewidth=1)
        for point in points:
            right = point.kept > 60
            axes.annotate(
                point.label,
                (point.kept, 100 * point.style),
                xytext=(-7 if right else 7, 5),
                ha="right" if right else "left",
                textcoords="offset points",
                fontsize=9,
                parse_math=False,
            )
        axes.set(xlim=(0, 100), ylim=(0, 104))
        axes.set_title(title, parse_math=False)

    return svg(scatter, 7, 5)


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
        Point(row["differs"], row["transfer_self_bleu"], row["transfer_style"]) for row in rows
    ]
    write_atomic(path, draw(points, title, rows[0]["transfer_style_before"]))
