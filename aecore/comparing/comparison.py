"""Methods side by side: runs that differ in their seed are one method, and each is a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aecore.comparing.bootstrap import DRAWS, Contrast, Interval, contrast, holm, interval, means
from aecore.errors import ConfigError, RunError
from aecore.reports.tradeoff import differing
from aecore.runs.checkpoint import load_tensors
from aecore.runs.config import RunConfig
from aecore.runs.folder import RunFolder
from aecore.training.record import lasting

#: Figures that a sentence has by itself, in the order of the table.
FIGURES = ("nll_iw", "nll_elbo", "rec", "kl")


@dataclass(frozen=True)
class Column:
    """A figure under one estimator: others' values of the same name are another column."""

    figure: str
    estimator: str


@dataclass(frozen=True)
class Method:
    """Runs of one configuration.

    Attributes:
        name: plugins, and the settings that tell it from others of the same plugins.
        runs: their folders, one for each seed.
        energies: (S, N) by column.
    """

    name: str
    runs: tuple[str, ...]
    energies: dict[Column, Tensor]


@dataclass(frozen=True)
class Pair:
    """Two methods and a column that both have; p is corrected among the pairs of its column."""

    one: str
    other: str
    column: Column
    contrast: Contrast
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """The table.

    Attributes:
        split, sentences: which, and how many.
        cells: (method, column) -> mean and interval.
        remarks: what limits the comparison, a sentence each.
    """

    split: str
    sentences: int
    columns: list[Column]
    methods: list[Method]
    cells: dict[tuple[str, Column], Interval]
    pairs: list[Pair]
    remarks: list[str]

    def as_data(self) -> dict[str, Any]:
        """For ``--json``."""
        rows = [
            {
                "method": method.name,
                "runs": list(method.runs),
                "figures": [
                    {
                        "figure": c.figure,
                        "estimator": c.estimator,
                        **vars(self.cells[method.name, c]),
                    }
                    for c in self.columns
                    if (method.name, c) in self.cells
                ],
            }
            for method in self.methods
        ]
        pairs = [
            {
                "one": pair.one,
                "other": pair.other,
                "figure": pair.column.figure,
                "estimator": pair.column.estimator,
                **vars(pair.contrast.difference),
                "p": pair.contrast.p,
                "p_holm": pair.p_holm,
                "detectable": pair.contrast.detectable,
            }
            for pair in self.pairs
        ]
        head = {"split": self.split, "sentences": self.sentences, "unit": "nats per sentence"}
        return {**head, "methods": rows, "pairs": pairs, "remarks": self.remarks}


@dataclass(frozen=True)
class _Energies:
    path: Path
    config: RunConfig
    values: dict[str, Tensor]
    meta: dict[str, Any]


def compare(paths: Sequence[str | Path], split: str = "test", draws: int = DRAWS) -> Comparison:
    """``aecore compare --json``: methods by their energies of single sentences.

    Args:
        paths: finished runs, of which ``aecore evaluate --save`` has kept the energies.
        split: of which.
        draws: of the bootstrap.

    Raises:
        RunError: for a run without kept energies.
        ConfigError: for fewer than two runs, runs of other corpora, tokens or sentences, which may
            not share a table, and one that is named twice.
    """
    found = [_read(Path(path), split) for path in paths]
    _check(found)
    methods = _methods(found)
    columns = _columns(methods)
    cells, pairs = {}, []
    for column in columns:
        having = [method for method in methods if column in method.energies]
        drawn = means([method.energies[column] for method in having], draws)
        for method, its in zip(having, drawn, strict=True):
            cells[method.name, column] = interval(method.energies[column], its)
        pairs += _pairs(having, column, drawn)
    sentences = len(next(iter(found[0].values.values())))
    return Comparison(split, sentences, columns, methods, cells, pairs, _remarks(methods, columns))


def _read(path: Path, split: str) -> _Energies:
    folder = RunFolder.open(path)
    file = folder.evaluation(split)
    way_out = f"to make them: aecore evaluate {path} --split {split} --save"
    if not file.is_file():
        raise RunError(f"'{path}' has no energies of single sentences of '{split}'", way_out)
    values, meta = load_tensors(file)
    if "data" not in meta:
        raise RunError(f"the energies of '{path}' do not say of which sentences they are", way_out)
    return _Energies(path, folder.read_config(), values, meta)


