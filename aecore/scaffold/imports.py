"""Import statements as ruff would lay them out: only what the code uses, sorted, folded at 88 columns."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator

from aecore.scaffold.exemplars import Import

WIDTH = 88


def import_block(offered: Iterable[Import], code: str, own: Import | None = None) -> str:
    """The imports that ``code`` needs, and ``own`` as a section of its own behind the others."""
    names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    used = {found for found in offered if found.bound in names}
    standard = {
        found for found in used if found.module.partition(".")[0] in sys.stdlib_module_names
    }
    sections = [standard, used - standard, {own} if own else set()]
    texts = ["\n".join(_statements(section)) for section in sections if section]
    return "\n\n".join(["from __future__ import annotations", *texts])


def _statements(section: set[Import]) -> Iterator[str]:
    """``import`` first, then ``from`` by module; what is renamed stands alone."""
    plain = [found for found in section if not found.name]
    yield from (f"import {found.module}" for found in sorted(plain, key=lambda found: found.module))
    for module in sorted({found.module for found in section if found.name}):
        found = [entry for entry in section if entry.module == module and entry.name]
        together = sorted((entry.name for entry in found if not entry.alias), key=_rank)
        if together:
            yield _folded(module, together)
        yield from (
            f"from {module} import {entry.name} as {entry.alias}" for entry in found if entry.alias
        )


def _rank(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2), name


def _folded(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"from {module} import (", *(f"    {name}," for name in names), ")"])
