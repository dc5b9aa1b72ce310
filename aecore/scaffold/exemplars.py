"""Reading the worked methods of `aecore.scaffold.parts` as source text, without importing them."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aecore.hookspec import HOOKS

#: The name that the class of a worked method has.
PLACEHOLDER = "Method"
CRITIC_CONFIG = "CriticConfig"


@dataclass(frozen=True)
class Import:
    """One name that an import statement binds."""

    module: str
    name: str
    alias: str = ""

    @property
    def bound(self) -> str:
        """The name that code uses."""
        return self.alias or self.name or self.module


@dataclass(frozen=True)
class Exemplar:
    """One worked method, taken apart; every text begins at the left margin.

    Attributes:
        summary, formula: the first lines of the module's and of the class's docstring.
        because: why hooks that were not asked for come with it.
        settings, build, methods, tests: statements, one text each, of Config, of the constructor,
            of the class, of the tests.
    """

    hooks: tuple[str, ...]
    summary: str
    formula: str
    because: str
    provides: dict[str, Any]
    requires: dict[str, Any]
    imports: tuple[Import, ...]
    base: str
    settings: tuple[str, ...]
    roles: dict[str, str]
    build: tuple[str, ...]
    methods: tuple[str, ...]
    tests: tuple[str, ...]


@cache
def exemplars() -> tuple[Exemplar, ...]:
    """All of them, those with the fewest hooks first."""
    files = sorted((Path(__file__).parent / "parts").glob("[a-z]*.py"))
    return tuple(sorted((_read(file) for file in files), key=lambda part: len(part.hooks)))


def chosen_for(hooks: Iterable[str]) -> list[Exemplar]:
    """The worked methods that cover these hooks, in the order of the contract."""
    wanted, covered = set(hooks), set[str]()
    chosen = []
    for hook in HOOKS:
        if hook in wanted - covered:
            part = next(part for part in exemplars() if hook in part.hooks)
            covered |= set(part.hooks)
            chosen.append(part)
    return chosen


def _read(file: Path) -> Exemplar:
    source = file.read_text(encoding="utf-8")
    module = ast.parse(source)
    (method,) = [node for node in module.body if isinstance(node, ast.ClassDef)]
    classes = [node for node in method.body if isinstance(node, ast.ClassDef)]
    functions = [node for node in method.body if isinstance(node, ast.FunctionDef)]
    hooks = [node.name for node in functions if node.name in HOOKS]
    constants = _constants(module.body)
    return Exemplar(
        hooks=tuple(sorted(hooks, key=list(HOOKS).index)),
        summary=_docstring(module),
        formula=_docstring(method),
        because=constants.get("BECAUSE", ""),
        provides=constants.get("PROVIDES", {}),
        requires=constants.get("REQUIRES", {}),
        imports=tuple(_imports(module.body)),
        base=ast.unparse(classes[0].bases[0]),
        settings=tuple(
            _text(source, node) for node in classes[0].body if isinstance(node, ast.AnnAssign)
        ),
        roles=_constants(method.body).get("roles", {}),
        build=tuple(
            text for node in functions if node.name == "__init__" for text in _build(source, node)
        ),
        methods=tuple(_text(source, node) for node in functions if node.name != "__init__"),
        tests=tuple(_text(source, node) for node in module.body if _is_test(node)),
    )


def _is_test(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_")


def _docstring(node: ast.Module | ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


def _text(source: str, node: ast.stmt) -> str:
    """The lines of a statement with its decorators and the comment behind it."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return textwrap.dedent("\n".join(source.splitlines()[first - 1 : node.end_lineno]))


def _build(source: str, constructor: ast.FunctionDef) -> list[str]:
    """The statements of the constructor behind ``super().__init__``."""
    return [_text(source, node) for node in constructor.body[1:]]


def _constants(body: list[ast.stmt]) -> dict[str, Any]:
    found = {}
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict | ast.Constant):
            (target,) = node.targets
            found[ast.unparse(target)] = ast.literal_eval(node.value)
    return found


def _imports(body: list[ast.stmt]) -> Iterable[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, "", alias.asname or "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            yield from (
                Import(node.module or "", alias.name, alias.asname or "") for alias in node.names
            )
