"""Whether a corpus is of the kind that a composition needs: text, labelled, or pairs."""

from __future__ import annotations

from aecore.data.splits import Corpus
from aecore.errors import DataError

#: A line of each kind.
LINES = {
    "labelled": '{"text": "...", "label": "..."}',
    "pairs": '{"source": "...", "target": "..."}',
}


def check_kind(corpus: Corpus, due: str | None, label: str) -> None:
    """Refuse a corpus of another kind than the composition needs.

    Raises:
        DataError: likewise for labels of a single kind.
    """
    if due is not None and corpus.kind != due:
        raise DataError(
            f"'{label}' needs a corpus that is {due}, and this one is {corpus.kind}",
            f"due: lines such as {LINES[due]} in train.jsonl, valid.jsonl and test.jsonl",
            f"to try it: --data toy:{due}",
        )
    if due == "labelled" and len(corpus.labels) < 2:
        raise DataError(
            f"all training sentences have the label '{corpus.labels[0]}'",
            f"'{label}' needs two labels or more",
        )
