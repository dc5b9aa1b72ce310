"""docs/compatibility.md: the recorded matrix as a page, once composition still says the same."""

from __future__ import annotations

import sys
from pathlib import Path

from aecore.catalogue import Catalogue
from aecore.matrix.companies import companies, refusal
from aecore.matrix.page import page
from aecore.matrix.record import Matrix


def compatibility(file: Path) -> str:
    """The page; exits where the installed plugins are others, or decide otherwise."""
    matrix, catalogue = Matrix.read(file), Catalogue.discover()
    ours = [company for size in (1, 2) for company in companies(catalogue, size)]
    recorded = {cell.plugins: cell for cell in matrix.cells}
    apart = sorted({"+".join(one) for one in {*ours} ^ {*recorded}})
    for company in set(ours) & set(recorded):
        kind, _ = refusal(company, catalogue) or ("", "")
        if kind != recorded[company].kind:
            apart.append("+".join(company))
    if apart:
        shown = ", ".join(apart[:5]) + (f" and {len(apart) - 5} more" if len(apart) > 5 else "")
        print(f"{file.name} is of other plugins or manifests: {shown}", file=sys.stderr)
        print(f"to make it again: aecore matrix --evidence --out {file}", file=sys.stderr)
        sys.exit(1)
    return page(matrix)
