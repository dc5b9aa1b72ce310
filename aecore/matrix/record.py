"""The matrix as a file, and what two of them say of each other."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from aecore.catalogue import Catalogue, Entry
from aecore.errors import RunError
from aecore.manifest import validation_lines
from aecore.matrix.cells import Cell
from aecore.runs.files import write_atomic

Change = Literal["regressed", "mended", "new", "gone", "flaky"]


class Matrix(BaseModel):
    """Cells by company, and of which code they tell.

    Attributes:
        code: SHA-256 of the sources of aecore and of all plugins: equal where the code is.
        versions: of aecore, torch and the plugins' distributions.
        plugins: the installed plugins, with a line of what each does.
        says: what each invariant says, by ``plugin.invariant``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str
    versions: dict[str, str]
    plugins: dict[str, str]
    says: dict[str, str] = {}
    cells: tuple[Cell, ...]

    def of(self, size: int) -> list[Cell]:
        """The cells of so many plugins."""
        return [cell for cell in self.cells if len(cell.plugins) == size]

    def counts(self, size: int) -> dict[str, int]:
        """How many cells have each verdict, the most frequent first."""
        found = Counter(_verdict(cell) for cell in self.of(size))
        return dict(found.most_common())

    def invariants(self) -> dict[str, list[Cell]]:
        """The cells in which each invariant was measured, alone first."""
        found: dict[str, list[Cell]] = {}
        for cell in sorted(self.cells, key=lambda cell: len(cell.plugins)):
            for name in cell.invariants:
                found.setdefault(name, []).append(cell)
        return found

    def write(self, path: Path) -> None:
        """One cell a line, in the order of companies: files that differ in little look so."""
        head = self.model_dump(mode="json", exclude={"cells"})
        cells = [
            json.dumps(cell.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)
            for cell in self.cells
        ]
        text = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
        lines = ",\n  ".join(cells)
        write_atomic(path, f'{text},\n "cells": [\n  {lines}\n ]\n}}\n'.encode())

    @classmethod
    def read(cls, path: Path) -> Matrix:
        """The matrix in a file.

        Raises:
            RunError: when there is none.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise RunError(
                f"'{path}' cannot be read", f"reason: {error.strerror or error}"
            ) from error
        except ValidationError as error:
            raise RunError(
                f"'{path}' is no matrix",
                *validation_lines(error)[:3],
                "to write one: aecore matrix --out FILE",
            ) from error


def _verdict(cell: Cell) -> str:
    return f"refused: {cell.kind}" if cell.status == "refused" else cell.status


def fingerprint(catalogue: Catalogue) -> str:
    """SHA-256 of the sources of aecore and of every usable plugin, names and contents."""
    tops = {"aecore", *(_package(entry) for entry in catalogue.entries.values())}
    found = hashlib.sha256()
    for top in sorted(tops):
        spec = importlib.util.find_spec(top)
        for folder in sorted(spec.submodule_search_locations or ()) if spec else ():
            for file in sorted(Path(folder).rglob("*")):
                if file.suffix in {".py", ".toml"}:
                    found.update(f"{top}/{file.relative_to(folder).as_posix()}\n".encode())
                    found.update(file.read_bytes())
    return found.hexdigest()


def _package(entry: Entry) -> str:
    return entry.target.partition(":")[0].partition(".")[0] if entry.status == "ok" else "aecore"


class Difference(BaseModel):
    """A company of which two matrices say different things.

    Attributes:
        before, now: what each says; empty where it has no such company.
    """

    plugins: tuple[str, ...]
    change: Change
    before: str
    now: str


def compared(
    old: Matrix, new: Matrix, again: Callable[[Cell], Cell] | None = None
) -> list[Difference]:
    """What is worse, better, new or gone in the later matrix.

    Args:
        again: looks at a cell a second time; where it says something else than the first time, the
            difference is called flaky.
    """
    was = {cell.plugins: cell for cell in old.cells}
    now = {cell.plugins: cell for cell in new.cells}
    found = []
    for plugins, cell in now.items():
        if plugins not in was:
            found.append(_difference(cell.plugins, "new", None, cell))
        elif (change := _change(was[plugins], cell)) is not None:
            flaky = again is not None and _change(cell, again(cell)) is not None
            found.append(_difference(plugins, "flaky" if flaky else change, was[plugins], cell))
    missing = [cell for plugins, cell in was.items() if plugins not in now]
    found += [_difference(cell.plugins, "gone", cell, None) for cell in missing]
    return found


#: Which verdict is better, for those that composition does not refuse by design.
_RANK = {"broken": 0, "refused": 1, "sound": 2}


def _change(before: Cell, now: Cell) -> Literal["regressed", "mended"] | None:
    ranks = (_RANK[before.status], _RANK[now.status])
    if ranks[0] != ranks[1]:
        return "mended" if ranks[1] > ranks[0] else "regressed"
    both = set(before.invariants) & set(now.invariants)
    lost = {name for name in both if name in now.lost and name not in before.lost}
    kept = {name for name in both if name in before.lost and name not in now.lost}
    return "regressed" if lost else "mended" if kept else None


def _difference(
    plugins: tuple[str, ...], change: Change, before: Cell | None, now: Cell | None
) -> Difference:
    words = [
        "" if cell is None else f"{cell.word} ({'; '.join(cell.says())})" for cell in (before, now)
    ]
    return Difference(plugins=plugins, change=change, before=words[0], now=words[1])
