"""docs/compatibility.md: a matrix as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from aecore.matrix.cells import Cell
from aecore.matrix.record import Matrix

HEAD = Path(__file__).parent / "parts" / "compatibility.md"


def page(matrix: Matrix) -> str:
    """The whole page."""
    head = HEAD.read_text(encoding="utf-8")
    parts = [head, _counts(matrix), _rows(matrix), _invariants(matrix), _anyway(matrix)]
    return "\n".join(part for part in parts if part)


def _counts(matrix: Matrix) -> str:
    counts, cells = matrix.counts(2), matrix.of(2)
    lines = [f"## {len(cells)} pairs", "", _line(["", "pairs", ""]), _line(["---"] * 3)]
    for verdict, number in counts.items():
        lines.append(_line([verdict, str(number), MEANING.get(verdict, "")]))
    return "\n".join(lines) + "\n"


#: What a verdict means.
MEANING = {
    "sound": "trained, and each matters",
    "broken": "composes, and does not train as it should",
    "refused: owners": "both own a hook that has one owner",
    "refused: needs": "what one needs of posterior, prior, divergence or gradient, the other does "
    "not give",
    "refused: base": "one would change an autoencoder that the other works over as it is",
    "refused: corpus": "one needs pairs, the other labels; or the autoencoder frozen and trained",
    "refused: space": "their latent spaces are two",
}


def _rows(matrix: Matrix) -> str:
    """A row for each plugin: with whom it goes, and with whom not."""
    heads = ["plugin", "goes with", "both own a hook with", "refused for other reasons with"]
    lines = ["## Plugin by plugin", "", _line(heads), _line(["---"] * len(heads))]
    for name in matrix.plugins:
        with_it = [cell for cell in matrix.of(2) if name in cell.plugins]
        owners = [cell for cell in with_it if cell.kind == "owners"]
        rest = [cell for cell in with_it if cell.status != "sound" and cell.kind != "owners"]
        sound = [cell for cell in with_it if cell.status == "sound"]
        lines.append(
            _line([f"`{name}`", *(_others(name, group) for group in (sound, owners, rest))])
        )
    return "\n".join(lines) + "\n"


def _others(name: str, cells: Iterable[Cell]) -> str:
    names = dict.fromkeys(other for cell in cells for other in cell.plugins if other != name)
    return ", ".join(f"`{other}`" for other in names) or "-"


def _invariants(matrix: Matrix) -> str:
    """What each plugin keeps up: alone, in how many pairs, and where it does not."""
    found = matrix.invariants()
    if not found:
        return ""
    heads = ["invariant", "what it says", "alone", "kept in company"]
    lines = ["## What each keeps up in company", "", _line(heads), _line(["---"] * len(heads))]
    for name, cells in found.items():
        alone = [cell for cell in cells if len(cell.plugins) == 1]
        pairs = [cell for cell in cells if len(cell.plugins) == 2]
        kept = [cell for cell in pairs if cell.invariants[name].kept]
        single = "; ".join(_found(cell, name) for cell in alone) or "-"
        lines.append(
            _line([f"`{name}`", matrix.says.get(name, ""), single, f"{len(kept)} of {len(pairs)}"])
        )
    return "\n".join([*lines, "", *_lost(found)])


def _found(cell: Cell, name: str) -> str:
    kept = cell.invariants[name]
    return kept.found if kept.kept else f"not kept: {kept.found}"


def _lost(found: dict[str, list[Cell]]) -> list[str]:
    rows = [
        [f"`{name}`", _company(cell), cell.invariants[name].found]
        for name, cells in found.items()
        for cell in cells
        if not cell.invariants[name].kept
    ]
    if not rows:
        return ["All are kept in every company.\n"]
    heads = ["not kept", "in", "measured"]
    return [_line(heads), _line(["---"] * 3), *map(_line, rows), ""]


def _anyway(matrix: Matrix) -> str:
    """Refusals that rest on meaning: where nothing breaks when it is trained all the same."""
    cells = [cell for cell in matrix.of(2) if cell.anyway == ()]
    if not cells:
        return ""
    lines = [
        "## Refused, though it would run",
        "",
        "Pairs whose needs are not met were trained all the same, to see what a refusal spares. "
        "In these nothing breaks and both have an effect, so that the refusal rests on what the "
        "figures would mean: a set point in nats for a penalty that is no divergence, say.",
        "",
        _line(["pair", "refused because"]),
        _line(["---"] * 2),
    ]
    by_reason = sorted(cells, key=lambda cell: _need(cell.reason))
    for reason, group in groupby(by_reason, key=lambda cell: _need(cell.reason)):
        lines.append(_line([", ".join(_company(cell) for cell in group), reason]))
    return "\n".join(lines) + "\n"


def _need(reason: str) -> str:
    """The need without who gives what: equal in all pairs that it refuses."""
    return reason.partition(";")[0] if " needs: " in reason else "the autoencoder is there already"


def _company(cell: Cell) -> str:
    return " + ".join(f"`{name}`" for name in cell.plugins)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
