"""A judge of styles: a linear classifier of words and pairs of words, which no plugin has met.

Not the classifier that guides codes: a mapping learns to please that one, and does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: How the figure is to be quoted.
SIGNATURE = "logistic regression on tf-idf of words and pairs of words, C = 10"

#: Sentences up to which words that occur once are features too.
FEW = 1000


@dataclass(frozen=True)
class StyleJudge:
    """Tells the label of a sentence.

    Attributes:
        pipeline: of scikit-learn.
        accuracy: the share of test sentences whose label it knows, in [0, 1].
        trained_on, tested_on: sentences.
    """

    pipeline: Any
    accuracy: float
    trained_on: int
    tested_on: int

    @classmethod
    def train(
        cls,
        sentences: Sequence[str],
        labels: Sequence[int],
        test: Sequence[str],
        test_labels: Sequence[int],
    ) -> StyleJudge:
        """Fit to the training split, and measure on the test split.

        Raises:
            ImportError: without scikit-learn.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        least = 2 if len(sentences) > FEW else 1
        words = TfidfVectorizer(
            ngram_range=(1, 2), token_pattern=r"\S+", sublinear_tf=True, min_df=least
        )
        pipeline = make_pipeline(words, LogisticRegression(C=10, max_iter=1000))
        pipeline.fit(sentences, labels)
        accuracy = float(pipeline.score(test, test_labels))
        return cls(pipeline, accuracy, len(sentences), len(test))

    def share(self, sentences: Sequence[str], label: int) -> float:
        """The share of sentences that it gives this label, in [0, 1]."""
        found = self.pipeline.predict(sentences)
        return float((found == label).mean())

    @property
    def signature(self) -> str:
        """What it is, what it learnt from, and how good it is."""
        return (
            f"{SIGNATURE}; trained on {self.trained_on:,} sentences of train, right on "
            f"{self.accuracy:.1%} of {self.tested_on:,} of test"
        )
