"""How a vocabulary is made; no torch, so that a configuration can be checked without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SPLITS = ("train", "valid", "test")
VocabularyKind = Literal["word", "char", "bpe"]
#: What the tokens of a vocabulary are called.
UNITS: dict[VocabularyKind, str] = {"word": "words", "char": "characters", "bpe": "byte pairs"}
#: A byte-pair vocabulary holds the four markers and the 256 bytes, another the markers and a word
#: or character.
SMALLEST: dict[VocabularyKind, int] = {"bpe": 4 + 256, "word": 4 + 1, "char": 4 + 1}
BPE_SIZE = 8000


@dataclass(frozen=True)
class Recipe:
    """How a vocabulary is made of the training sentences.

    Attributes:
        kind: ``word``, ``char`` for characters, or ``bpe`` for byte pairs.
        size: entries at most, the four markers included; 0 is no limit for words and characters,
            and 8,000 for byte pairs.
        min_count: how often a word or character must occur to be in; byte pairs ignore it.
    """

    kind: VocabularyKind = "word"
    size: int = 0
    min_count: int = 1


EVERY_WORD = Recipe()
