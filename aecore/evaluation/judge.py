"""An external judge of fluency: what a language model that was trained elsewhere gives to the text of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aecore.batch import UNKNOWN
from aecore.data.batching import evaluation_plan
from aecore.data.corpus import Split
from aecore.data.vocabulary import Vocabulary, words
from aecore.errors import CompositionError
from aecore.evaluation.protocol import Tick, perplexity
from aecore.model import Model, evaluating

#: Sentences that are judged at most, the first of the split and as many samples.
JUDGED = 1000
#: The texts of a run that are judged: draws of the model, the split's sentences, and what the run
#: makes of their codes.
TEXTS = ("samples", "sentences", "reconstructions")
#: The keys of ``aecore evaluate --judge``.
FIGURES = tuple(f"judge_{figure}_{text}" for text in TEXTS for figure in ("nll", "ppl", "unknown"))


@dataclass(frozen=True)
class Verdict:
    """What the judge gives to a text.

    Attributes:
        sentences, tokens: N; words, as white space cuts them, and a ``</s>`` for each sentence.
        unknown: the words that are ``<unk>`` to the judge.
        nats: -log p over all sentences.
    """

    sentences: int
    tokens: int
    unknown: int
    nats: float

    def row(self, text: str) -> dict[str, float | int]:
        """The keys of ``aecore evaluate --judge`` for one text: nats per sentence, per-token perplexity, unknown words."""
        return {
            f"judge_nll_{text}": self.nats / self.sentences,
            f"judge_ppl_{text}": perplexity(self.nats / self.tokens),
            f"judge_unknown_{text}": self.unknown,
        }


def check_judge(model: Model, name: str) -> None:
    """Refuse a judge whose likelihood is not exact.

    Raises:
        CompositionError: for a decoder that reads a latent.
    """
    if model.reads_latent:
        raise CompositionError(
            f"'{name}' is no judge: its decoder reads a latent, so its likelihood is a bound, and bounds differ in their gaps",
            f"composition: {model.composition.label}",
            "due: a run of a language model, such as aecore train --plugin lstm_lm",
        )


def judged(
    model: Model,
    vocabulary: Vocabulary,
    sentences: Sequence[str],
    batch_size: int,
    tick: Tick | None = None,
) -> Verdict:
    """What a language model gives to sentences, which may be empty, in its own vocabulary.

    Raises:
        CompositionError: where its likelihood is not exact.
    """
    check_judge(model, model.composition.label)
    split, nats, done = Split.of("judged", sentences, vocabulary), 0.0, 0
    with evaluating(model):
        for indices in evaluation_plan(split, batch_size):
            batch = split.batch(indices).to(model.device)
            nothing = model.beta.new_zeros(len(batch), 1, model.sizes.latent)
            nats += float(model.nll(batch, nothing).double().sum())
            done += len(batch)
            if tick is not None:
                tick(done, len(split))
    tokens = sum(len(words(sentence)) + 1 for sentence in sentences)
    return Verdict(len(split), tokens, int((split.flat == UNKNOWN).sum()), nats)
