"""Two runs: in what they differ, which of their figures may be compared, and why others may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aecore.comparing.listing import Shelved, shelved

#: The figures that a summary has, in the order of docs/metrics.md.
COMPARED = (
    "nll_elbo",
    "ppl_elbo",
    "nll_iw",
    "ppl_iw",
    "rec",
    "kl",
    "penalty",
    "mi",
    "mi_batch",
    "au",
)
#: Settings that say what the words of a corpus are: figures of other words are other figures.
OF_THE_TOKENS = ("data.vocabulary", "data.vocabulary_size", "data.min_count", "data.max_length")


@dataclass(frozen=True)
class Figure:
    """A figure of both runs.

    Attributes:
        one, other: its values; None where a run has none.
        why_not: why the two may not be compared; empty where they may.
    """

    name: str
    one: Any
    other: Any
    why_not: str = ""


@dataclass(frozen=True)
class Apart:
    """What two runs differ in.

    Attributes:
        settings: name -> (value of the one, of the other); None where it is not set.
        figures: every figure that either has.
        remarks: what is to be known before anything is compared, a sentence each.
    """

    one: Shelved
    other: Shelved
    settings: dict[str, tuple[Any, Any]]
    figures: list[Figure]
    remarks: list[str]

    def as_data(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "runs": [self.one.as_data(), self.other.as_data()],
            "settings": {name: list(values) for name, values in self.settings.items()},
            "figures": [
                {
                    "figure": figure.name,
                    "values": [figure.one, figure.other],
                    "comparable": not figure.why_not,
                    "why_not": figure.why_not or None,
                }
                for figure in self.figures
            ],
            "remarks": self.remarks,
        }


def difference(one: str | Path, other: str | Path) -> Apart:
    """``aecore diff --json``: settings that differ, and figures with what forbids to compare them.

    Raises:
        RunError: when one of them is no run.
    """
    left, right = shelved(Path(one)), shelved(Path(other))
    settings = dict(_settings(left, right))
    return Apart(left, right, settings, _figures(left, right), _remarks(left, right, settings))


def _settings(left: Shelved, right: Shelved) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Whatever is not the same, in the order of config.toml; versions last."""
    tables = [
        {} if run.config is None else dict(_flat(run.config.model_dump(mode="json"), ""))
        for run in (left, right)
    ]
    for table, run in zip(tables, (left, right), strict=True):
        table["plugins"] = run.plugins
    names = list(dict.fromkeys([*tables[0], *tables[1]]))
    for name in sorted(names, key=lambda name: name.startswith("versions.")):
        values = (tables[0].get(name), tables[1].get(name))
        one_sided = name.startswith("versions.") and None in values  # a plugin that one has
        if values[0] != values[1] and not one_sided:
            yield name, values


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            yield from _flat(value, name.removeprefix("plugins."))
        elif value is not None:
            yield name, value


def _figures(left: Shelved, right: Shelved) -> list[Figure]:
    found = []
    for name in COMPARED:
        values = (left.figures.get(name), right.figures.get(name))
        if values != (None, None):
            found.append(Figure(name, *values, why_not(name, left, right)))
    return found


def why_not(name: str, left: Shelved, right: Shelved) -> str:
    """Why a figure of two runs may not be compared; empty where it may."""
    for run in (left, right):
        if run.state != "finished":
            return f"'{run.path}' is {run.state}"
    one, other = left.figures, right.figures
    if tokens := _other_tokens(left, right):
        return tokens
    if one.get("data") != other.get("data"):
        return "other corpora"
    for word in ("split", "sentences"):
        if one.get(word) != other.get(word):
            return f"of {one.get(word)} and of {other.get(word)}" + (
                " sentences" if word == "sentences" else ""
            )
    if one.get(name) is None or other.get(name) is None:
        return "only one has it"
    said = [str((figures.get("estimators") or {}).get(name, "")) for figures in (one, other)]
    return f"estimated otherwise: {said[0]}; {said[1]}" if said[0] != said[1] else ""


def _other_tokens(left: Shelved, right: Shelved) -> str:
    tables = [
        {} if run.config is None else dict(_flat(run.config.model_dump(mode="json"), ""))
        for run in (left, right)
    ]
    for name in OF_THE_TOKENS:
        values = [table.get(name) for table in tables]
        if values[0] != values[1]:
            return f"other tokens: {name} {values[0]} and {values[1]}"
    return ""


def _remarks(left: Shelved, right: Shelved, settings: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """What the reader has to know of figures that may be compared."""
    found = []
    if "train.precision" in settings:
        one, other = settings["train.precision"]
        found.append(f"trained in {one} and in {other}; figures are measured in float32")
    versions = [
        name
        for name, values in settings.items()
        if name.startswith("versions.") and None not in values
    ]
    if versions:
        names = ", ".join(name.removeprefix("versions.") for name in versions)
        found.append(f"trained with other versions of: {names}")
    seeds = settings.get("train.seed")
    apart = [name for name in settings if not name.startswith("versions.")]
    if seeds and set(apart) == {"train.seed"}:
        found.append("they differ in the seed alone: what is between them is chance")
    elif not seeds and apart:
        found.append("one seed each: a difference may be chance")
    chosen = [(run.figures.get("selected") or {}).get("by") for run in (left, right)]
    if None not in chosen and chosen[0] != chosen[1]:
        found.append(f"weights selected otherwise: by {chosen[0]}, and by {chosen[1]}")
    return found
