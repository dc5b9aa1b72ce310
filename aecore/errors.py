"""Errors that a person can act on: what happened, the evidence indented under it, the way out."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class AecoreError(Exception):
    """The base of every error that aecore raises on purpose; printed without a traceback.

    ``str(error)`` is the sentence ``what`` followed by the ``evidence`` lines, each indented by two
    spaces.
    """

    exit_code = 2

    def __init__(self, what: str, *evidence: str) -> None:
        self.what = what
        self.evidence = evidence
        lines = [line for entry in evidence for line in entry.split("\n")]
        super().__init__("\n".join([what, *(f"  {line}" for line in lines)]))


class ConfigError(AecoreError):
    """A setting that does not exist, has the wrong type or is out of its range."""


class DataError(AecoreError):
    """A corpus that is missing, empty or unreadable."""


class CompositionError(AecoreError):
    """Plugins that cannot be trained together, or a plugin that is not there.

    Attributes:
        kind: what forbids it: owners, corpus, space, needs, base; empty where one is missing.
    """

    def __init__(self, what: str, *evidence: str, kind: str = "") -> None:
        super().__init__(what, *evidence)
        self.kind = kind


class RunError(AecoreError):
    """A run folder that is missing, in use, damaged or complete."""


class PluginError(AecoreError):
    """A plugin that broke the contract of a hook; ``plugin`` and ``hook`` say which."""

    def __init__(self, what: str, *evidence: str, plugin: str, hook: str = "") -> None:
        super().__init__(what, *evidence)
        self.plugin = plugin
        self.hook = hook


class DivergedError(AecoreError):
    """A loss, an energy or a gradient that is not finite; the step was not applied."""


class Stopped(AecoreError):
    """Training that was asked to stop and wrote its checkpoint; exit code 130 or 143."""

    def __init__(self, what: str, *evidence: str, signal_number: int) -> None:
        super().__init__(what, *evidence)
        self.exit_code = 128 + signal_number


def closest(word: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the known word nearest to ``word``, or the empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


#: What an error inside of a plugin's constructor most often means.
_HINTS = {
    "has no attribute 'model'": "likely: self.model is there after the constructor, for hooks",
    "before Module.__init__() call": "likely: super().__init__(config, sizes) comes first",
}


@contextmanager
def authored(plugin: str, distribution: str, what: str) -> Iterator[None]:
    """Errors of a plugin's code in the block get their author and the line they come from.

    Raises:
        PluginError: for whatever is no error of aecore's, `SystemExit` included.
    """
    try:
        yield
    except (AecoreError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = "/".join(Path(frame.filename).parts[-2:])
        hints = [hint for words, hint in _HINTS.items() if words in str(error)]
        raise PluginError(
            f"'{plugin}' ({distribution}) raised {type(error).__name__} in {what}: {error}",
            f"at: {place}:{frame.lineno}",
            *hints,
            plugin=plugin,
        ) from error
