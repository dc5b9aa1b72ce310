"""Plugins as data, for ``aecore plugins``; nothing is imported unless it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aecore.catalogue import Catalogue, Entry, Listing, hook_kinds, normalise
from aecore.composition import DEFAULTS
from aecore.errors import AecoreError
from aecore.manifest import LEVELS, Capabilities, Paper
from aecore_cli.composing import level_text
from aecore_cli.settings import read_settings

Described = dict[str, Any]
NOT_INSTALLED = "not installed"


def listed(load: bool, registries: Iterable[Path] = ()) -> tuple[list[Described], list[str]]:
    """Every plugin that is installed or known; and what is wrong with the registries."""
    catalogue = Catalogue.discover(registries)
    entries = [_tried(catalogue, entry) if load else entry for entry in catalogue.entries.values()]
    known = {
        name: listing for name, listing in catalogue.known.items() if name not in catalogue.entries
    }
    found = [
        *map(described, entries),
        *(_described_listing(name, listing) for name, listing in known.items()),
    ]
    return [_with_origin(plugin, catalogue) for plugin in found], catalogue.registries.warnings()


def informed(name: str, registries: Iterable[Path] = ()) -> Described:
    """One plugin with its settings, and why it is broken where it is.

    Raises:
        CompositionError: when no plugin of the name is installed or known.
    """
    catalogue, name = Catalogue.discover(registries), normalise(name)
    if name not in catalogue.entries and name in catalogue.known:
        found = {**_described_listing(name, catalogue.known[name]), "settings": []}
    else:
        if name not in catalogue.entries:
            catalogue.entry(name)
        entry = _tried(catalogue, catalogue.entries[name])
        settings = read_settings(catalogue.load(name).Config) if entry.status == "ok" else []
        found = {**described(entry), "settings": settings}
    return _with_origin(found, catalogue)


def _with_origin(plugin: Described, catalogue: Catalogue) -> Described:
    """The registry that lists it, where one does."""
    origin = catalogue.registries.origins.get(plugin["name"])
    return {**plugin, "registry": None if origin is None else str(origin)}


def _tried(catalogue: Catalogue, entry: Entry) -> Entry:
    """The entry, broken if its import fails."""
    if entry.status != "ok":
        return entry
    try:
        catalogue.load(entry.name)
    except AecoreError as error:
        return replace(entry, status="broken", problem=str(error))
    return entry


def described(entry: Entry) -> Described:
    """What the manifest says."""
    manifest = entry.manifest
    return {
        "name": entry.name,
        "status": entry.status,
        "distribution": entry.distribution,
        "version": entry.version,
        "summary": manifest.summary if manifest else "",
        "paper": _paper(manifest.paper if manifest else None),
        "hooks": list(manifest.hooks) if manifest else [],
        "requires": _capabilities(manifest.requires if manifest else None),
        "provides": _capabilities(manifest.provides if manifest else None),
        "batching": manifest.batching if manifest else None,
        "problem": entry.problem,
        "install": None,
    }


def _described_listing(name: str, listing: Listing) -> Described:
    """What the registry says of a plugin that is not installed."""
    return {
        "name": name,
        "status": NOT_INSTALLED,
        "distribution": listing.distribution,
        "version": "",
        "summary": listing.summary,
        "paper": _paper(listing.paper),
        "hooks": list(listing.hooks),
        "requires": {},
        "provides": {},
        "batching": None,
        "problem": "",
        "install": listing.install,
    }


def _paper(paper: Paper | None) -> Described | None:
    return paper.model_dump() if paper else None


def _capabilities(capabilities: Capabilities | None) -> dict[str, str | list[str]]:
    stated = capabilities.stated() if capabilities else {}
    return {
        word: sorted(level) if isinstance(level, frozenset) else level
        for word, level in stated.items()
    }


def table_rows(found: list[Described]) -> list[list[str]]:
    """Name, version, hooks, paper, status."""
    return [[p["name"], p["version"] or "-", _hooks(p), _venue(p), p["status"]] for p in found]


def _hooks(plugin: Described) -> str:
    """The hooks by name; the defaults own every owner hook, which says it all."""
    return "every owner hook" if plugin["name"] == DEFAULTS else ", ".join(plugin["hooks"]) or "-"


def _venue(plugin: Described) -> str:
    paper = plugin["paper"]
    return f"{paper['venue']} {paper['year']}" if paper else "-"


def problems(found: list[Described]) -> list[str]:
    """A line for each plugin that cannot be used, and where to read more."""
    bad = [p for p in found if p["problem"]]
    if not bad:
        return []
    lines = [f"  {p['name']}: {p['problem'].splitlines()[0]}" for p in bad]
    return [
        "",
        *lines,
        f"aecore plugins info {bad[0]['name'] if len(bad) == 1 else 'NAME'} explains",
    ]


def facts(plugin: Described) -> list[tuple[str, str]]:
    """Name and text of what ``info`` shows above the settings."""
    paper = plugin["paper"]
    cited = (
        f"{paper['title']}\n{paper['venue']} {paper['year']}, {paper['url']}".rstrip(", ")
        if paper
        else "-"
    )
    found = [
        ("status", f"{plugin['status']}\n{plugin['problem']}".rstrip()),
        ("paper", cited),
        ("distribution", f"{plugin['distribution']} {plugin['version']}".rstrip()),
        ("hooks", "\n".join(hook_kinds(tuple(plugin["hooks"]))) or "-"),
    ]
    if plugin["registry"]:
        found.insert(3, ("registry", plugin["registry"]))
    if plugin["batching"]:
        found += [
            ("requires", _needs(plugin)),
            ("provides", _gives(plugin)),
            ("batches", plugin["batching"]),
        ]
    return found


def _needs(plugin: Mapping[str, Any]) -> str:
    lines = []
    for word, level in plugin["requires"].items():
        better = " or better" if word in LEVELS and level != LEVELS[word][-1] else ""
        lines.append(f"{word} {level_text(level)}{better}")
    return "\n".join(lines) or "nothing"


def _gives(plugin: Mapping[str, Any]) -> str:
    return (
        "\n".join(f"{word} {level_text(level)}" for word, level in plugin["provides"].items())
        or "nothing of its own"
    )


def setting_rows(plugin: Described) -> list[list[str]]:
    """Setting, type, default, range, meaning."""
    return [
        [s["name"], s["type"], s["default_text"], s["range"], s["description"]]
        for s in plugin["settings"]
    ]


def usage(plugin: Described) -> list[str]:
    """How to use it, or how to get it."""
    if plugin["install"]:
        return ["", f"to install it: {plugin['install']}"]
    if plugin["status"] != "ok":
        return []
    if plugin["name"] == DEFAULTS:
        return ["", "it is part of every run: aecore train"]
    settings = [s for s in plugin["settings"] if s["default_text"] not in {"-", "required"}]
    example = (
        f" --set {plugin['name']}.{settings[0]['name']}={settings[0]['default_text']}"
        if settings
        else ""
    )
    return ["", f"to use it: aecore train --plugin {plugin['name']}{example}"]
