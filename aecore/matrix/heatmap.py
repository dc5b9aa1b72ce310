"""A matrix as one HTML page: a square for each pair, and its reason where the reader points."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from string import Template

from aecore.matrix.cells import Cell
from aecore.matrix.record import Matrix

PARTS = Path(__file__).parent / "parts"
#: Class of a square -> what it means, in the order of the legend.
LEGEND = {
    "kept": "sound, and every invariant kept",
    "sound": "sound",
    "lost": "sound, but an invariant is not kept",
    "needs": "refused: a need is not met",
    "owners": "refused: both own a hook",
    "other": "refused: base, corpus or space",
    "broken": "broken",
}


def heatmap(matrix: Matrix, title: str = "Which plugins go together") -> str:
    """The whole page, which refers to nothing outside of itself.

    The diagonal is each plugin alone; a pair in two orders is one square, of the worse of them.
    """
    cells = [*matrix.of(1), *matrix.of(2)]
    data = [{"name": c.name, "word": c.word, "says": c.says()} for c in cells]
    where: dict[frozenset[str], list[int]] = {}
    for number, cell in enumerate(cells):
        where.setdefault(frozenset(cell.plugins), []).append(number)
    counts = ", ".join(f"{number} {verdict}" for verdict, number in matrix.counts(2).items())
    legend = "".join(
        f'<li><i class="{word}"></i>{escape(meaning)}</li>' for word, meaning in LEGEND.items()
    )
    known = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    return Template((PARTS / "heatmap.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        counts=escape(counts),
        legend=legend,
        table=_table(matrix, cells, where),
        cells=known,
    )


def _table(matrix: Matrix, cells: list[Cell], where: dict[frozenset[str], list[int]]) -> str:
    names = [name for name in matrix.plugins if any(name in cell.plugins for cell in cells)]
    heads = "".join(f"<th><span>{escape(name)}</span></th>" for name in names)
    rows = [f"<thead><tr><th></th>{heads}</tr></thead><tbody>"]
    for one in names:
        squares = "".join(_square(one, other, cells, where) for other in names)
        rows.append(f"<tr><th>{escape(one)}</th>{squares}</tr>")
    return "".join([*rows, "</tbody>"])


def _square(one: str, other: str, cells: list[Cell], where: dict[frozenset[str], list[int]]) -> str:
    numbers = where.get(frozenset({one, other}))
    if numbers is None:
        return '<td class="none"></td>'
    worst = max((_class(cells[number]) for number in numbers), key=list(LEGEND).index)
    label = f"{one} and {other}: {LEGEND[worst]}" if one != other else f"{one}: {LEGEND[worst]}"
    sign = {"lost": "!", "broken": "×"}.get(worst, "")
    listed = " ".join(map(str, numbers))
    return (
        f'<td><button class="{worst}" data-cells="{listed}" aria-label="{escape(label)}" '
        f'title="{escape(label)}">{sign}</button></td>'
    )


def _class(cell: Cell) -> str:
    if cell.status == "broken":
        return "broken"
    if cell.status == "refused":
        return cell.kind if cell.kind in LEGEND else "other"
    if cell.lost:
        return "lost"
    return "kept" if cell.invariants else "sound"
