"""The handle to a run: what one does with a trained latent space."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from aecore.assembly import assemble_run, resolve_device, versions
from aecore.batch import UNKNOWN
from aecore.catalogue import Catalogue
from aecore.data.batching import evaluation_plan
from aecore.data.corpus import Corpus, Split, load_corpus
from aecore.data.vocabulary import Vocabulary
from aecore.errors import AecoreError, CompositionError, DataError, RunError
from aecore.evaluation import judge as judging
from aecore.evaluation import rewriting
from aecore.evaluation.protocol import Figures, Tick, evaluate_split
from aecore.generation.codes import on_space
from aecore.generation.decode import decode
from aecore.generation.interpolate import interpolate
from aecore.generation.strategy import Choice, Strategy
from aecore.model import Model, evaluating
from aecore.runs.base import restore
from aecore.runs.checkpoint import load_tensors, save_tensors
from aecore.runs.config import RunConfig
from aecore.runs.folder import RunFolder
from aecore.runs.weights import Weights, read_vocabulary
from aecore.streams import Streams
from aecore.training.state import TrainState
from aecore.transfer import Transfer, TransferRequest


def _damaged(path: Path, reason: object) -> RunError:
    return RunError(f"'{path}' is damaged", f"reason: {reason}")


def _stopped(folder: RunFolder) -> list[str]:
    """Where a run without selected weights stands, and how its weights are had as they are."""
    try:
        _, meta = load_tensors(folder.checkpoint)
        counters = {field.name: meta["state"]["loop"][field.name] for field in fields(TrainState)}
        state = TrainState(**counters)
    except (AecoreError, OSError, KeyError, TypeError):
        return []
    step = state.step
    if not state.joint:
        return [f"its checkpoint stands at step {step} of stage {state.phase + 1}, before all else"]
    return [
        f"its checkpoint stands at step {step}; to measure and keep those weights: aecore resume "
        f"{folder.path} --max-steps {step}"
    ]


class Run:
    """A trained run: its folder, configuration, vocabulary and model.

    Every draw is keyed by a seed, so that the same call gives the same result, and torch's own
    generators stay as they are.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: RunConfig,
        vocabulary: Vocabulary,
        model: Model,
        corpus: str | None = None,
        data: str | None = None,
    ) -> None:
        self.folder = folder
        self.config = config
        self.vocabulary = vocabulary
        self.model = model.eval()
        self._trained_on, self._data = corpus, data

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = "auto",
        catalogue: Catalogue | None = None,
        data: str | None = None,
    ) -> Run:
        """Load the selected weights of a run.

        Args:
            data: a corpus to measure it on, in place of the one that it was trained on.

        Raises:
            RunError: when there is no run, it has no weights yet, a file is damaged, or a plugin of
                it is missing.
        """
        folder = RunFolder.open(Path(path))
        config = folder.read_config()
        assembly = assemble_run(config, catalogue or Catalogue.discover(), folder.path)
        if not folder.weights.is_file():
            raise RunError(
                f"the run '{path}' has no weights yet: it has not reached the end of an epoch",
                *_stopped(folder),
                f"to go on with it: aecore resume {path}",
            )
        weights = Weights.read(folder)
        vocabulary = read_vocabulary(folder, weights.tokenizer)
        model = assembly.build(config, len(vocabulary), resolve_device(device))
        if model.frozen and config.base is not None:
            restore(model, folder, config.base)
        weights.into(model, folder)
        return cls(folder, config, vocabulary, model, weights.corpus, data)

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    @property
    def summary(self) -> dict[str, Any]:
        """The final figures, or nothing for a run that is not finished."""
        if not self.folder.summary.is_file():
            return {}
        try:
            found = json.loads(self.folder.summary.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _damaged(self.folder.summary, error) from error
        if not isinstance(found, dict):
            raise _damaged(self.folder.summary, "it holds no table")
        return found

    @property
    def changed_versions(self) -> list[str]:
        """What the run was trained with and now has in another version, one by one."""
        then, now = self.config.versions, versions(self.model.composition)
        return [
            f"{name} {version} then, {now[name]} now"
            for name, version in then.items()
            if now.get(name, version) != version
        ]

    @property
    def has_codes(self) -> bool:
        """Whether sentences have codes: false without a posterior, as in a language model."""
        return self.model.level["posterior"] != "none"

    def _require_codes(self) -> None:
        if not self.has_codes:
            raise CompositionError(
                f"the sentences of '{self.path}' have no codes: "
                f"'{self.model.composition.owners['posterior_sample']}' has no "
                "posterior",
                f"composition: {self.model.composition.label}",
                f"what it can do: aecore sample {self.path}; aecore evaluate {self.path}",
            )

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        try:
            lines = self.folder.metrics.read_text(encoding="utf-8").splitlines()
            return [json.loads(line) for line in lines]
        except (OSError, ValueError) as error:
            raise _damaged(self.folder.metrics, error) from error

    def encode(self, sentences: Iterable[str]) -> Tensor:
        """(N, D): the code of each sentence, the centre or mean of its posterior.

        Args:
            sentences: any iterable of strings; a single string is refused.

        Raises:
            DataError: for a sentence without words.
            CompositionError: for a composition without a posterior.
        """
        self._require_codes()
        if isinstance(sentences, str):
            raise DataError("sentences are due, and a string came", f"due: [{sentences!r}]")
        sentences = list(sentences)
        for number, sentence in enumerate(sentences, start=1):
            if not sentence.strip():
                raise DataError(f"sentence {number} is empty", "due: at least one word")
        split = Split.of("input", sentences, self.vocabulary)
        codes = torch.empty(len(split), self.model.sizes.latent)
        with evaluating(self.model), Streams(0, self.model.device)("sample", "encode"):
            for indices in evaluation_plan(split, self.config.evaluate.batch_size):
                codes[indices] = self.model.code(split.batch(indices).to(self.model.device)).cpu()
        return codes

    def decode(
        self, z: Tensor, temperature: float | None = None, seed: int = 0, **choice: Unpack[Choice]
    ) -> list[str]:
        """The sentence of each latent in z (N, D), the likeliest words by default.

        Args:
            temperature, top_k, top_p, beam, unknown: see `aecore.generation.strategy.Strategy`.
            max_length: words after which a sentence is cut; ``data.max_length`` of the run unless
                given.
            seed: of the words that are drawn; the same at any batch size.

        Raises:
            ConfigError: for keywords out of range, or of which one would have no effect.
            DataError: for latents of another shape, that are not finite, or that lie outside of the
                latent space.
            CompositionError: for a composition without a posterior.
        """
        self._require_codes()
        return self._decode(z, self._strategy(temperature, choice), seed)

    def _strategy(self, temperature: float | None, choice: Choice) -> Strategy:
        longest: Choice = {"max_length": self.config.data.max_length}
        return Strategy(temperature, **(longest | choice))

    def _decode(self, z: Tensor, strategy: Strategy, seed: int) -> list[str]:
        latent = self.model.sizes.latent
        if z.ndim != 2 or z.shape[1] != latent:
            raise DataError(
                f"the codes have the shape {tuple(z.shape)}",
                f"due: (N, {latent}), the latent size of the run",
            )
        if not bool(z.isfinite().all()):
            raise DataError("the codes are not all finite")
        z = on_space(self.model.space, z)
        with Streams(seed, self.model.device)("sample", "decode"):
            return decode(self.model, self.vocabulary, z.to(self.model.device), strategy)

    def sample(
        self, n: int = 10, temperature: float | None = None, seed: int = 0, **choice: Unpack[Choice]
    ) -> list[str]:
        """n sentences from latents drawn from the prior; keywords as for `decode`.

        A language model has one likeliest sentence: unless told how to choose, it draws words at
            temperature 1.

        Example: ``run.sample(10, temperature=0.8, top_p=0.9, seed=1)``
        """
        if temperature is None and not self.model.reads_latent and choice.get("beam", 1) == 1:
            temperature = 1.0
        strategy = self._strategy(temperature, choice)
        with evaluating(self.model), Streams(seed, self.model.device)("sample", "prior"):
            z = self.model.prior_sample(n)
        return self._decode(z, strategy, seed)

    def reconstruct(
        self,
        sentences: Iterable[str],
        temperature: float | None = None,
        seed: int = 0,
        **choice: Unpack[Choice],
    ) -> list[str]:
        """What the decoder makes of the code of each sentence; keywords as for `decode`."""
        return self.decode(self.encode(sentences), temperature, seed, **choice)

    def interpolate(
        self,
        start: str,
        end: str,
        steps: int = 7,
        temperature: float | None = None,
        seed: int = 0,
        **choice: Unpack[Choice],
    ) -> list[str]:
        """Sentences at ``steps`` equally spaced points from one sentence's code to another's.

        The way is the geodesic of the latent space that the composition declares; keywords as for
        `decode`.
        """
        a, b = self.encode([start, end])
        return self.decode(interpolate(self.model.space, a, b, steps), temperature, seed, **choice)

    def transfer(
        self,
        sentences: Iterable[str],
        before: Iterable[str] | None = None,
        after: Iterable[str] | None = None,
        strength: float = 1.0,
        temperature: float | None = None,
        seed: int = 0,
        **choice: Unpack[Choice],
    ) -> list[str]:
        """Sentences as they are to become: encoded, mapped by the plugins of the run, decoded.

        Args:
            before, after: examples of how sentences are and of how they are to become.
            strength: how far, 1 being the way between the two.

        Raises:
            CompositionError: for a run none of whose plugins maps codes.
            DataError: where examples of one kind alone are given, or none of a kind.
        """
        request = self.asked(before, after, strength)
        return self.transferred(sentences, request, temperature, seed, **choice).sentences

    def asked(
        self,
        before: Iterable[str] | None = None,
        after: Iterable[str] | None = None,
        strength: float = 1.0,
    ) -> TransferRequest:
        """What `transferred` takes: the examples of `transfer` as codes."""
        return TransferRequest(*self._examples(before, after), strength)

    def transferred(
        self,
        sentences: Iterable[str],
        request: TransferRequest | None = None,
        temperature: float | None = None,
        seed: int = 0,
        **choice: Unpack[Choice],
    ) -> Transfer:
        """`transfer`, with what the plugins tell of each sentence, such as the steps they took."""
        self._require_codes()
        if not self.model.composition.implementers("latent_map"):
            raise CompositionError(
                f"no plugin of '{self.path}' maps codes to others",
                f"composition: {self.model.composition.label}",
                "what it can do: decode codes that are computed from those of encode",
            )
        asked = request or TransferRequest()
        began = time.perf_counter()
        codes = self.encode(sentences).to(self.model.device)
        before = time.perf_counter()
        with evaluating(self.model), Streams(seed, self.model.device)("sample", "transfer"):
            mapped = self.model.latent_map(codes, asked).cpu()
        mapping = time.perf_counter() - before
        told = {name: values.cpu() for name, values in asked.told.items()}
        became = self.decode(mapped, temperature, seed, **choice)
        return Transfer(became, told, time.perf_counter() - began, mapping)

    def _examples(
        self, before: Iterable[str] | None, after: Iterable[str] | None
    ) -> tuple[Tensor | None, Tensor | None]:
        if before is None and after is None:
            return None, None
        if before is None or after is None:
            given, missing = ("after", "before") if before is None else ("before", "after")
            raise DataError(
                f"there are examples of how sentences are {given}, and none of how they are "
                f"{missing}",
                "due: some of both, or none of either",
            )
        pair = []
        for name, some in (("before", list(before)), ("after", list(after))):
            if not some:
                raise DataError(f"there is no example of how sentences are {name}")
            pair.append(self.encode(some).to(self.model.device))
        return pair[0], pair[1]

    def unknown_words(self, sentences: Sequence[str]) -> int:
        """How many words of the sentences the vocabulary does not hold."""
        split = Split.of("input", sentences, self.vocabulary)
        return int((split.flat == UNKNOWN).sum())

    def split(self, name: str) -> Split:
        """A split of the corpus that the run was trained on, read again, or of ``data``.

        Raises:
            DataError: when the corpus is gone.
            RunError: when other sentences lie in its place now.
        """
        return self._corpus().split(name)

    def _corpus(self) -> Corpus:
        config = self.config.data
        corpus = load_corpus(self._data or config.spec, config.max_length, self.vocabulary)
        if self._data is None and self._trained_on not in {None, corpus.fingerprint}:
            raise RunError(
                f"'{config.spec}' holds other sentences than '{self.path}' was trained on",
                "put the old files back, or say what to measure: --data SPEC",
            )
        return corpus

    def texts(self, split: str = "test", limit: int | None = None) -> dict[str, list[str]]:
        """What a judge of fluency reads of this run; see `aecore.evaluation.judge.texts`."""
        if self.model.composition.rewrites:
            most = min(limit or judging.JUDGED, judging.JUDGED)
            return rewriting.texts(self, self._corpus(), split, most)
        data, seed = self.config.data, self.config.train.seed
        return judging.texts(self, self.split(split), limit, data.max_length, seed)

    def judge(
        self, judge: Run, split: str = "test", limit: int | None = None, tick: Tick | None = None
    ) -> dict[str, Any]:
        """``aecore evaluate --judge``: what a language model gives to the `texts` of this run.

        Raises:
            CompositionError: when the likelihood of the judge is not exact.
        """
        name, size = str(judge.path), judge.config.evaluate.batch_size
        by = judging.Judge(judge.model, judge.vocabulary, name, size)
        return by.verdicts(self.texts(split, limit), tick)

    @property
    def target_label(self) -> str | None:
        """The label that a run over labelled sentences gives to others; None of any other run."""
        composition = self.model.composition
        if composition.data != "labelled" or not composition.rewrites:
            return None
        named = (getattr(self.model.plugin(p).config, "target", "") for p in composition.names)
        return next((str(label) for label in named if label), None)

    def rewriting(
        self,
        split: str = "test",
        limit: int | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> dict[str, Any]:
        """``aecore evaluate`` of a run that rewrites: BLEU, SARI, style and time of transfers.

        Args:
            limit: the first so many that are to be rewritten.
            tell: called with a line where a library is missing that a figure needs.

        Raises:
            CompositionError: for a run that learnt no rewriting.
            DataError: for a split without a sentence to rewrite.
        """
        composition = self.model.composition
        if not composition.rewrites:
            raise CompositionError(
                f"'{self.path}' has not learnt to rewrite sentences",
                f"composition: {composition.label}",
                "due: a run over pairs or labels, such as aecore train --plugin emb2emb",
            )
        return rewriting.measure(self, self._corpus(), split, limit, tell)

    def evaluate(
        self,
        split: str = "test",
        limit: int | None = None,
        iw_samples: int | None = None,
        tick: Tick | None = None,
        save: bool = False,
    ) -> dict[str, Any]:
        """``aecore evaluate --json`` for a split, or for its first ``limit`` sentences.

        Args:
            iw_samples: samples of ``nll_iw``, ``evaluate.iw_samples`` of the run unless given, and
                none of a run that rewrites; 0 leaves it out.
            save: keep the figures of single sentences in the run folder, (N,) float32 each:
                ``evaluation-<split>.safetensors``.
        """
        settings = self.config.evaluate
        streams = Streams(self.config.train.seed, self.model.device)
        usual = 0 if self.model.composition.rewrites else settings.iw_samples
        samples = usual if iw_samples is None else iw_samples
        found = evaluate_split(
            self.model,
            self.split(split),
            streams,
            settings.batch_size,
            limit,
            tick,
            mi=True,
            iw_samples=samples,
        )
        if save:
            self._save(split, found)
        return found.report()

    def _save(self, split: str, figures: Figures) -> None:
        meta = {
            "split": split,
            "corpus": self._data or self.config.data.spec,
            "data": self._corpus().fingerprint,
            "seed": self.config.train.seed,
            "estimators": figures.report()["estimators"],
        }
        save_tensors(self.folder.evaluation(split), figures.each, meta)
