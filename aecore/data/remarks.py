"""What a corpus does to a run's figures, said before it starts, with the way out."""

from __future__ import annotations

from aecore.data.recipe import UNITS
from aecore.data.splits import Corpus

#: The share of unknown words that is said, that is too many, and by how much more than in training.
SAID, MANY, MORE = 0.005, 0.2, 0.02
#: The share of sentences with a mark that is no accident.
MARKED = 0.01
#: A larger vocabulary makes most of a model's parameters, and of its time.
LARGE = 50_000


def remarks(corpus: Corpus) -> list[str]:
    """Lines on marks of other tools, unknown words and a large vocabulary; mostly none."""
    return [*_marks(corpus), *_unknown(corpus), *_large(corpus)]


def _marks(corpus: Corpus) -> list[str]:
    """``<s>`` and the like around sentences: the model adds its own, and reads these as words."""
    shares: dict[str, float] = {}
    for report in corpus.reports:
        for mark, count in report.marked.items():
            shares[mark] = max(shares.get(mark, 0.0), count / max(1, report.kept))
    found = sorted(mark for mark, share in shares.items() if share >= MARKED)
    if not found:
        return []
    told = ", ".join(f"'{mark}' in {shares[mark]:.0%}" for mark in found)
    pattern = "|".join(mark.translate({ord(sign): f"\\{sign}" for sign in "[]|"}) for mark in found)
    return [
        f"warning: other tools' marks stand in the sentences ({told}); they are read as text, and "
        f"every figure counts them\n  try: sed -E 's#({pattern}) *##g' -i train.txt valid.txt "
        f"test.txt"
    ]


def _unknown(corpus: Corpus) -> list[str]:
    """The shares of unknown words, and what to do where they spoil the figures."""
    splits = {name: corpus.split(name) for name in ("train", "valid", "test")}
    shares = {
        name: split.unknown / max(1, split.tokens - len(split)) for name, split in splits.items()
    }
    if max(shares.values()) < SAID:
        return []
    unit = UNITS[corpus.vocabulary.kind]
    told = ", ".join(f"{share:.1%} of {name}" for name, share in shares.items())
    lines = [f"unknown {unit}: {told}"]
    unseen = max(shares["valid"], shares["test"])
    if unseen > shares["train"] + MORE:
        lines.append(
            f"warning: valid or test have {unit} that training has not, which cost 13 nats or more "
            f"each\n  try: --set data.min_count=2, or --set data.vocabulary=bpe"
        )
    elif unseen > MANY:
        lines.append(
            f"warning: so many unknown {unit} are cheap to predict, and perplexities read low\n"
            f"  try: --set data.vocabulary=bpe, which knows every text"
        )
    if unseen > MANY and corpus.vocabulary.kind == "word":
        lines.append("  for text without spaces between words: --set data.vocabulary=char")
    return lines


def _large(corpus: Corpus) -> list[str]:
    size, kind = len(corpus.vocabulary), corpus.vocabulary.kind
    if size <= LARGE:
        return []
    return [
        f"warning: each of {size:,} {UNITS[kind]} has a row of embeddings and a row of the output "
        f"layer: a large and slow model\n  try: --set data.vocabulary_size=20000, --set "
        f"data.min_count=3 or --set data.vocabulary=bpe"
    ]
