"""Registries: files that list plugins, installed or not; ours comes first.

A file is TOML, one table per plugin: distribution, install, summary, and, where known, hooks and
    paper. Others are named by the
environment variable AECORE_REGISTRY (separated as in PATH) and by ``--registry FILE``.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from aecore import toml
from aecore.errors import AecoreError
from aecore.manifest import ManifestError, Paper, validation_lines
from aecore.names import check_name, normalise

VARIABLE = "AECORE_REGISTRY"


class Listing(BaseModel):
    """A plugin that a registry knows, whether or not it is installed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    distribution: str
    install: str
    summary: str
    hooks: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    paper: Paper | None = None


@dataclass(frozen=True)
class Registries:
    """Several files as one, the first that lists a name counting.

    Attributes:
        listings: what is listed, by name.
        origins: the file that each name comes from.
        conflicts: a sentence for each name that two files list differently.
        problems: files and entries that cannot be read; the others count nevertheless.
    """

    listings: Mapping[str, Listing] = field(default_factory=dict)
    origins: Mapping[str, Path] = field(default_factory=dict)
    conflicts: tuple[str, ...] = ()
    problems: tuple[ManifestError, ...] = ()

    @classmethod
    def read(cls, ours: Path, others: Iterable[str | Path] = ()) -> Registries:
        """Ours, those of the environment, then ``others``; none where ours is not there."""
        named = [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path.strip()]
        listings: dict[str, Listing] = {}
        origins: dict[str, Path] = {}
        conflicts, problems = [], []
        for path in dict.fromkeys([ours, *(Path(name).expanduser() for name in (*named, *others))]):
            found, wrong = entries(path, required=path != ours)
            problems += wrong
            for name, listing in found.items():
                if listings.setdefault(name, listing) != listing:
                    counts = f"{origins[name]} counts, {path} does not"
                    conflicts.append(f"'{name}' is listed twice: {counts}")
                origins.setdefault(name, path)
        return cls(listings, origins, tuple(conflicts), tuple(problems))

    def require(self) -> None:
        """Refuse to go on where a file or an entry could not be read.

        Raises:
            ManifestError: for the first such problem.
        """
        if self.problems:
            raise self.problems[0]

    def warnings(self) -> list[str]:
        """A line for each problem and each name that is listed twice."""
        unread = ["; ".join([problem.what, *problem.evidence[:2]]) for problem in self.problems]
        return [*unread, *self.conflicts]


def registry_path() -> Path:
    """registry.toml beside the source tree, else in the installed package."""
    package = Path(__file__).parent
    beside = package.parent / "registry.toml"
    return (
        beside
        if (package.parent / "pyproject.toml").is_file() and beside.is_file()
        else package / "registry.toml"
    )


def read_registry(path: Path, required: bool = False) -> dict[str, Listing]:
    """The plugins that the file lists, by name; none where there is no file, unless it is required.

    Raises:
        ManifestError: for a file that is required and not there, is no TOML, or has an entry that
            breaks the schema.
    """
    found, problems = entries(path, required)
    if problems:
        raise problems[0]
    return found


def entries(path: Path, required: bool = False) -> tuple[dict[str, Listing], list[ManifestError]]:
    """The good entries of a file, and what is wrong with the file or with others, one by one."""
    if not path.is_file() and not required:
        return {}, []
    try:
        tables = toml.read(path)
    except FileNotFoundError:
        return {}, [_absent(path)]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problem = ManifestError("the registry cannot be read", f"file: {path}", f"reason: {error}")
        return {}, [problem]
    found: dict[str, Listing] = {}
    problems = []
    for written, table in tables.items():
        try:
            name, listing = _entry(written, table, path)
        except ManifestError as problem:
            problems.append(problem)
            continue
        if name in found:
            twice = f"'{name}' is listed twice, with - and with _"
            problems.append(ManifestError("the registry is not valid", f"file: {path}", twice))
        found.setdefault(name, listing)
    return found, problems


def _absent(path: Path) -> ManifestError:
    """The error for a named file; a relative name means another file in every folder."""
    lines = [f"file: {path}", f"named by: {VARIABLE} or --registry"]
    if not path.is_absolute():
        lines.append(f"looked at: {path.absolute()}; an absolute path holds in every folder")
    return ManifestError("the registry is not there", *lines)


def _entry(written: str, table: object, path: Path) -> tuple[str, Listing]:
    """One listing under a name that settings can reach.

    Raises:
        ManifestError: naming the file and the entry.
    """
    name = normalise(written)
    try:
        check_name(name)
        return name, Listing.model_validate(table)
    except ValidationError as error:
        lines = [f"{written}.{line}" for line in validation_lines(error, schema=Listing)]
        raise ManifestError("the registry is not valid", f"file: {path}", *lines) from error
    except AecoreError as error:
        raise ManifestError(
            "the registry is not valid", f"file: {path}", error.what, *error.evidence
        ) from error
