"""``aecore runs``, ``diff`` and ``sweep``: what they print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aecore.comparing.difference import Apart
from aecore.comparing.listing import Shelved, number
from aecore.sweep.sweeping import Result, groups
from aecore_cli.show import print_table

#: Columns of figures: head -> (name, places).
FIGURES = {"nll_elbo": 2, "ppl_elbo": 2, "rec": 2, "kl": 2, "penalty": 2, "mi": 2, "au": 0}


def print_runs(runs: Sequence[Shelved]) -> None:
    """A row for each run; the figures of an unfinished one are of its last validation, marked."""
    shown = [name for name in FIGURES if any(run.figures.get(name) is not None for run in runs)]
    rows = []
    for run in runs:
        config = run.config
        head = [str(run.path), run.plugins]
        head += ["-", "-"] if config is None else [_short(config.data.spec), str(config.train.seed)]
        figures = [_figure(run, name) for name in shown]
        rows.append([*head, _state(run), *figures])
    print_table(["run", "plugins", "data", "seed", "state", *shown], rows, right=shown)
    if any(run.split == "valid" for run in runs):
        print("\n~: of the last validation, not of test")
    for run in runs:
        if run.problem:
            print(f"{run.path}: {run.problem}")


def _figure(run: Shelved, name: str) -> str:
    text = number(run.figures.get(name), FIGURES[name])
    return f"~{text}" if run.split == "valid" and text != "-" else text


def _state(run: Shelved) -> str:
    return run.state if run.state in {"finished", "damaged"} else f"{run.state}, step {run.step}"


def _short(spec: str) -> str:
    """The last part of a path, with the share."""
    return spec.rstrip("/").rpartition("/")[2] or spec


def print_difference(found: Apart) -> None:
    """Settings, figures, remarks."""
    names = [str(found.one.path), str(found.other.path)]
    if found.settings:
        rows = [[name, _text(one), _text(other)] for name, (one, other) in found.settings.items()]
        print_table(["setting", *names], rows)
    else:
        print("the settings are the same")
    if found.figures:
        print()
        rows = [
            [
                figure.name,
                number(figure.one, 3),
                number(figure.other, 3),
                "-" if figure.why_not else _signed(figure.other, figure.one),
                figure.why_not or "yes",
            ]
            for figure in found.figures
        ]
        heads = ["figure", *names, "difference", "may be compared"]
        print_table(heads, rows, right=heads[1:4])
    for line in found.remarks:
        print(f"\n{line}")


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


def _signed(value: float, other: float) -> str:
    apart = value - other
    return f"{apart:+d}" if isinstance(apart, int) else f"{apart:+.3f}"


def print_sweep(results: Sequence[Result]) -> None:
    """A row for each run, then means over seeds, then what failed."""
    varied = list(dict.fromkeys(name for result in results for name in result.point.varied))
    shown = _shown(results)
    rows = [
        [
            *(result.point.varied.get(name, "-") for name in varied),
            result.state,
            *(number((result.run.figures if result.run else {}).get(n), FIGURES[n]) for n in shown),
        ]
        for result in results
    ]
    print_table([*varied, "state", *shown], rows, right=[*shown, "seed"])
    if any(len(group) > 1 for group in groups(results).values()):
        print()
        rows = [
            [" ".join(key), str(len(group)), *(_mean(group, name) for name in shown)]
            for key, group in groups(results).items()
        ]
        print_table(["over seeds", "runs", *shown], rows, right=["runs", *shown])
    for result in results:
        if result.problem:
            print(f"\n{result.point.name} failed, {result.attempts} times begun\n{result.problem}")


def _shown(results: Sequence[Result]) -> list[str]:
    known = [result.run.figures for result in results if result.run and result.state == "finished"]
    return [name for name in FIGURES if any(figures.get(name) is not None for figures in known)]


def _mean(group: Sequence[Result], name: str) -> str:
    """mean ± standard deviation of the finished ones."""
    finished = [result.run.figures for result in group if result.run and result.state == "finished"]
    values = [figures[name] for figures in finished if figures.get(name) is not None]
    if not values:
        return "-"
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return number(float(mean))
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return f"{mean:.2f} ± {spread:.2f}"


def sweep_data(results: Sequence[Result]) -> list[Mapping[str, Any]]:
    """For ``--json``."""
    return [
        {
            "name": result.point.name,
            "varied": dict(result.point.varied),
            "state": result.state,
            "attempts": result.attempts,
            "problem": result.problem or None,
            "run": None if result.run is None else result.run.as_data(),
        }
        for result in results
    ]


def told(result: Result, done: int, total: int, place: Path) -> str:
    """A line as a run of a sweep is done."""
    figures = {} if result.run is None else result.run.figures
    shown = [f"{name} {number(figures[name])}" for name in ("nll_elbo", "kl") if figures.get(name)]
    end = ", ".join(shown) if result.state == "finished" else result.problem.split("\n")[0]
    return f"{done}/{total}  {place / result.point.name}  {result.state}: {end}"
