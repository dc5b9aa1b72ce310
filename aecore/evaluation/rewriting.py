"""How well sentences were rewritten: BLEU, SARI, style, and what the toy's grammar says.

sacrebleu and scikit-learn are the extra ``metrics``; they are imported when something is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

from aecore.data import toy
from aecore.data.splits import Corpus, Split
from aecore.data.vocabulary import Vocabulary
from aecore.errors import DataError
from aecore.evaluation import sari, style
from aecore.runs.config import RunConfig
from aecore.transfer import Transfer

INSTALL = "pip install 'aecore[metrics]'"
#: The keys of ``aecore evaluate --json`` of a run that rewrites sentences.
FIGURES = (
    *("transfer_sentences", "transfer_bleu", "transfer_sari", "transfer_self_bleu"),
    *("transfer_copied", "transfer_style", "transfer_style_before", "transfer_judge_accuracy"),
    *("transfer_toy_style", "transfer_toy_kept", "transfer_toy_both"),
    *("transfer_seconds", "transfer_map_seconds"),
)
#: What pairs of the toy become.
TOY_TARGET = "positive"
#: The factors of the toy that a change of mood leaves alone.
KEPT = ("tense", "number", "subject", "place")


@dataclass(frozen=True)
class Task:
    """Sentences of a split that are to be rewritten.

    Attributes:
        sentences: N, as they are.
        references: what each may become, human or given; empty where the corpus has none.
        label: the number of the label that they are to get; None of pairs.
        toy: whether the grammar can read them.
    """

    sentences: list[str]
    references: list[tuple[str, ...]]
    label: int | None = None
    toy: bool = False

    @classmethod
    def of(
        cls, split: Split, corpus: Corpus, target: str | None, limit: int | None, on_toy: bool
    ) -> Task:
        """Of pairs all, and of labelled sentences those of another label than the target.

        Args:
            target: the label that sentences are to get; None for pairs.

        Raises:
            DataError: when the corpus has no such label, or the split no sentence of another.
        """
        rows, label = list(range(len(split))), None
        if target is not None:
            if target not in corpus.labels or split.labels is None:
                raise DataError(
                    f"no label of the corpus is called '{target}'",
                    f"labels: {', '.join(corpus.labels) or 'none'}",
                )
            label = corpus.labels.index(target)
            rows = [row for row, its in enumerate(split.labels.tolist()) if its != label]
        rows = rows[:limit]
        if not rows:
            raise DataError(f"all sentences of '{split.name}' have the label '{target}' already")
        texts, references = _texts(split, corpus.vocabulary, rows)
        return cls(texts, references if all(references) else [], label, on_toy)


def _texts(
    split: Split, vocabulary: Vocabulary, rows: Sequence[int]
) -> tuple[list[str], list[tuple[str, ...]]]:
    """As they were written, where that was kept; else as the vocabulary writes them."""
    if split.originals is not None:
        originals = [split.originals[row] for row in rows]
        return [one.text for one in originals], [one.references for one in originals]
    texts = plain_texts(split, vocabulary)
    targets = None if split.target is None else plain_texts(split.target, vocabulary)
    return [texts[row] for row in rows], [(targets[row],) if targets else () for row in rows]


def plain_texts(split: Split, vocabulary: Vocabulary) -> list[str]:
    """All sentences of a split, as the vocabulary writes them."""
    return [vocabulary.decode(split.flat[a:b]) for a, b in pairwise(split.offsets.tolist())]


def style_judge(corpus: Corpus) -> style.StyleJudge:
    """Trained on train, measured on test.

    Raises:
        ImportError: without scikit-learn.
    """
    assert corpus.train.labels is not None
    assert corpus.test.labels is not None
    return style.StyleJudge.train(
        plain_texts(corpus.train, corpus.vocabulary),
        corpus.train.labels.tolist(),
        plain_texts(corpus.test, corpus.vocabulary),
        corpus.test.labels.tolist(),
    )


@dataclass
class Scores:
    """Figures by name, and how each was measured; what cannot be had is None.

    Attributes:
        tell: called with a line where a library is missing.
    """

    tell: Callable[[str], None] = lambda _: None
    figures: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(FIGURES))
    estimators: dict[str, str | None] = field(default_factory=lambda: dict.fromkeys(FIGURES))

    def put(self, how: str, **values: float) -> None:
        """Figures that were measured in one way."""
        for name, value in values.items():
            self.figures[f"transfer_{name}"] = value
            self.estimators[f"transfer_{name}"] = how

    def against_texts(self, task: Task, outcomes: Sequence[str]) -> None:
        """BLEU and SARI against the references, BLEU against the sentences themselves, copies."""
        same = sum(
            one.split() == two.split() for one, two in zip(task.sentences, outcomes, strict=True)
        )
        self.put("share of outcomes that are the sentence itself", copied=same / len(outcomes))
        try:
            score, signature = bleu(outcomes, [[text] for text in task.sentences])
            self.put(f"output against input, {signature}", self_bleu=score)
            if task.references:
                score, signature = bleu(outcomes, task.references)
                self.put(signature, bleu=score)
        except ImportError:
            self.tell(f"note: BLEU is left out, since sacrebleu is missing: {INSTALL}")
        if task.references:
            found = sari.corpus_sari(task.sentences, outcomes, task.references)
            self.put(sari.SIGNATURE, sari=found)

    def of_style(self, task: Task, outcomes: Sequence[str], corpus: Corpus) -> None:
        """What a judge says that has met no code."""
        if task.label is None:
            return
        try:
            judge = style_judge(corpus)
        except ImportError:
            self.tell(f"note: style is left out, since scikit-learn is missing: {INSTALL}")
            return
        self.put(
            judge.signature,
            style=judge.share(outcomes, task.label),
            style_before=judge.share(task.sentences, task.label),
            judge_accuracy=judge.accuracy,
        )

    def of_toy(self, task: Task, outcomes: Sequence[str], target: str) -> None:
        """What the grammar reads in the outcomes, where it can read the sentences."""
        if not task.toy:
            return
        rows = [_read(*pair, target) for pair in zip(task.sentences, outcomes, strict=True)]
        moved, kept, both = (sum(row[part] for row in rows) / len(rows) for part in range(3))
        self.put(
            f"the grammar of the toy: {target}; {', '.join(KEPT)} kept; both in one sentence",
            toy_style=moved,
            toy_kept=kept,
            toy_both=both,
        )


def _read(sentence: str, outcome: str, target: str) -> tuple[bool, bool, bool]:
    before, after = toy.factors(sentence), toy.factors(outcome)
    if after is None or before is None:
        return False, False, False
    moved = after.sentiment == target
    kept = all(getattr(before, name) == getattr(after, name) for name in KEPT)
    return moved, kept, moved and kept


class Rewriter(Protocol):
    """What is measured: something that rewrites sentences, as a `aecore.Run` does."""

    config: RunConfig

    @property
    def target_label(self) -> str | None:
        """The label that others get."""
        ...

    def transferred(self, sentences: Iterable[str]) -> Transfer:
        """Sentences as they become."""
        ...


def measure(
    run: Rewriter, corpus: Corpus, split: str, limit: int | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    """The `FIGURES` of a run on a split, and their ``estimators``."""
    target, on_toy = run.target_label, run.config.data.on_toy
    task = Task.of(corpus.split(split), corpus, target, limit, on_toy)
    done = run.transferred(task.sentences)
    scores = Scores(tell)
    scores.put(
        "to be rewritten: of another label than the target, or all", sentences=len(done.sentences)
    )
    scores.against_texts(task, done.sentences)
    scores.of_style(task, done.sentences, corpus)
    scores.of_toy(task, done.sentences, target or TOY_TARGET)
    scores.put(
        "wall time of all: encoder, mapping, decoder; and of the mapping alone",
        seconds=done.seconds,
        map_seconds=done.map_seconds,
    )
    return {**scores.figures, "estimators": scores.estimators}


def texts(run: Rewriter, corpus: Corpus, split: str, limit: int) -> dict[str, list[str]]:
    """What a judge of fluency reads: the sentences that are rewritten, and what they become."""
    task = Task.of(corpus.split(split), corpus, run.target_label, limit, run.config.data.on_toy)
    return {
        "sentences": task.sentences,
        "transfers": run.transferred(task.sentences).sentences,
    }


def bleu(outcomes: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, str]:
    """Corpus BLEU, 0 to 100, lower-cased, and sacrebleu's signature.

    Args:
        references: one or more for each outcome.

    Raises:
        ImportError: without sacrebleu.
    """
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(lowercase=True, force=True)
    most = max(map(len, references))
    streams: list[Any] = [
        [some[n] if n < len(some) else None for some in references] for n in range(most)
    ]
    score = metric.corpus_score(list(outcomes), streams)
    return float(score.score), str(metric.get_signature())
