"""A composition as data, for ``aecore compose``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aecore.catalogue import Catalogue, normalise
from aecore.composition import DEFAULTS, Composition, compose
from aecore.hookspec import HOOKS
from aecore.manifest import GIVEN_BY


def described(
    names: Sequence[str], settings: Mapping[str, Any], registries: Iterable[Path] = ()
) -> dict[str, Any]:
    """Who answers what; reading settings, which may refine needs, imports the plugin."""
    composition = _composed(
        [name for name in names if normalise(name) != DEFAULTS], settings, registries
    )
    return {
        "plugins": list(composition.names),
        "hooks": {hook: composition.implementers(hook) for hook in HOOKS},
        "levels": {word: _plain(level) for word, level in composition.levels.items()},
        "given_by": {word: _giver(composition, word) for word in composition.levels},
        "batching": composition.batching,
        "select_on": composition.select_on,
    }


def _composed(
    names: Sequence[str], settings: Mapping[str, Any], registries: Iterable[Path]
) -> Composition:
    catalogue = Catalogue.discover(registries)
    if not settings:
        return compose([catalogue.part(name) for name in names], catalogue.defaults)
    from aecore.assembly import assemble
    from aecore.runs.config import build_config

    return assemble(build_config(None, {}, settings, names).plugins, catalogue).composition


def _plain(level: str | frozenset[str]) -> str | list[str]:
    return sorted(level) if isinstance(level, frozenset) else level


def _giver(composition: Composition, word: str) -> str:
    owners = [composition.owners[hook] for hook in GIVEN_BY[word] if hook in composition.owners]
    named = [
        part.name
        for part in composition.parts
        if part.name in owners and word in part.manifest.provides.stated()
    ]
    return named[0] if named else DEFAULTS


def hook_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Hook, kind, who answers."""
    return [[hook, HOOKS[hook].kind, ", ".join(found["hooks"][hook]) or "-"] for hook in HOOKS]


def level_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Capability, level, whose it is."""
    return [
        [word, level_text(level), found["given_by"][word]]
        for word, level in found["levels"].items()
    ]


def level_text(level: str | Sequence[str]) -> str:
    """A level as a cell."""
    return level if isinstance(level, str) else " and ".join(level) or "nothing"
