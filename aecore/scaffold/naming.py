"""The names of a new plugin, in settings, packages, distributions and classes."""

from __future__ import annotations

import builtins
import keyword
import re
from dataclasses import dataclass

from aecore.catalogue import Catalogue
from aecore.errors import AecoreError
from aecore.names import RESERVED, check_name, normalise
from aecore.scaffold.templates import templates

LONGEST = 40
#: ``aecore_cli`` is the package of the command line.
TAKEN = ("cli",)


class ScaffoldError(AecoreError):
    """A new plugin that cannot be written."""


@dataclass(frozen=True)
class Names:
    """A plugin's name in its four spellings."""

    name: str

    @property
    def package(self) -> str:
        """The import package."""
        return f"aecore_{self.name}"

    @property
    def distribution(self) -> str:
        """What pip installs; also the folder, which no import can mistake for a package."""
        return f"aecore-{self.name.replace('_', '-')}"

    @property
    def cls(self) -> str:
        """The class; where the name is one that the generated code uses, it ends in Method."""
        words = "".join(word[:1].upper() + word[1:] for word in self.name.split("_"))
        lines = [line for template in templates() for line in template.imports]
        bound = {word for line in lines for word in re.findall(r"\w+", line)}
        known = {"Config", "Check", "Subject", "SIZES", *bound, *dir(builtins), *keyword.kwlist}
        return f"{words}Method" if words in known else words


def checked(name: str, catalogue: Catalogue) -> Names:
    """The names of a plugin that does not exist yet.

    Raises:
        ScaffoldError: for a name that is no name, that aecore or an installed plugin has, or that a
            registry lists.
        ManifestError: for a registry that cannot be read, since what it lists is not known then.
    """
    name = normalise(name)
    _check_form(name)
    if name in catalogue.entries:
        entry = catalogue.entries[name]
        raise ScaffoldError(
            f"the name '{name}' is taken",
            f"by: {entry.source}, which is installed here",
            f"try: another name, or first: pip uninstall {entry.distribution}",
        )
    catalogue.registries.require()
    if name in catalogue.known:
        known = catalogue.known[name]
        origin = catalogue.registries.origins.get(name, "a registry")
        raise ScaffoldError(
            f"the name '{name}' is taken",
            f"by: {known.distribution}, listed in {origin}",
            f"try: another name, or use that one: {known.install}",
        )
    return Names(name)


def _check_form(name: str) -> None:
    due = f"due: [a-z][a-z0-9_]*, at most {LONGEST} characters, not ending in _"
    if name in RESERVED or name in TAKEN:
        raise ScaffoldError(
            f"'{name}' is a word of aecore, so no plugin can have the name",
            f"reserved: {_reserved()}",
        )
    if len(name) > LONGEST or name.endswith("_"):
        raise ScaffoldError(f"'{name}' is no name for a plugin", due)
    try:
        check_name(name)
    except AecoreError as error:
        raise ScaffoldError(error.what, due) from None


def _reserved() -> str:
    return ", ".join(sorted([*RESERVED, *TAKEN]))
