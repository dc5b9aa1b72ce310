"""The catalogue of plugins, installed and known, by entry points; listing them imports none."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aecore.composition import DEFAULTS, Part
from aecore.errors import AecoreError, CompositionError, closest
from aecore.hookspec import API, HOOKS
from aecore.manifest import Manifest, ManifestError, read_manifest
from aecore.names import RESERVED, check_name, normalise
from aecore.registries import Listing, Registries, read_registry, registry_path

if TYPE_CHECKING:
    from aecore.plugin import Plugin

GROUP = "aecore.plugins"
Status = Literal["ok", "broken", "duplicate", "incompatible"]


@dataclass(frozen=True)
class Entry:
    """An installed plugin: where it comes from, and its manifest or what is wrong with it."""

    name: str
    target: str
    distribution: str
    version: str
    status: Status
    problem: str = ""
    manifest: Manifest | None = None

    @property
    def source(self) -> str:
        """``distribution version``, as errors name it."""
        return f"{self.distribution} {self.version}".strip()


class Catalogue:
    """Installed plugins by name, and the registries' known ones."""

    def __init__(
        self,
        entries: dict[str, Entry],
        known: Mapping[str, Listing],
        registries: Registries | None = None,
    ) -> None:
        self.entries = entries
        self.known = known
        self.registries = registries or Registries(known)

    @classmethod
    def discover(cls, registries: Iterable[str | Path] = ()) -> Catalogue:
        """Read the entry points of the group ``aecore.plugins`` and their manifests.

        Args:
            registries: files that list further plugins; what is wrong with one is kept in
                ``registries.problems``.
        """
        found: dict[str, list[EntryPoint]] = {}
        points, broken = _entry_points()
        for point in points:
            found.setdefault(normalise(point.name), []).append(point)
        entries = {name: _examine(name, points) for name, points in found.items()}
        read = Registries.read(registry_path(), registries)
        return cls(dict(sorted({**broken, **entries}.items())), read.listings, read)

    @cached_property
    def defaults(self) -> Part:
        """The defaults, part of every composition; read from the package, installed or not."""
        manifest = read_manifest(Path(__file__).parent / "plugin.toml", DEFAULTS)
        return Part(DEFAULTS, manifest, "aecore")

    def entry(self, name: str) -> Entry:
        """The usable entry called ``name``.

        Raises:
            CompositionError: when none is installed (with the closest name and the install line) or
                it is not usable.
        """
        name = normalise(name)
        if name not in self.entries:
            raise CompositionError(*self._missing(name))
        entry = self.entries[name]
        if entry.status != "ok":
            raise CompositionError(
                f"the plugin '{name}' is installed but {entry.status}", entry.problem
            )
        return entry

    def _missing(self, name: str) -> list[str]:
        installed = [known for known in self.entries if known != DEFAULTS]
        lines = [f"installed: {', '.join(installed) or 'none'}"]
        if name in self.known:
            return [
                f"the plugin '{name}' is not installed",
                *lines,
                f"try: {self.known[name].install}",
            ]
        lines = [
            f"no plugin is called '{name}'.{closest(name, [*self.entries, *self.known])}",
            *lines,
        ]
        absent = [known for known in self.known if known not in self.entries]
        if absent:
            more = f" and {len(absent) - 1} more are" if len(absent) > 1 else " is"
            file = self.registries.origins.get(absent[0], registry_path()).name
            lines.append(
                f"'{absent[0]}'{more} in {file} but not installed: {self.known[absent[0]].install}"
            )
        unread = [
            line for problem in self.registries.problems for line in str(problem).splitlines()
        ]
        return [*lines, *unread, "see: aecore plugins list"]

    def part(self, name: str) -> Part:
        """The entry as composition sees it."""
        entry = self.entry(name)
        if entry.manifest is None:
            raise CompositionError(f"the plugin '{name}' has no manifest", entry.problem)
        return Part(entry.name, entry.manifest, entry.source)

    def load(self, name: str) -> type[Plugin]:
        """Import the class of the plugin and hold it against its manifest.

        Raises:
            CompositionError: when the import raises, or the target is no `Plugin`.
            PluginError: when class and manifest differ, or a hook implementation is not valid.
        """
        from aecore.plugin import Plugin, check_class

        entry = self.entry(name)
        try:
            found = EntryPoint(name=entry.name, value=entry.target, group=GROUP).load()
        except AecoreError:
            raise
        except (Exception, SystemExit) as error:
            raise CompositionError(
                f"the plugin '{entry.name}' ({entry.source}) cannot be imported",
                f"target: {entry.target}",
                f"raised: {type(error).__name__}: {error}",
                "the other plugins are not affected",
            ) from error
        if not (inspect.isclass(found) and issubclass(found, Plugin)):
            raise CompositionError(
                f"the entry point of '{entry.name}' ({entry.source}) is no plugin class",
                f"target: {entry.target}, a {type(found).__name__}",
                "due: a class that derives from aecore.Plugin",
            )
        if entry.manifest is not None:
            check_class(found, entry.name, entry.source, entry.manifest)
        return found


