"""``aecore matrix``: the table, the file, the picture, and the comparison with an earlier one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from aecore.executor import Processes, cores
from aecore.matrix.build import again
from aecore.matrix.cells import Cell
from aecore.matrix.heatmap import heatmap
from aecore.matrix.record import Difference, Matrix, compared
from aecore.runs.files import write_atomic
from aecore_cli.show import print_json, print_table

#: The columns of the table: heads and which cells they count.
COLUMNS: dict[str, Callable[[Cell], bool]] = {
    "sound": lambda cell: cell.status == "sound",
    "owners": lambda cell: cell.status == "refused" and cell.kind == "owners",
    "needs": lambda cell: cell.status == "refused" and cell.kind == "needs",
    "other": lambda cell: cell.status == "refused" and cell.kind not in {"owners", "needs"},
    "broken": lambda cell: cell.status == "broken",
}


def pace(show: Callable[[str], None]) -> Callable[[int, int, str], None]:
    """A listener that says how far it is and how long it takes."""
    began = time.monotonic()
    first: list[int] = []

    def tell(done: int, total: int, name: str) -> None:
        nonlocal began
        if done == 1:
            first[:] = [total]
            began = time.monotonic()
        rate = (time.monotonic() - began) / max(1, done - 1)
        left = int(rate * (total - done))
        show(f"{done}/{total}  ETA {left // 60}:{left % 60:02d}  {name}")

    return tell


def rows(matrix: Matrix) -> list[list[str]]:
    """A row for each plugin: its pairs by verdict, and invariants kept in them."""
    found = []
    for name in matrix.plugins:
        cells = [cell for cell in matrix.of(2) if name in cell.plugins]
        counts = [str(sum(map(holds, cells))) for holds in COLUMNS.values()]
        own = [
            kept.kept
            for cell in cells
            for key, kept in cell.invariants.items()
            if key.partition(".")[0] == name
        ]
        if cells:
            found.append([name, *counts, f"{sum(own)}/{len(own)}" if own else "-"])
    return found


def row_of(matrix: Matrix) -> list[list[str]]:
    """Company, verdict and reason of every cell: what is printed of a single row."""
    return [[cell.name, cell.word, "; ".join(cell.says())] for cell in matrix.cells]


def remarks(matrix: Matrix) -> list[str]:
    """Counts, then every broken cell and every invariant that is not kept, with evidence."""
    lines = []
    for size, word in ((1, "plugins"), (2, "pairs"), (3, "triples")):
        if counts := matrix.counts(size):
            told = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
            lines.append(f"{len(matrix.of(size))} {word}: {told}")
    for cell in matrix.cells:
        if cell.status == "broken":
            lines += ["", f"{cell.name} is broken", *(f"  {line}" for line in cell.wrong)]
        for name in cell.lost:
            lines += ["", f"{cell.name} does not keep {name}: {cell.invariants[name].found}"]
    return lines


def draw(matrix: Matrix, path: Path) -> None:
    """Write the heat map."""
    write_atomic(path, heatmap(matrix).encode())


def differences(path: Path, matrix: Matrix, workers: int | None) -> list[Difference]:
    """What has changed since the matrix in a file; what has is looked at twice."""
    old = Matrix.read(path)
    seen = {cell.plugins for cell in matrix.cells}
    if len(matrix.cells) < len(old.cells):  # a row is compared with that row
        mine = set.intersection(*({*plugins} for plugins in seen)) if seen else set()
        kept = tuple(cell for cell in old.cells if mine <= {*cell.plugins})
        old = old.model_copy(update={"cells": kept})
    return compared(old, matrix, again(Processes(workers or cores())))


def difference_rows(found: list[Difference]) -> list[list[str]]:
    """Change, company, before, now."""
    return [[one.change, "+".join(one.plugins), one.before, one.now] for one in found]


def show(matrix: Matrix, changes: list[Difference], single: bool, as_json: bool) -> None:
    """Print the matrix, and what has changed."""
    if as_json:
        found = matrix.model_dump(mode="json")
        print_json({**found, "changes": [one.model_dump(mode="json") for one in changes]})
        return
    if single:
        print_table(["company", "verdict", "because"], row_of(matrix))
    else:
        heads = ["plugin", *COLUMNS, "kept"]
        print_table(heads, rows(matrix), right=heads[1:])
    print("\n" + "\n".join(remarks(matrix)))
    if changes:
        print()
        print_table(["change", "company", "before", "now"], difference_rows(changes))
