"""The files of a new plugin as text, made of the templates that were chosen."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aecore import __version__
from aecore.composition import reaches
from aecore.hookspec import API, HOOKS
from aecore.manifest import LEVELS
from aecore.scaffold import texts
from aecore.scaffold.naming import Names
from aecore.scaffold.templates import PLACEHOLDER, Template

#: Columns of the generated code.
WIDTH = 88


@dataclass(frozen=True)
class Draft:
    """What is known about the new plugin before any file is written."""

    names: Names
    parts: Sequence[Template]

    @property
    def hooks(self) -> tuple[str, ...]:
        """The hooks that it implements, in the order of the contract."""
        found = {hook for part in self.parts for hook in part.hooks}
        return tuple(hook for hook in HOOKS if hook in found)

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        if len(self.parts) == 1:
            return self.parts[0].summary
        return f"A method of {len(self.parts)} worked examples, to be replaced by an idea"

    def files(self) -> dict[str, str]:
        """Path in the distribution's folder -> text."""
        package = f"src/{self.names.package}"
        return {
            "pyproject.toml": self._filled(texts.PYPROJECT),
            "README.md": self._filled(texts.README),
            f"{package}/__init__.py": self._filled(texts.MODULE, **self._module()),
            f"{package}/plugin.toml": self._filled(texts.MANIFEST, tables=self._tables()),
            f"tests/test_{self.names.name}.py": self._filled(texts.TESTS, **self._tests()),
        }

    def _filled(self, text: str, **more: str) -> str:
        """A frame with its ``@words@``, and the class's name for the placeholder."""
        names, setting = self.names, self.parts[0].settings.strip()
        values = {
            "name": names.name,
            "distribution": names.distribution,
            "package": names.package,
            "cls": names.cls,
            "summary": self.summary,
            "requirement": requirement(),
            "api": f">={API},<{API + 1}",
            "hooks": _folded("", [_toml(hook) for hook in self.hooks], "[]"),
            "setting": setting.partition(":")[0],
            "value": re.split(r"[(,]", setting)[1],
            **more,
        }
        found = re.sub(r"@(\w+)@(?!\w)", lambda match: values.get(match[1], match[0]), text)
        return re.sub(rf"\b{PLACEHOLDER}\b", names.cls, found).rstrip() + "\n"

    def _joined(self, piece: Callable[[Template], str], between: str) -> str:
        return between.join(text for text in map(piece, self.parts) if text)

    def _module(self) -> dict[str, str]:
        roles = self._joined(lambda part: part.roles, ", ")
        build = self._joined(lambda part: part.build, "\n")
        code = {
            "formula": _docstring([part.formula for part in self.parts]),
            "base": min(part.base for part in self.parts),  # CriticConfig is a PluginConfig
            "settings": self._joined(lambda part: part.settings, "\n"),
            "roles": f"\n{_folded('    roles = ', roles.split(', '), '{}')}" if roles else "",
            "constructor": f"\n{texts.CONSTRUCTOR}{build}\n" if build else "",
            "methods": self._joined(lambda part: part.methods, "\n\n"),
        }
        offered = [line for part in self.parts for line in part.imports]
        used = "\n".join([texts.MODULE, *code.values()])
        return {**code, "imports": "\n".join(imports(offered, used))}

    def _tests(self) -> dict[str, str]:
        code = self._joined(lambda part: part.tests, "\n\n\n")
        offered = [line for part in self.parts for line in part.imports]
        found = imports([*offered, *texts.IMPORTS], f"{texts.TESTS}\n{code}")
        own = ["", f"from {self.names.package} import {PLACEHOLDER}"]
        return {"tests": code, "imports": "\n".join([*found, *own])}

    def _tables(self) -> str:
        """``provides``, then what it still ``requires`` of others: the highest level of each."""
        provides: dict[str, Any] = {}
        requires: dict[str, Any] = {}
        for part in self.parts:
            provides |= part.table.get("provides", {})
            for word, least in part.table.get("requires", {}).items():
                requires[word] = _higher(word, requires.get(word, least), least)
        needed = {
            word: least
            for word, least in requires.items()
            if not reaches(word, _level(provides.get(word)), _level(least))
        }
        blocks = [
            f"\n[{self.names.name}.{head}]\n"
            + "".join(f"{word} = {_toml(value)}\n" for word, value in table.items())
            for head, table in (("provides", provides), ("requires", needed))
            if table
        ]
        return "".join(blocks)


def requirement() -> str:
    """The aecore that the plugin is written for: ``aecore>=0.1,<0.2``."""
    major, minor = (int(part) for part in __version__.split(".")[:2])
    return f"aecore>={major}.{minor},<{major}.{minor + 1}"


def imports(offered: Iterable[str], code: str) -> Iterator[str]:
    """The import statements of ``offered`` whose names ``code`` uses, merged and sorted."""
    modules: dict[str, set[str]] = {}
    for line in offered:
        source, _, names = line.partition(" import ")
        for name in names.split(", ") if names else [""]:
            bound = name.rpartition(" ")[2] or line.removeprefix("import ")
            if re.search(rf"(?<![\w.]){bound}\b", code):
                modules.setdefault(source, set()).add(name)
    yield "from __future__ import annotations"
    for standard in (True, False):
        found = [m for m in modules if (m.split()[1].split(".")[0] in _STANDARD) == standard]
        yield from [""] if found else []
        for module in sorted(found, key=lambda module: (module.startswith("from"), module)):
            yield from _statements(module, sorted(modules[module], key=_rank))


_STANDARD = sys.stdlib_module_names


def _statements(module: str, names: Sequence[str]) -> Iterator[str]:
    together = [name for name in names if name and " as " not in name]
    if names == [""]:
        yield module
    if together:
        yield _folded(f"{module} import ", together, "()" if len(together) > 1 else "")
    yield from (f"{module} import {name}" for name in names if " as " in name)


def _rank(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2), name


def _folded(head: str, items: Sequence[str], brackets: str) -> str:
    """``head`` and its items, in a line or a line each; round brackets only round the latter."""
    always = brackets in ("[]", "{}")
    begin, end = (brackets[0], brackets[1]) if brackets else ("", "")
    line = f"{head}{begin if always else ''}{', '.join(items)}{end if always else ''}"
    if len(line) <= WIDTH - 8 or not brackets:
        return line
    margin = " " * (len(head) - len(head.lstrip()))
    return "\n".join([head + begin, *(f"{margin}    {item}," for item in items), margin + end])


def _docstring(formulas: Sequence[str]) -> str:
    first, *others = formulas
    lines = [f'"""{first}"""'] if not others else [f'"""{first}', "", *others, '"""']
    return "\n".join(f"    {line}" if line else "" for line in lines)


def _higher(word: str, one: Any, other: Any) -> Any:
    """The union of two lists, or the higher of two levels."""
    if isinstance(one, list):
        return sorted({*one, *other})
    order = LEVELS.get(word, ())
    return max(one, other, key=lambda level: order.index(level) if level in order else 0)


def _level(value: Any) -> Any:
    return frozenset(value) if isinstance(value, list) else value


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return f"[{', '.join(_toml(item) for item in value)}]"
