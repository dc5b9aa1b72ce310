"""SARI: what a simplification keeps, adds and deletes, against source and references.

Source: Xu et al., TACL 2016, https://aclanthology.org/Q16-1029; the variant of the authors'
    program: F1 of what is kept and added, precision of what is deleted, mean over sentences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

#: How the figure is to be quoted.
SIGNATURE = (
    "SARI of Xu et al. 2016: n 1-4, keep F1, add F1, delete precision, lower case, words by white "
    "space, mean of sentences"
)
LONGEST = 4
Grams = Counter[tuple[str, ...]]


def sari(source: str, outcome: str, references: Sequence[str]) -> float:
    """SARI of one sentence, 0 to 100: the mean of keep, add and delete, each over n = 1 to 4.

    n-grams of which there is none count as 0, so short sentences are penalised.

    Args:
        references: one or more sentences that the outcome might have been.

    Raises:
        ValueError: for no reference.

    Example:
        >>> round(sari("a b c d", "a b c d", ["a b c d"]), 1)
        33.3
    """
    if not references:
        raise ValueError("SARI compares with references, and none came")
    scores = [_of_order(n, source, outcome, references) for n in range(1, LONGEST + 1)]
    return 100 * sum(map(sum, scores)) / (3 * LONGEST)


def corpus_sari(
    sources: Sequence[str], outcomes: Sequence[str], references: Sequence[Sequence[str]]
) -> float:
    """The mean of `sari` over sentences."""
    rows = zip(sources, outcomes, references, strict=True)
    scores = [sari(*row) for row in rows]
    return sum(scores) / max(1, len(scores))


def _of_order(
    n: int, source: str, outcome: str, references: Sequence[str]
) -> tuple[float, float, float]:
    """Keep, delete and add of n-grams.

    What is kept and deleted is counted once for each reference, so that a reference that has an
    n-gram votes for it.
    """
    votes: Grams = Counter(gram for text in references for gram in _grams(text, n).elements())
    before, after = (_times(_grams(text, n), len(references)) for text in (source, outcome))
    kept, due = before & after, before & votes
    keep = _f1(_share(kept & votes, kept), _share(kept & votes, due))
    gone = before - after
    delete = _share(gone - votes, gone)
    added, wanted = set(after) - set(before), set(votes) - set(before)
    right = len(added & set(votes))
    add = _f1(right / max(1, len(added)), right / max(1, len(wanted)))
    return keep, delete, add


def _grams(text: str, n: int) -> Grams:
    words = text.lower().split()
    if n == 2:
        return Counter(pairwise(words))
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))


def _times(grams: Grams, number: int) -> Grams:
    return Counter({gram: number * count for gram, count in grams.items()})


def _share(good: Grams, of: Grams) -> float:
    """The mean over the n-grams of ``of`` of how much of their count is good; 0 for none."""
    return sum(good[gram] / count for gram, count in of.items()) / max(1, len(of))


def _f1(precision: float, recall: float) -> float:
    total = precision + recall
    return 2 * precision * recall / total if total > 0 else 0.0
