"""Counts of text, by hand."""

import pytest

from aecore.data import toy
from aecore.evaluation.text import grammar, reconstruction


def test_words_are_compared_in_their_places():
    found = reconstruction(["a b c", "d e", "f"], ["a x c", "d", "f g"])
    assert found == (3, 0, pytest.approx(4 / 6))
    assert reconstruction(["a b"], ["a b"]) == (1, 1, 1.0)
    assert reconstruction([], []) == (0, 0, 0.0)


def test_the_grammar_says_what_the_corpus_says_and_counts_it_once():
    said = [sentence.text for sentence in toy.sentences()["test"][:5]]
    assert grammar([*said, said[0], "the hotel was kind in the waiter"]) == (7, 6, 5)
