"""A judge of fluency: what a language model that was trained elsewhere gives to a run's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

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
#: makes of their codes; of a run that rewrites, the sentences and what they become.
TEXTS = ("samples", "sentences", "reconstructions", "transfers")
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
        """``aecore evaluate --judge`` for one text: nats, per-token perplexity, unknown words."""
        return {
            f"judge_nll_{text}": self.nats / self.sentences,
            f"judge_ppl_{text}": perplexity(self.nats / self.tokens),
            f"judge_unknown_{text}": self.unknown,
        }


class Speaker(Protocol):
    """What is judged: something that samples and reconstructs, as a `aecore.Run` does."""

    vocabulary: Vocabulary

    @property
    def has_codes(self) -> bool:
        """Whether sentences have codes."""
        ...

    def sample(
        self, n: int, temperature: float, seed: int, *, max_length: int, unknown: bool
    ) -> list[str]:
        """n sentences, words drawn at a temperature."""
        ...

    def reconstruct(self, sentences: Sequence[str], *, max_length: int, unknown: bool) -> list[str]:
        """The likeliest words of each sentence's code."""
        ...


def texts(
    speaker: Speaker, split: Split, limit: int | None, max_length: int, seed: int
) -> dict[str, list[str]]:
    """What a judge reads, by the names of `TEXTS`, N sentences each, at most `JUDGED`.

    Samples are draws of the model: latents from the prior, and words at temperature 1.
    Reconstructions are the likeliest words, and none where there are no codes. ``<unk>`` may be
    written in both, as it may stand in the sentences.
    """
    original = split.head(min(limit or JUDGED, JUDGED))
    rows = pairwise(original.offsets.tolist())
    sentences = [speaker.vocabulary.decode(original.flat[a:b]) for a, b in rows]
    found = {
        "samples": speaker.sample(len(sentences), 1.0, seed, max_length=max_length, unknown=True),
        "sentences": sentences,
    }
    if speaker.has_codes:
        found["reconstructions"] = speaker.reconstruct(
            sentences, max_length=max_length, unknown=True
        )
    return found


@dataclass(frozen=True)
class Judge:
    """A language model that reads text of others, in its own vocabulary.

    Raises:
        CompositionError: for a decoder that reads a latent: its likelihood is not exact.
    """

    model: Model
    vocabulary: Vocabulary
    name: str
    batch_size: int

    def __post_init__(self) -> None:
        if self.model.reads_latent:
            raise CompositionError(
                f"'{self.name}' is no judge: its decoder reads a latent, so its likelihood is a "
                "bound, and bounds differ in their gaps",
                f"composition: {self.model.composition.label}",
                "due: a run of a language model, such as aecore train --plugin lstm_lm",
            )

    def read(self, sentences: Sequence[str], tick: Tick | None = None) -> Verdict:
        """What the judge gives to sentences, which may be empty."""
        model, nats, done = self.model, 0.0, 0
        split = Split.of("judged", sentences, self.vocabulary)
        with evaluating(model):
            for indices in evaluation_plan(split, self.batch_size):
                batch = split.batch(indices).to(model.device)
                nothing = model.beta.new_zeros(len(batch), 1, model.sizes.latent)
                nats += float(model.nll(batch, nothing).double().sum())
                done += len(batch)
                if tick is not None:
                    tick(done, len(split))
        tokens = sum(len(words(sentence)) + 1 for sentence in sentences)
        return Verdict(len(split), tokens, int((split.flat == UNKNOWN).sum()), nats)

    def verdicts(
        self, texts: Mapping[str, Sequence[str]], tick: Tick | None = None
    ) -> dict[str, Any]:
        """``aecore evaluate --judge`` for the `texts` of a run, and their ``estimators``."""
        rows: dict[str, Any] = dict.fromkeys(FIGURES)
        for text, sentences in texts.items():
            rows |= self.read(sentences, tick).row(text)
        n = len(texts["sentences"])
        label = f"exact, by the language model '{self.name}'; {n:,} sentences"
        estimated = [name for name in rows if not name.startswith("judge_unknown")]
        labels = {name: None if rows[name] is None else label for name in estimated}
        return {**rows, "estimators": labels}
