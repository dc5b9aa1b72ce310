"""What ``--data`` says: where the text is, and how much of its training split to use."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from aecore.errors import ConfigError, DataError

_FORM = re.compile(
    r"(?P<source>[^\[\]]+)(\[:((?P<percent>\d+(\.\d+)?)%|(?P<sentences>\d+))\])?", re.ASCII
)


@dataclass(frozen=True)
class DataSpec:
    """``SOURCE``, ``SOURCE[:20%]`` or ``SOURCE[:500]``: a source and the head of its train split.

    Attributes:
        source: ``toy``, ``toy:labelled``, ``toy:pairs``, or the path of a folder.
        fraction: the share of the training split to use, in (0, 1]; exact, so that 20% of 8,000 is
            1,600.
        sentences: the number of training sentences to use; at most one of the two is set, none
            means all.

    Example:
        >>> DataSpec.parse("data/ptb[:20%]").size(8000)
        1600
    """

    source: str
    fraction: Fraction | None = None
    sentences: int | None = None

    @classmethod
    def parse(cls, text: str) -> DataSpec:
        """Read what a person typed; ConfigError where it is none of the forms."""
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise _malformed(text)
        if found["percent"] is not None:
            return cls(found["source"], fraction=_share(text, found["percent"]))
        if found["sentences"] is not None:
            return cls(found["source"], sentences=_count(text, found["sentences"]))
        return cls(found["source"])

    def __str__(self) -> str:
        if self.fraction is not None:
            return f"{self.source}[:{float(self.fraction * 100):.12g}%]"
        return self.source if self.sentences is None else f"{self.source}[:{self.sentences}]"

    @property
    def absolute(self) -> DataSpec:
        """The same corpus, found from any folder."""
        path = Path(self.source).expanduser()
        built_in = self.source == "toy" or self.source.startswith("toy:")
        return self if built_in else replace(self, source=str(path.absolute()))

    @property
    def whole(self) -> bool:
        """Whether all training sentences are used."""
        return self.fraction is None and self.sentences is None

    def size(self, available: int) -> int:
        """How many of ``available`` training sentences are used: at least one, rounded down."""
        if self.fraction is not None:
            return max(1, int(self.fraction * available))
        if self.sentences is None:
            return available
        if self.sentences > available:
            raise DataError(
                f"'{self}' asks for {self.sentences:,} training sentences; there are "
                f"{available:,}.",
                f"for all of them: {self.source}",
            )
        return self.sentences


def _share(text: str, percent: str) -> Fraction:
    share = Fraction(percent) / 100
    if not 0 < share <= 1:
        raise _malformed(text, f"{percent}% is not above 0% and at most 100%")
    return share


def _count(text: str, sentences: str) -> int:
    if int(sentences) == 0:
        raise _malformed(text, "no training sentence would be left")
    return int(sentences)


def _malformed(text: str, why: str = "") -> ConfigError:
    return ConfigError(
        f"--data '{text}' cannot be read{': ' + why if why else ''}.",
        "toy           the built-in sentences; toy:labelled, toy:pairs",
        "FOLDER        a folder with train, valid and test as .txt or .jsonl (no brackets in its "
        "path)",
        "FOLDER[:20%]  the same, with the first 20% of the training sentences",
        "FOLDER[:500]  the same, with the first 500 training sentences",
    )
