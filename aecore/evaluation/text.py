"""Reconstruction and grammar: how much of a sentence comes back, and what the toy can parse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aecore.data import toy


class Reconstruction(NamedTuple):
    """How much of some sentences came back.

    Attributes:
        sentences: how many were read.
        exact: those that came back word for word.
        words: share of the words that came back in their place, in [0, 1].
    """

    sentences: int
    exact: int
    words: float


def reconstruction(originals: Sequence[str], found: Sequence[str]) -> Reconstruction:
    """Compare sentences with their reconstructions, word by word from the left.

    A word that is missing or stands elsewhere has not come back; words beyond the end of the
    original are not counted, but the sentence is then not exact.
    """
    pairs = [(one.split(), other.split()) for one, other in zip(originals, found, strict=True)]
    right = sum(
        one == other for words, others in pairs for one, other in zip(words, others, strict=False)
    )
    exact = sum(words == others for words, others in pairs)
    return Reconstruction(len(pairs), exact, right / max(1, sum(len(words) for words, _ in pairs)))


class Grammar(NamedTuple):
    """Sentences, how many of them differ, and how many different ones are grammatical."""

    sentences: int
    different: int
    grammatical: int


def grammar(sentences: Sequence[str]) -> Grammar:
    """Count the sentences that the grammar of the built-in corpus can say, each once."""
    different = set(sentences)
    return Grammar(
        len(sentences),
        len(different),
        sum(toy.factors(sentence) is not None for sentence in different),
    )
