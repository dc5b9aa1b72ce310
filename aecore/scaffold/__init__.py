"""The scaffold: a new plugin that installs, trains and passes the kit before it is edited."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aecore.catalogue import Catalogue
from aecore.errors import closest
from aecore.hookspec import HOOKS
from aecore.names import normalise
from aecore.scaffold.naming import ScaffoldError, checked
from aecore.scaffold.render import Draft
from aecore.scaffold.templates import chosen_for

#: What a first plugin does unless hooks are named: one tensor in, one tensor out, and the effect is
#: seen in every epoch.
DEFAULT_HOOKS = ("kl_penalty",)


@dataclass(frozen=True)
class Created:
    """A plugin that was written.

    Attributes:
        folder: the distribution.
        files: what was written, relative to the folder.
        hooks: the hooks that it implements.
        added: hooks that were not asked for, each with the reason.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    hooks: tuple[str, ...]
    added: Mapping[str, str]


def create(
    name: str, hooks: Iterable[str] = (), out: str | Path = ".", catalogue: Catalogue | None = None
) -> Created:
    """Write the distribution of a new plugin into ``out/aecore-<name>``.

    Args:
        hooks: what the plugin implements; `DEFAULT_HOOKS` where nothing is named.

    Raises:
        ScaffoldError: for a name that is malformed, reserved or taken, an unknown hook, or a folder
            that exists.
        OSError: where nothing can be written.
    """
    names = checked(name, catalogue or Catalogue.discover())
    wanted = check_hooks(hooks) or DEFAULT_HOOKS
    draft = Draft(names, chosen_for(wanted))
    files = draft.files()
    folder = Path(out) / names.distribution
    write(folder, files)
    added = {
        hook: part.table["because"]
        for part in draft.parts
        for hook in part.hooks
        if hook not in wanted
    }
    return Created(names.name, folder, tuple(files), draft.hooks, added)


def check_hooks(hooks: Iterable[str]) -> tuple[str, ...]:
    """The hooks by their names, each once.

    Raises:
        ScaffoldError: for a name that no hook has, with the closest.
    """
    found = tuple(dict.fromkeys(normalise(hook) for hook in hooks))
    for hook in found:
        if hook not in HOOKS:
            raise ScaffoldError(
                f"no hook is called '{hook}'.{closest(hook, HOOKS)}", f"hooks: {', '.join(HOOKS)}"
            )
    return found


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write all of the files into a new folder, or nothing at all.

    Raises:
        ScaffoldError: when the folder is there already.
        OSError: where nothing can be written.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise ScaffoldError(
            f"'{folder}' exists already, so nothing was written",
            "try: another name, or --out with another folder",
        ) from None
    try:
        for path, text in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
