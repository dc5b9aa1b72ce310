"""The names of plugins."""

from __future__ import annotations

import re

from aecore.manifest import ManifestError

#: The sections of config.toml, which settings address as plugins are.
RESERVED = ("data", "model", "train", "evaluate", "plugins", "versions")


def normalise(name: str) -> str:
    """Plugin names are ``[a-z][a-z0-9_]*``; a dash is read as an underscore everywhere."""
    return name.strip().replace("-", "_")


def check_name(name: str) -> None:
    """Refuse a name that settings could not reach as ``--set NAME.KEY=VALUE``.

    Raises:
        ManifestError: for a name that is not ``[a-z][a-z0-9_]*``, or that a section of config.toml
            has.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ManifestError(f"'{name}' is no name for a plugin", "due: [a-z][a-z0-9_]*")
    if name in RESERVED:
        raise ManifestError(f"'{name}' is a section of config.toml, so no plugin can have the name")