def _entry_points() -> tuple[list[EntryPoint], dict[str, Entry]]:
    """The group's entry points, and an entry for each distribution whose own cannot be parsed."""
    try:
        return list(entry_points(group=GROUP)), {}
    except Exception:  # one malformed file anywhere; look at each distribution by itself
        return _one_by_one(distributions())


def _one_by_one(found: Iterable[Distribution]) -> tuple[list[EntryPoint], dict[str, Entry]]:
    points: list[EntryPoint] = []
    broken, seen = {}, set()
    for distribution in found:
        name = distribution.name or "?"
        if normalise(name).lower() in seen:
            continue  # an older copy further along sys.path
        seen.add(normalise(name).lower())
        try:
            points += distribution.entry_points.select(group=GROUP)
        except Exception as error:
            if GROUP in (distribution.read_text("entry_points.txt") or ""):
                problem = (
                    f"the entry_points.txt of {name} cannot be read\n"
                    f"reason: {type(error).__name__}: {error}"
                )
                broken[normalise(name)] = Entry(
                    normalise(name), "", name, distribution.version or "", "broken", problem
                )
    return points, broken


def _examine(name: str, points: list[EntryPoint]) -> Entry:
    """One name of the group, as found: two distributions that claim it are both refused."""
    point = points[0]
    meta = [((p.dist.name or "?", p.dist.version or "") if p.dist else ("?", "?")) for p in points]
    distribution, version = meta[0]
    if len({first for first, _ in meta}) > 1:
        claims = ", ".join(sorted(f"{first} {second}" for first, second in meta))
        return Entry(
            name,
            point.value,
            distribution,
            version,
            "duplicate",
            f"claimed by {claims}: uninstall all but one",
        )
    try:
        check_name(name)
        manifest = read_manifest(manifest_path(point.value), name)
    except AecoreError as error:
        return Entry(name, point.value, distribution, version, "broken", str(error))
    if not manifest.compatible:
        problem = (
            f"it is written for API {manifest.api}, this aecore has API {API}: "
            "upgrade one of the two"
        )
        return Entry(name, point.value, distribution, version, "incompatible", problem, manifest)
    return Entry(name, point.value, distribution, version, "ok", "", manifest)


def manifest_path(target: str) -> Path:
    """plugin.toml in the top package of ``module:Class``, found without importing it."""
    top = target.partition(":")[0].partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError) as error:
        raise ManifestError(
            f"the entry point '{target}' names no module", f"reason: {error}"
        ) from error
    if spec is None or not spec.submodule_search_locations:
        gone = "cannot be found" if spec is None else "is a single file"
        raise ManifestError(
            f"the package '{top}' {gone}", "due: an installed package with a plugin.toml in it"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "plugin.toml"


def hook_kinds(hooks: tuple[str, ...]) -> list[str]:
    """``name (kind)`` for each hook, for listings; a registry may know hooks of a later API."""
    return [
        f"{hook} ({HOOKS[hook].kind if hook in HOOKS else f'not in API {API}'})" for hook in hooks
    ]


__all__ = [
    "GROUP",
    "RESERVED",
    "Catalogue",
    "Entry",
    "Listing",
    "Status",
    "check_name",
    "hook_kinds",
    "manifest_path",
    "normalise",
    "read_registry",
    "registry_path",
]
