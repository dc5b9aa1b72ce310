"""Decoding strategies: greedy, sampling, top-k, nucleus and beam search."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

from aecore.errors import ConfigError


class Choice(TypedDict, total=False):
    """The keywords that every verb of a `Run` takes which decodes; see `Strategy`."""

    top_k: int
    top_p: float
    beam: int
    max_length: int
    unknown: bool


@dataclass(frozen=True)
class Strategy:
    """How the words of a sentence are chosen; settings that have no effect are refused.

    Attributes:
        temperature: 0 takes the likeliest word at each step; above, words are drawn from
            softmax(logits / temperature). None is 1 where ``top_k`` or ``top_p`` is set, and 0
            where not.
        top_k: words are drawn among the k likeliest; 0 is all of them.
        top_p: words are drawn from the nucleus, the fewest words whose probabilities (after
            ``top_k``) add up to ``top_p``.
        beam: hypotheses of a beam search, which looks for the sentence with the largest sum of
            log-probabilities, without a length penalty; 1 is none.
        max_length: words after which a sentence is cut.
        unknown: whether ``<unk>`` may be written. It stands for what the vocabulary lacks, so that
            it says nothing to a reader; without it, the other words share its probability.

    Raises:
        ConfigError: for a value out of its range, or two settings of which one would have no
            effect.

    Example:
        >>> Strategy(top_p=0.9).heat
        1.0
    """

    temperature: float | None = None
    top_k: int = 0
    top_p: float = 1.0
    beam: int = 1
    max_length: int = 100
    unknown: bool = False

    def __post_init__(self) -> None:
        for name, (holds, due) in RANGES.items():
            value = getattr(self, name)
            if not holds(value):
                raise ConfigError(f"{name} = {value} is out of range", f"due: {due}")
        drawing = self._drawing()
        if self.beam > 1 and drawing:
            raise ConfigError(
                f"beam = {self.beam} and {drawing[0]} exclude each other: a beam search draws no "
                f"words",
                "due: a beam alone, or temperature, top_k and top_p without one",
            )
        if self.temperature == 0 and drawing:
            raise ConfigError(
                f"temperature = 0 and {drawing[0]} exclude each other: at 0 the likeliest word is "
                f"taken, and none is drawn",
                "due: leave one of the two out, or a temperature above 0",
            )

    def _drawing(self) -> list[str]:
        """The settings that make sense only where words are drawn."""
        found = {
            "temperature": self.temperature or 0,
            "top_k": self.top_k,
            "top_p": self.top_p if self.top_p < 1 else 0,
        }
        return [f"{name} = {value:g}" for name, value in found.items() if value]

    @property
    def heat(self) -> float:
        """The temperature that holds; 0 where no word is drawn."""
        if self.temperature is None:
            return 1.0 if self._drawing() else 0.0
        return self.temperature


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


#: Setting -> (whether a value is in its range, the range in words).
RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (
        lambda value: (
            value is None or value == 0 or (math.isfinite(value) and 0.001 <= value <= 1000)
        ),
        "0, which takes the likeliest words, or 0.001 to 1000",
    ),
    "top_k": (lambda value: _whole(value, 0), "a whole number of words; 0 is all of them"),
    "top_p": (lambda value: 0 < value <= 1, "above 0, at most 1"),
    "beam": (lambda value: _whole(value, 1), "a whole number of hypotheses; 1 is no beam search"),
    "max_length": (lambda value: _whole(value, 1), "a whole number of words, at least 1"),
}

#: The likeliest word at each step.
GREEDY = Strategy()