def _check(found: Sequence[_Energies]) -> None:
    """Refuse what may not share a table."""
    if len(found) < 2:
        raise ConfigError("a comparison is of two runs or more", "of one: aecore evaluate RUN")
    places = [one.path.absolute() for one in found]
    twice = [str(path) for path in places if places.count(path) > 1]
    if twice:
        raise ConfigError(f"'{twice[0]}' is named twice", "it would count as two seeds")
    first = found[0]
    for one in found[1:]:
        if one.meta["data"] != first.meta["data"]:
            raise ConfigError(
                f"'{first.path}' and '{one.path}' are of other corpora or tokens",
                f"{first.path}: {_corpus(first)}",
                f"{one.path}: {_corpus(one)}",
                "nats of other sentences, or of other words, share no table",
            )
        lengths = [len(next(iter(energies.values.values()))) for energies in (first, one)]
        if lengths[0] != lengths[1]:
            raise ConfigError(
                f"'{first.path}' and '{one.path}' are of {lengths[0]:,} and {lengths[1]:,} "
                "sentences",
                "due: aecore evaluate RUN --save with the same --limit, or without one",
            )


def _corpus(one: _Energies) -> str:
    return f"{one.meta['corpus']}, words as {one.config.data.vocabulary}"


def _methods(found: Sequence[_Energies]) -> list[Method]:
    """Runs whose settings differ in the seed alone are one method."""
    groups: dict[str, list[_Energies]] = {}
    for one in found:
        settings = lasting(one.config)
        settings.pop("train.seed", None)
        settings["train.epochs"], settings["train.max_steps"] = (
            one.config.train.epochs,
            one.config.train.max_steps,
        )
        groups.setdefault(repr(sorted(settings.items())), []).append(one)
    names = _names([group[0].config for group in groups.values()])
    return [
        Method(name, tuple(str(one.path) for one in group), _energies(group))
        for name, group in zip(names, groups.values(), strict=True)
    ]


def _names(configs: Sequence[RunConfig]) -> list[str]:
    plain = [config.changed("train", seed=0) for config in configs]
    apart = differing(plain)
    names = [
        " ".join(filter(None, ["+".join(config.plugins) or "vae", told]))
        for config, told in zip(configs, apart, strict=True)
    ]
    return [
        name if names.count(name) == 1 else f"{name} ({number})"
        for number, name in enumerate(names, 1)
    ]


def _energies(group: Sequence[_Energies]) -> dict[Column, Tensor]:
    found = {}
    for figure in FIGURES:
        said = {str(one.meta["estimators"].get(figure)) for one in group}
        if len(said) == 1 and all(figure in one.values for one in group):
            column = Column(figure, said.pop())
            found[column] = torch.stack([one.values[figure] for one in group])
    return found


def _columns(methods: Sequence[Method]) -> list[Column]:
    found = {column: None for method in methods for column in method.energies}
    return sorted(found, key=lambda column: FIGURES.index(column.figure))


def _pairs(methods: Sequence[Method], column: Column, drawn: Sequence[Tensor]) -> list[Pair]:
    contrasts = [
        (
            one,
            other,
            contrast(
                methods[one].energies[column],
                methods[other].energies[column],
                (drawn[one], drawn[other]),
            ),
        )
        for one, other in combinations(range(len(methods)), 2)
    ]
    corrected = holm([found.p for _, _, found in contrasts])
    return [
        Pair(methods[one].name, methods[other].name, column, found, p)
        for (one, other, found), p in zip(contrasts, corrected, strict=True)
    ]


def _remarks(methods: Sequence[Method], columns: Sequence[Column]) -> list[str]:
    found = []
    few = [method.name for method in methods if len(method.runs) == 1]
    if few:
        found.append(f"one seed alone: {', '.join(few)}; its interval is of sentences, not of runs")
    two = [method.name for method in methods if len(method.runs) == 2]
    if two:
        found.append(f"two seeds: {', '.join(two)}; what differs between runs is hardly known")
    for column in columns:
        without = [method.name for method in methods if column not in method.energies]
        if without:
            found.append(f"{column.figure}, {column.estimator}: not of {', '.join(without)}")
    return found
