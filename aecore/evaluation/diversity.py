"""Text as text: how varied it is, how long, and how near its words are to the corpus's.

All figures are of a fixed number of sentences, which every estimator names: Dist falls and
self-BLEU rises with the number of sentences, so that other numbers give other figures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

#: Sentences that self-BLEU compares with each other, at most; the first ones.
COMPARED = 500
#: What stands in for a count of 0 in self-BLEU, as in the smoothing "floor" of sacrebleu and method
#: 1 of NLTK.
FLOOR = 0.1
Words = Sequence[str]
#: The figures of each text, without the word ``text_`` in front and the text behind.
EACH = ("dist_1", "dist_2", "self_bleu_2", "self_bleu_3", "entropy", "length")
#: The keys of ``aecore evaluate --text``.
FIGURES = (
    *(
        f"text_{figure}_{text}"
        for text in ("samples", "sentences", "reconstructions")
        for figure in EACH
    ),
    *("text_unikl_samples", "text_unseen_samples", "text_bleu_reconstructions"),
)


def dist(sentences: Sequence[Words], n: int) -> float:
    """Dist-n: distinct n-grams over all n-grams, pooled; none crosses a sentence's end.

    NaN where there is no n-gram at all.

    Source: Li et al., NAACL 2016, section 5.1, over the pooled sentences.
    """
    found = Counter(chain.from_iterable(ngrams(sentence, n) for sentence in sentences))
    total = sum(found.values())
    return len(found) / total if total else math.nan


def ngrams(sentence: Words, n: int) -> Iterable[tuple[str, ...]]:
    """The n-grams of a sentence, in order."""
    return zip(*(sentence[start:] for start in range(n)), strict=False)


def self_bleu(sentences: Sequence[Words], n: int) -> float:
    """Self-BLEU-n: the mean BLEU of each sentence against all others, 0 to 100; lower is varied.

    BLEU is the geometric mean of the clipped precisions of 1- to n-grams times exp(1 - r / c), r
    being the length of the other sentence that is nearest in length, the shorter of two. A
    precision of 0 counts `FLOOR` matches; orders that a sentence is too short for are left out, and
    a sentence without words scores 0.

    Source: Zhu et al., Texygen, SIGIR 2018. It is no "self-BLEU" of a rewritten sentence with its
        source, which means content that was kept.
    """
    if len(sentences) < 2:
        return math.nan
    counts = [[Counter(ngrams(one, order + 1)) for order in range(n)] for one in sentences]
    most = [_two_largest([row[order] for row in counts]) for order in range(n)]
    lengths = Counter(map(len, sentences))
    scores = [
        _bleu(sentence, row, most, lengths) for sentence, row in zip(sentences, counts, strict=True)
    ]
    return 100 * math.fsum(scores) / len(scores)


def _two_largest(counts: Iterable[Counter[Any]]) -> dict[Any, tuple[int, int]]:
    """The largest and the second largest count of each n-gram in any sentence.

    What a sentence is clipped by is the largest among the others: the second, where the largest is
    its own.
    """
    found: dict[Any, tuple[int, int]] = {}
    for count in counts:
        for gram, number in count.items():
            first, second = found.get(gram, (0, 0))
            found[gram] = (number, first) if number > first else (first, max(second, number))
    return found


def _bleu(
    sentence: Words,
    counts: Sequence[Counter[Any]],
    most: Sequence[Mapping[Any, tuple[int, int]]],
    lengths: Counter[int],
) -> float:
    if not sentence:
        return 0.0
    logs = []
    for count, largest in zip(counts, most, strict=True):
        total = sum(count.values())
        if total:
            matches = sum(
                min(number, largest[gram][0] if number < largest[gram][0] else largest[gram][1])
                for gram, number in count.items()
            )
            logs.append(math.log((matches or FLOOR) / total))
    own = len(sentence)
    others = [length for length, number in lengths.items() if length != own or number > 1]
    nearest = min(others, key=lambda length: (abs(length - own), length))
    brevity = 0.0 if own >= nearest else 1 - nearest / own
    return math.exp(math.fsum(logs) / len(logs) + brevity)


def entropy(sentences: Sequence[Words]) -> float:
    """-sum p log p over words, in nats: how evenly words are used; NaN without words."""
    counts = Counter(chain.from_iterable(sentences))
    total = sum(counts.values())
    if not total:
        return math.nan
    return -math.fsum(number / total * math.log(number / total) for number in counts.values())


def unikl(sentences: Sequence[Words], reference: Sequence[Words]) -> tuple[float, float]:
    """UniKL: KL(words of the sentences || words of the reference), nats; and the share left out.

    Words that the reference does not have would make it infinite. They are left out, both
    distributions being over the words that the reference has, and their share of all words is the
    second figure: a low KL with a large share is a bad sign. NaN without words.

    Deviation: Fang et al.'s code leaves them out of the sum and not of the distribution, which can
        come out below 0.
    """
    words, known = (Counter(chain.from_iterable(rows)) for rows in (sentences, reference))
    every, total = sum(words.values()), sum(known.values())
    shared = {word: number for word, number in words.items() if word in known}
    kept = sum(shared.values())
    if not every:
        return math.nan, math.nan
    terms = (
        number / kept * math.log(number / kept / (known[word] / total))
        for word, number in shared.items()
    )
    return (math.fsum(terms) if kept else math.nan), 1 - kept / every


def mean_length(sentences: Sequence[Words]) -> float:
    """Words a sentence."""
    return sum(map(len, sentences)) / len(sentences) if sentences else math.nan


def measured(texts: Mapping[str, Sequence[str]], seed: int, split: str) -> dict[str, Any]:
    """``aecore evaluate --text``: every figure of `FIGURES`, and their ``estimators``.

    Args:
        texts: sentences by the names of `aecore.evaluation.judge.TEXTS`.
        seed: of the samples, for the estimators.

    Without sacrebleu, the extra ``metrics``, the BLEU of reconstructions is None.
    """
    found: dict[str, Any] = dict.fromkeys(FIGURES)
    said: dict[str, Any] = dict.fromkeys(FIGURES)
    words = {name: [sentence.split() for sentence in rows] for name, rows in texts.items()}
    for text, rows in words.items():
        for figure in EACH:
            key = f"text_{figure}_{text}"
            if key in found:
                found[key] = _finite(_one(figure, rows))
                said[key] = signature(figure, text, _used(figure, rows), split, seed)
    if "samples" in words:
        pair = map(_finite, unikl(words["samples"], words["sentences"]))
        for figure, value in zip(("unikl", "unseen"), pair, strict=True):
            key, n = f"text_{figure}_samples", len(words["samples"])
            found[key], said[key] = value, signature(figure, "samples", n, split, seed)
    if "reconstructions" in texts:
        from aecore.evaluation.rewriting import bleu

        references = [(sentence,) for sentence in texts["sentences"]]
        key = "text_bleu_reconstructions"
        with suppress(ImportError):  # the extra ``metrics``
            found[key], said[key] = bleu(texts["reconstructions"], references)
    return {**found, "estimators": said}


def _one(figure: str, rows: Sequence[Words]) -> float:
    if figure.startswith("self_bleu"):
        return self_bleu(rows[:COMPARED], int(figure[-1]))
    if figure.startswith("dist"):
        return dist(rows, int(figure[-1]))
    return entropy(rows) if figure == "entropy" else mean_length(rows)


def _used(figure: str, rows: Sequence[Words]) -> int:
    return min(COMPARED, len(rows)) if figure.startswith("self_bleu") else len(rows)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def signature(figure: str, text: str, n: int, split: str, seed: int) -> str:
    """What a figure can be quoted by: ``self_bleu_2:n=500|of=samples|seed=0|tok=space|v1``."""
    source = f"seed={seed}" if text == "samples" else f"split={split}"
    floor = f"|floor={FLOOR:g}" if figure.startswith("self_bleu") else ""
    against = f"|ref={split}" if figure in {"unikl", "unseen"} else ""
    return f"{figure}:n={n}|of={text}|{source}{against}{floor}|tok=space|v1"
