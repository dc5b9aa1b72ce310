"""The templates of `aecore.scaffold.parts` as text: one worked method per hook, and its tests."""

from __future__ import annotations

import re
import textwrap
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aecore.hookspec import HOOKS

#: The name that the class of a template has.
PLACEHOLDER = "Method"


@dataclass(frozen=True)
class Template:
    """One worked method in pieces of text, as they are indented in its file.

    Attributes:
        summary, formula: the first lines of the module's and of the class's docstring.
        table: provides and requires of plugin.toml; because, why a hook comes with another.
        imports: import statements, without that of annotations.
        base: what Config is derived from.
        roles: the items of the class's dictionary of roles.
        build: statements of the constructor.
    """

    hooks: tuple[str, ...]
    summary: str
    table: dict[str, Any]
    imports: tuple[str, ...]
    formula: str
    base: str
    settings: str
    roles: str
    build: str
    methods: str
    tests: str


@cache
def templates() -> tuple[Template, ...]:
    """All of them, those with the fewest hooks first."""
    files = sorted((Path(__file__).parent / "parts").glob("[a-z]*.py"))
    found = (read(file.read_text(encoding="utf-8")) for file in files)
    return tuple(sorted(found, key=lambda template: len(template.hooks)))


def chosen_for(hooks: Iterable[str]) -> list[Template]:
    """The templates that cover these hooks, in the order of the contract."""
    wanted, covered = set(hooks), set[str]()
    chosen = []
    for hook in HOOKS:
        if hook in wanted - covered:
            template = next(template for template in templates() if hook in template.hooks)
            covered |= set(template.hooks)
            chosen.append(template)
    return chosen


def read(source: str) -> Template:
    """Cut a template at the lines that every one of them has."""
    docstring, _, rest = source.removeprefix('"""').partition('"""\n')
    imports, _, rest = rest.partition(f"\n\n\nclass {PLACEHOLDER}(Plugin):\n")
    formula, _, rest = rest.partition("\n\n    class Config(")
    base, _, rest = rest.partition('):\n        """Settings."""\n\n')
    settings, _, rest = rest.partition("\n\n    config: Config\n")
    head, _, rest = rest.partition("    @hookimpl\n")
    methods, _, rest = rest.partition("\n\n\ndef method(")
    summary, _, table = docstring.partition("\n")
    hooks = re.findall(r"@hookimpl\n    def (\w+)", f"    @hookimpl\n{methods}")
    return Template(
        hooks=tuple(sorted(hooks, key=list(HOOKS).index)),
        summary=summary.rstrip("."),
        table=tomllib.loads(textwrap.dedent(table)),
        imports=tuple(re.findall(r"^(?:import|from) (?!__future__).*$", imports, re.MULTILINE)),
        formula=formula.strip().strip('"'),
        base=base,
        settings=settings,
        roles="".join(re.findall(r"^    roles = \{(.*)\}$", head, re.MULTILINE)),
        build=head.partition("super().__init__(config, sizes)\n")[2].rstrip(),
        methods=f"    @hookimpl\n{methods}",
        tests=rest.partition("\n\n\n")[2].rstrip(),
    )
