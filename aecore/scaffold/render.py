"""The files of a new plugin as text, made of the worked methods that were chosen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aecore import __version__
from aecore.composition import reaches
from aecore.hookspec import API, HOOKS
from aecore.manifest import LEVELS
from aecore.scaffold import texts
from aecore.scaffold.exemplars import CRITIC_CONFIG, PLACEHOLDER, Exemplar, Import
from aecore.scaffold.imports import import_block
from aecore.scaffold.naming import Names


@dataclass(frozen=True)
class Draft:
    """What is known about the new plugin before any file is written."""

    names: Names
    parts: Sequence[Exemplar]

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
        n = self.names
        package = f"src/{n.package}"
        return {
            "pyproject.toml": self._filled(texts.PYPROJECT),
            "README.md": self._filled(texts.README),
            f"{package}/__init__.py": module(self),
            f"{package}/plugin.toml": manifest(self),
            f"{package}/py.typed": "",
            f"tests/test_{n.name}.py": tests(self),
        }

    def _filled(self, text: str) -> str:
        setting = _settings(self.parts)[0]
        n = self.names
        values = {
            "name": n.name,
            "distribution": n.distribution,
            "package": n.package,
            "cls": n.cls,
            "summary": self.summary,
            "requirement": requirement(),
            "setting": setting.partition(":")[0],
            "value": re.split(r"[(,]", setting)[1],
        }
        return re.sub(r"@(\w+)@", lambda match: values[match[1]], text)


def requirement() -> str:
    """The aecore that the plugin is written for: ``aecore>=0.1,<0.2``."""
    major, minor = (int(part) for part in __version__.split(".")[:2])
    return f"aecore>={major}.{minor},<{major}.{minor + 1}"


def _settings(parts: Sequence[Exemplar]) -> list[str]:
    return [text for part in parts for text in part.settings]


def _indented(lines: Sequence[str], depth: int) -> str:
    margin = "    " * depth
    return "\n".join(
        f"{margin}{line}" if line else "" for text in lines for line in text.split("\n")
    )


def module(draft: Draft) -> str:
    """``__init__.py``."""
    parts = draft.parts
    base = CRITIC_CONFIG if any(part.base == CRITIC_CONFIG for part in parts) else "PluginConfig"
    blocks = [
        _docstring([part.formula for part in parts]),
        f"class Config({base}):\n{_indented([texts.SETTINGS, *_settings(parts)], 1)}",
        "\n".join(["config: Config", *_roles(parts)]),
        *_constructor(parts),
        *(method for part in parts for method in part.methods),
    ]
    code = "\n".join([f"class {PLACEHOLDER}(Plugin):", _indented(["\n\n".join(blocks)], 1)])
    return _assembled(draft, texts.MODULE, code)


def _docstring(formulas: Sequence[str]) -> str:
    first, *others = formulas
    return f'"""{first}"""' if not others else "\n".join([f'"""{first}', "", *others, '"""'])


def _roles(parts: Sequence[Exemplar]) -> list[str]:
    roles = {name: role for part in parts for name, role in part.roles.items()}
    if not roles:
        return []
    line = f"roles = {{{', '.join(_quoted(*pair) for pair in roles.items())}}}"
    if len(line) <= 84:
        return [line]
    return ["\n".join(["roles = {", *(f"    {_quoted(*pair)}," for pair in roles.items()), "}"])]


def _quoted(name: str, role: str) -> str:
    return f'"{name}": "{role}"'


def _constructor(parts: Sequence[Exemplar]) -> list[str]:
    built = [text for part in parts for text in part.build]
    if not built:
        return []
    head = "def __init__(self, config: PluginConfig, sizes: Sizes) -> None:\n    super().__init__(config, sizes)"
    return [f"{head}\n{_indented(built, 1)}"]


def tests(draft: Draft) -> str:
    """``tests/test_NAME.py``."""
    code = "\n\n\n".join(
        [texts.CONFORMANCE, *(test for part in draft.parts for test in part.tests)]
    )
    return _assembled(draft, texts.TESTS, code, Import(draft.names.package, draft.names.cls))


def _assembled(draft: Draft, frame: str, code: str, own: Import | None = None) -> str:
    """A module: its docstring, the imports that its code uses, the code."""
    n = draft.names
    offered = {found for part in draft.parts for found in part.imports} | texts.IMPORTS
    imports = import_block(offered, code, own)
    text = frame.replace("@imports@", imports).replace("@code@", code)
    text = text.replace("@name@", n.name).replace("@summary@", draft.summary)
    return re.sub(rf"\b{PLACEHOLDER}\b", n.cls, text).rstrip() + "\n"


def manifest(draft: Draft) -> str:
    """``plugin.toml``: what the parts give together, and what they need of others."""
    provides = _joined([part.provides for part in draft.parts])
    requires = _joined([part.requires for part in draft.parts])
    needed = {
        word: least
        for word, least in requires.items()
        if not _meets(word, provides.get(word), least)
    }
    values = {
        "name": draft.names.name,
        "summary": _toml(draft.summary),
        "api": _toml(f">={API},<{API + 1}"),
        "hooks": _hooks(draft.hooks),
        "provides": _table(f"{draft.names.name}.provides", provides),
        "requires": _table(f"{draft.names.name}.requires", needed),
    }
    return re.sub(r"@(\w+)@", lambda match: values[match[1]], texts.MANIFEST)


def _joined(tables: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The highest of each level; lists are united."""
    joined: dict[str, Any] = {}
    for table in tables:
        for word, level in table.items():
            known = joined.get(word, level)
            if isinstance(level, list):
                joined[word] = sorted({*known, *level})
            else:
                joined[word] = max(
                    known,
                    level,
                    key=lambda found: LEVELS[word].index(found) if word in LEVELS else 0,
                )
    return joined


def _meets(word: str, given: Any, least: Any) -> bool:
    one, other = (
        frozenset(level) if isinstance(level, list) else level for level in (given, least)
    )
    return reaches(word, one, other)


def _table(head: str, values: dict[str, Any]) -> str:
    return (
        f"\n[{head}]\n" + "".join(f"{word} = {_toml(value)}\n" for word, value in values.items())
        if values
        else ""
    )


def _hooks(hooks: Sequence[str]) -> str:
    line = _toml(list(hooks))
    return (
        line if len(line) <= 80 else "[\n" + "".join(f"  {_toml(hook)},\n" for hook in hooks) + "]"
    )


def _toml(value: Any) -> str:
    return (
        f'"{value}"' if isinstance(value, str) else f"[{', '.join(_toml(item) for item in value)}]"
    )
