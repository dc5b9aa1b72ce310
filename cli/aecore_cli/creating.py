"""``aecore plugins new``: what stands on the screen when a plugin has been written."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from aecore.scaffold import Created
from aecore_cli.show import title


def split_hooks(words: list[str] | None) -> list[str]:
    """``--hooks a,b --hooks c`` as a list."""
    return [hook.strip() for word in words or [] for hook in word.split(",") if hook.strip()]


def creation_lines(made: Created) -> Iterator[str]:
    """The folder, its files, hooks that came along, and what to type next."""
    yield f"{made.folder}/"
    yield from (f"  {file}" for file in made.files)
    yield f"\nhooks: {', '.join(made.hooks)}"
    yield from (f"note: {hook} came along: {reason}" for hook, reason in made.added.items())
    folder = shlex.quote(str(made.folder) if made.folder.is_absolute() else f"./{made.folder}")
    module = f"{folder}/src/aecore_{made.name}/__init__.py"
    yield f"\n{title('what to type next')}"
    yield f"  python -m pip install -e {folder}"
    yield f"  python -m pytest {folder}"
    yield f"  aecore plugins check {made.name}"
    yield f"  aecore train --plugin {made.name}"
    yield f"then edit {module}"
