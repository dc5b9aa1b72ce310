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

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
    paper: Paper | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    plugins: dict[str, Listing] = Field(default_factory=dict)


@dataclass(frozen=True)
class Registries:
    """Several files as one, the first that lists a name counting.

    Attributes:
        listings: what is listed, by name.
        origins: the file that each name comes from.
        conflicts: a sentence for each name that two files list differently.
        problems: files that cannot be read; the others count nevertheless.
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
            try:
                found = read_registry(path, required=path != ours)
            except ManifestError as problem:
                problems.append(problem)
                continue
            for name, listing in found.items():
                if listings.setdefault(name, listing) != listing:
                    counts = f"{origins[name]} counts, {path} does not"
                    conflicts.append(f"'{name}' is listed twice: {counts}")
                origins.setdefault(name, path)
        return cls(listings, origins, tuple(conflicts), tuple(problems))

    def require(self) -> None:
        """Refuse to go on where a file could not be read.

        Raises:
            ManifestError: for the first such file.
        """
        if self.problems:
            raise self.problems[0]

    def warnings(self) -> list[str]:
        """A line for each file that cannot be read and each name that is listed twice."""
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
        ManifestError: for a file that is required and not there, is no TOML, or breaks the schema.
    """
    if not path.is_file() and not required:
        return {}
    try:
        found = _File.model_validate({"plugins": toml.read(path)}).plugins
    except FileNotFoundError:
        raise ManifestError(
            "the registry is not there", f"file: {path}", f"named by: {VARIABLE} or --registry"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ManifestError(
            "the registry cannot be read", f"file: {path}", f"reason: {error}"
        ) from error
    except ValidationError as error:
        lines = [line.removeprefix("plugins.") for line in validation_lines(error, schema=_File)]
        raise ManifestError("the registry is not valid", f"file: {path}", *lines) from error
    return _named(found, path)


def _named(found: Mapping[str, Listing], path: Path) -> dict[str, Listing]:
    """The listings under names that settings can reach."""
    named: dict[str, Listing] = {}
    for written, listing in found.items():
        name = normalise(written)
        try:
            check_name(name)
        except AecoreError as error:
            raise ManifestError(
                "the registry is not valid", f"file: {path}", error.what, *error.evidence
            ) from error
        if name in named:
            raise ManifestError(
                "the registry is not valid",
                f"file: {path}",
                f"'{name}' is listed twice, with - and with _",
            )
        named[name] = listing
    return named
