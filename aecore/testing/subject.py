"""The plugin under test: its class, manifest and settings, composed with the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from aecore.assembly import Assembly
from aecore.catalogue import Catalogue, normalise
from aecore.composition import DEFAULTS, Level, Part, compose, resolve
from aecore.manifest import Manifest, parse_manifest
from aecore.plugin import Plugin, PluginConfig
from aecore.runs.config import validate_settings


@dataclass(frozen=True, eq=False)
class Subject:
    """A plugin, installed or thrown together in a test.

    Attributes:
        declared: the manifest of plugin.toml.
        settings: what differs from the default settings.
        source: ``distribution version``, for messages.
        unasked: compose it whether or not requirements are met, to see what comes of it.
    """

    name: str
    cls: type[Plugin]
    declared: Manifest
    settings: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    unasked: bool = False

    @classmethod
    def installed(cls, name: str, settings: Mapping[str, Any] | None = None) -> Self:
        """The installed plugin ``name``.

        Raises:
            AecoreError: when there is none, it cannot be imported, or class and manifest differ.
        """
        catalogue, name = Catalogue.discover(), normalise(name)
        part = catalogue.part(name)
        return cls(name, catalogue.load(name), part.manifest, settings or {}, part.distribution)

    @classmethod
    def of_class(
        cls,
        plugin: type[Plugin],
        manifest: Manifest | Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """A class that needs no installation, named after itself, with a manifest or table."""
        name = plugin.__name__.lower()
        if not isinstance(manifest, Manifest):
            manifest = parse_manifest(
                {"summary": name, "api": ">=1", **manifest}, name, "a table in memory"
            )
        return cls(name, plugin, manifest, settings or {}, plugin.__module__.rpartition(".")[2])

    @classmethod
    def defaults(cls) -> Self:
        """The autoencoder without a named plugin."""
        from aecore.vae import Vae

        return cls(DEFAULTS, Vae, Catalogue({}, {}).defaults.manifest, {}, "aecore")

    @property
    def is_default(self) -> bool:
        """Whether this is the defaults, which no composition names."""
        return self.name == DEFAULTS

    def config(self) -> PluginConfig:
        """The validated settings, a new instance at each call."""
        config = validate_settings(self.cls.Config, self.settings, self.name)
        assert isinstance(config, PluginConfig)
        return config

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest as the settings refine it."""
        return self.cls.manifest(self.declared, self.config())

    @cached_property
    def level(self) -> Mapping[str, Level]:
        """The capability levels of the plugin over the defaults."""
        return self.assembly().composition.levels

    def assembly(self, *companions: Subject) -> Assembly:
        """The composition with the defaults and other plugins; settings are validated anew."""
        subjects = [subject for subject in (self, *companions) if not subject.is_default]
        parts = [Part(subject.name, subject.manifest, subject.source) for subject in subjects]
        classes = {subject.name: subject.cls for subject in subjects}
        settings = {subject.name: subject.config() for subject in subjects}
        defaults = Catalogue({}, {}).defaults
        anyway = any(subject.unasked for subject in subjects)
        composition = resolve(parts, defaults) if anyway else compose(parts, defaults)
        return Assembly(composition, classes, settings)
