"""How a vocabulary is made; no torch, so that a configuration can be checked without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: A byte-pair vocabulary holds the four markers and the 256 bytes, one of words the markers and a
#: word.
SMALLEST = {"bpe": 4 + 256, "word": 4 + 1}
BPE_SIZE = 8000


@dataclass(frozen=True)
class Recipe:
    """How a vocabulary is made of the training sentences.

    Attributes:
        kind: ``word``, or ``bpe`` for byte pairs.
        size: entries at most, the four markers included; 0 is no limit for words and 8,000 for byte
            pairs.
        min_count: how often a word must occur to be in; byte pairs ignore it.
    """

    kind: Literal["word", "bpe"] = "word"
    size: int = 0
    min_count: int = 1


EVERY_WORD = Recipe()
