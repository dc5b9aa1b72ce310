"""The catalogue: which plugins are installed, and which are known; listing them imports none of them."""

from __future__ import annotations

import importlib.util
import inspect
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aecore.composition import DEFAULTS, Part
from aecore.errors import AecoreError, CompositionError, closest
from aecore.hookspec import API, HOOKS
from aecore.manifest import Manifest, ManifestError, Paper, read_manifest, validation_lines

if TYPE_CHECKING:
    from aecore.plugin import Plugin

GROUP = "aecore.plugins"
#: The sections of config.toml, which settings address as plugins are.
RESERVED = ("data", "model", "train", "evaluate", "plugins", "versions")
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


class Listing(BaseModel):
    """A plugin that registry.toml knows, whether or not it is installed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    distribution: str
    install: str
    summary: str
    hooks: tuple[str, ...] = ()
    paper: Paper | None = None


class _Registry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    plugins: dict[str, Listing] = Field(default_factory=dict)


def normalise(name: str) -> str:
    """Plugin names are ``[a-z][a-z0-9_]*``; a dash is read as an underscore everywhere."""
    return name.strip().replace("-", "_")


def check_name(name: str) -> None:
    """Refuse a name that settings could not reach as ``--set NAME.KEY=VALUE``.

    Raises:
        ManifestError: for a name that is not ``[a-z][a-z0-9_]*``, or that a section of config.toml has.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ManifestError(f"'{name}' is no name for a plugin", "due: [a-z][a-z0-9_]*")
    if name in RESERVED:
        raise ManifestError(f"'{name}' is a section of config.toml, so no plugin can have the name")


def registry_path() -> Path:
    """registry.toml beside the source tree, else in the installed package."""
    package = Path(__file__).parent
    beside = package.parent / "registry.toml"
    return beside if (package.parent / "pyproject.toml").is_file() and beside.is_file() else package / "registry.toml"


def read_registry(path: Path) -> dict[str, Listing]:
    """The plugins that the file lists, by name; none where there is no file.

    Raises:
        ManifestError: for a file that is no TOML or breaks the schema.
    """
    if not path.is_file():
        return {}
    try:
        return _Registry.model_validate({"plugins": tomllib.loads(path.read_text(encoding="utf-8"))}).plugins
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ManifestError("the registry cannot be read", f"file: {path}", f"reason: {error}") from error
    except ValidationError as error:
        raise ManifestError("the registry is not valid", f"file: {path}", *validation_lines(error)) from error


class Catalogue:
    """Installed plugins by name, and the registry of known ones."""

    def __init__(self, entries: dict[str, Entry], known: dict[str, Listing]) -> None:
        self.entries = entries
        self.known = known

    @classmethod
    def discover(cls) -> Catalogue:
        """Read the entry points of the group ``aecore.plugins`` and the manifests beside them, importing none."""
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=GROUP):
            found.setdefault(normalise(point.name), []).append(point)
        entries = {name: _examine(name, points) for name, points in sorted(found.items())}
        return cls(entries, read_registry(registry_path()))

    @cached_property
    def defaults(self) -> Part:
        """The defaults as a part of every composition; read from the package, so that they need no installation."""
        manifest = read_manifest(Path(__file__).parent / "plugin.toml", DEFAULTS)
        return Part(DEFAULTS, manifest, "aecore")

    def entry(self, name: str) -> Entry:
        """The usable entry called ``name``.

        Raises:
            CompositionError: when none is installed (with the closest name and the install line) or it is not usable.
        """
        name = normalise(name)
        if name not in self.entries:
            raise CompositionError(*self._missing(name))
        entry = self.entries[name]
        if entry.status != "ok":
            raise CompositionError(f"the plugin '{name}' is installed but {entry.status}", entry.problem)
        return entry

    def _missing(self, name: str) -> list[str]:
        installed = [known for known in self.entries if known != DEFAULTS]
        lines = [f"installed: {', '.join(installed) or 'none'}"]
        if name in self.known:
            return [f"the plugin '{name}' is not installed", *lines, f"try: {self.known[name].install}"]
        lines = [f"no plugin is called '{name}'.{closest(name, [*self.entries, *self.known])}", *lines]
        absent = [known for known in self.known if known not in self.entries]
        if absent:
            more = f" and {len(absent) - 1} more are" if len(absent) > 1 else " is"
            lines.append(f"'{absent[0]}'{more} in registry.toml but not installed: {self.known[absent[0]].install}")
        return [*lines, "see: aecore plugins list"]

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


def _examine(name: str, points: list[EntryPoint]) -> Entry:
    """One name of the group, as found: two distributions that claim it are both refused."""
    point = points[0]
    meta = [(p.dist.name, p.dist.version) if p.dist else ("?", "?") for p in points]
    distribution, version = meta[0]
    if len({first for first, _ in meta}) > 1:
        claims = ", ".join(sorted(f"{first} {second}" for first, second in meta))
        return Entry(name, point.value, distribution, version, "duplicate", f"claimed by {claims}: uninstall all but one")
    try:
        check_name(name)
        manifest = read_manifest(manifest_path(point.value), name)
    except AecoreError as error:
        return Entry(name, point.value, distribution, version, "broken", str(error))
    if not manifest.compatible:
        problem = f"it is written for API {manifest.api}, this aecore has API {API}: upgrade one of the two"
        return Entry(name, point.value, distribution, version, "incompatible", problem, manifest)
    return Entry(name, point.value, distribution, version, "ok", "", manifest)


def manifest_path(target: str) -> Path:
    """plugin.toml in the top package of ``module:Class``, found without importing it."""
    top = target.partition(":")[0].partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError) as error:
        raise ManifestError(f"the entry point '{target}' names no module", f"reason: {error}") from error
    if spec is None or not spec.submodule_search_locations:
        gone = "cannot be found" if spec is None else "is a single file"
        raise ManifestError(f"the package '{top}' {gone}", "due: an installed package with a plugin.toml in it")
    return Path(next(iter(spec.submodule_search_locations))) / "plugin.toml"


def hook_kinds(hooks: tuple[str, ...]) -> list[str]:
    """``name (kind)`` for each hook, as listings show it."""
    return [f"{hook} ({HOOKS[hook].kind})" for hook in hooks]
