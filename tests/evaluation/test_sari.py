"""SARI against the published examples, and against the limits that its definition gives."""

import pytest

from aecore.evaluation.sari import corpus_sari, sari

SOURCE = "About 95 species are currently accepted ."
REFERENCES = [
    "About 95 species are currently known .",
    "About 95 species are now accepted .",
    "95 species are now accepted .",
]


@pytest.mark.parametrize(
    ("outcome", "due"),
    [
        ("About 95 you now get in .", 26.82782411698074),
        ("About 95 species are now agreed .", 58.89995423074248),
        ("About 95 species are currently agreed .", 50.71608864657479),
        ("About 95 species are now accepted .", 75.94),
    ],
)
def test_the_examples_of_the_paper(outcome, due):
    assert sari(SOURCE, outcome, REFERENCES) == pytest.approx(due, abs=5e-3)


def test_by_hand_on_two_words():
    """Source a b, outcome a c, reference a c: unigrams keep 1, add 1, delete 1; bigrams add 1 and
    delete 1, and nothing is kept; of longer ones there is none.
    """
    assert sari("a b", "a c", ["a c"]) == pytest.approx(100 * (3 + 2) / 12)


def test_case_and_spaces_say_nothing():
    assert sari("A  b", "a C", ["A c"]) == sari("a b", "a c", ["a c"])


def test_a_copy_deletes_and_adds_nothing():
    same = "one two three four five"
    assert sari(same, same, [same]) == pytest.approx(100 / 3)


def test_a_corpus_is_the_mean_of_its_sentences():
    rows = [(SOURCE, REFERENCES[1], REFERENCES), ("a b", "a c", ["a c"])]
    due = sum(sari(*row) for row in rows) / 2
    assert corpus_sari(*zip(*rows, strict=True)) == pytest.approx(due)


def test_without_a_reference_there_is_no_figure():
    with pytest.raises(ValueError, match="none came"):
        sari("a", "a", [])
