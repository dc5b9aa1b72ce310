"""The plan of a sweep: a TOML file, and the runs that it stands for.

    plugins = ["annealing", "ae_pretrain+free_bits", "controlvae"]
    seeds = [0, 1]
    data = "toy"

    [settings]
    "train.epochs" = 4

    [grid]
    "controlvae.target_kl" = [3.0, 6.0]

A key of the grid that belongs to a plugin multiplies the runs of that plugin alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from aecore.assembly import assemble
from aecore.catalogue import Catalogue
from aecore.errors import ConfigError, closest
from aecore.manifest import validation_lines
from aecore.names import normalise
from aecore.runs.config import SECTIONS, RunConfig, build_config, read_toml

#: What a name of a folder is made of.
_PLAIN = re.compile(r"[^\w.=+-]+")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Sweep(BaseModel):
    """A sweep file, validated.

    Attributes:
        plugins: companies, such as ``ae_pretrain+free_bits``; ``vae`` is the plain one.
        settings: of every run, by dotted key.
        grid: values to try, by dotted key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    plugins: Annotated[list[str], BeforeValidator(_listed)] = Field(min_length=1)
    seeds: list[int] = Field([0], min_length=1)
    data: Annotated[list[str], BeforeValidator(_listed)] = Field(["toy"], min_length=1)
    settings: dict[str, Any] = {}
    grid: dict[str, list[Any]] = {}


@dataclass(frozen=True)
class Point:
    """One run of a sweep.

    Attributes:
        name: of its folder: all that tells it from the others.
        varied: what differs between points, by name, for the table.
        settings: by dotted key.
    """

    name: str
    plugins: tuple[str, ...]
    data: str
    seed: int
    settings: Mapping[str, Any]
    varied: Mapping[str, str]

    def config(self) -> RunConfig:
        """The configuration that the run begins with."""
        flags: dict[str, dict[str, Any]] = {
            "data": {"spec": self.data},
            "train": {"seed": self.seed},
        }
        return build_config(None, flags, self.settings, self.plugins)


def read_sweep(path: Path) -> Sweep:
    """The sweep in a file.

    Raises:
        ConfigError: when there is none, or it is not valid.
    """
    tables = read_toml(path)
    for name in ("settings", "grid"):
        if isinstance(tables.get(name), dict):
            tables[name] = dict(_dotted(tables[name]))
    try:
        return Sweep.model_validate(tables)
    except ValidationError as error:
        raise ConfigError(
            f"the sweep '{path}' is not valid",
            *validation_lines(error, schema=Sweep),
            'due: plugins = ["annealing", "ae_pretrain+free_bits"], then seeds, data, [settings] '
            "and [grid]",
        ) from error


def _dotted(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``train.epochs`` however it was written: TOML makes tables of keys with dots."""
    for key, value in table.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, dict):
            yield from _dotted(value, name)
        else:
            yield name, value


def points(sweep: Sweep) -> list[Point]:
    """Every run of the sweep, in the order of the file.

    Raises:
        ConfigError: for a key that belongs to no section and to no plugin of any company, and two
            runs that are one.
    """
    companies = [_company(text) for text in sweep.plugins]
    _check_keys(sweep, companies)
    found = []
    for company, data in product(companies, sweep.data):
        keys = [key for key in sweep.grid if _of(key, company)]
        for values in product(*(sweep.grid[key] for key in keys)):
            tried = dict(zip(keys, values, strict=True))
            found += [_point(sweep, company, data, tried, seed) for seed in sweep.seeds]
    names = [point.name for point in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"'{twice[0]}' stands for two runs of the sweep", "likely: a value twice")
    return found


def _company(text: str) -> tuple[str, ...]:
    names = tuple(normalise(name.strip()) for name in text.split("+"))
    return tuple(name for name in names if name not in {"vae", ""})


def _of(key: str, company: Sequence[str]) -> bool:
    section = normalise(key.partition(".")[0])
    return section in SECTIONS or section in company


def _check_keys(sweep: Sweep, companies: Sequence[Sequence[str]]) -> None:
    named = sorted({name for company in companies for name in company})
    for key in [*sweep.settings, *sweep.grid]:
        if not any(_of(key, company) for company in companies):
            raise ConfigError(
                f"'{key}' belongs to no section and no plugin of the sweep."
                f"{closest(key.partition('.')[0], [*SECTIONS, *named])}",
                f"sections: {', '.join(SECTIONS)}",
                f"plugins:  {', '.join(named) or 'none'}",
            )
        if key in {"train.seed", "data.spec"}:
            raise ConfigError(f"'{key}' is a list of its own in a sweep", "due: seeds, or data")


def _point(
    sweep: Sweep, company: tuple[str, ...], data: str, tried: Mapping[str, Any], seed: int
) -> Point:
    label = "+".join(company) or "vae"
    varied = {"plugins": label}
    if len(sweep.data) > 1:
        varied["data"] = data
    varied |= {key: str(value) for key, value in tried.items()}
    parts = [label, *([data] if len(sweep.data) > 1 else [])]
    parts += [f"{key.rpartition('.')[2]}={value}" for key, value in tried.items()]
    name = "-".join([_PLAIN.sub("_", part).strip("_") for part in parts] + [f"s{seed}"])
    own = {key: value for key, value in sweep.settings.items() if _of(key, company)}
    return Point(name, company, data, seed, own | dict(tried), varied | {"seed": str(seed)})


def check(found: Sequence[Point], catalogue: Catalogue) -> None:
    """Refuse a sweep of which a run could not begin, before any does.

    Raises:
        AecoreError: with the point in front.
    """
    for point in found:
        try:
            config = point.config()
            assemble(config.plugins, catalogue, config.train.recipe)
        except ConfigError as error:
            raise ConfigError(f"{point.name}: {error.what}", *error.evidence) from error
