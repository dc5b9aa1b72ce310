"""Test bench of the kit: a tiny corpus and models, far from 0 and from every bound."""

from __future__ import annotations

import math
import random
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aecore.batch import Batch
from aecore.composition import reaches
from aecore.data.corpus import Corpus, Split
from aecore.data.vocabulary import Vocabulary
from aecore.hooks import Call, Observer
from aecore.model import Model
from aecore.progress import Silent
from aecore.runs.base import keep, restore
from aecore.runs.config import BaseConfig, RunConfig
from aecore.runs.folder import RunFolder
from aecore.step import Step
from aecore.streams import stream
from aecore.testing.subject import Subject
from aecore.training.stages import Stage
from aecore.training.trainer import Trainer

#: V = 40 with the four markers; E, H and D of the tiny model.
WORDS = tuple(f"w{number:02d}" for number in range(36))
EMBEDDING, HIDDEN, LATENT = 8, 12, 4
#: Initial weights are near 0, where every posterior is the prior and nothing shows. Scaled up to
#: this deviation (less where more inputs are summed), the default posterior's KL is about 5 nats,
#: 0.01 to 10 in a dimension: on both sides of the usual floors, ceilings and set points.
SPREAD, INPUTS = 1.2, 12
#: Where that gives more nats than this, as deep networks do, the plugin's own weights are scaled
#: down by so much, so many times.
NATS, SMALLER, TIMES = 12.0, 0.7, 12
#: Learned priors are looked at away from where they start, by this much.
JOLT = 0.3
#: Steps of a stage, at most: past the end of an epoch, which has three.
STAGE_STEPS = 4


@contextmanager
def laboratory(name: str) -> Iterator[None]:
    """One thread, a random stream of its own, no warnings; all given back afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with stream("conformance", name), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def double() -> Iterator[None]:
    """float64 for all that is made inside the block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@cache
def corpus() -> Corpus:
    """21, 6 and 6 sentences of 1 to 10 words; three batches an epoch, the last one smaller.

    Every sentence has one of two labels and another that it is to become, for whoever asks.
    """
    texts = {name: _sentences(name, n) for name, n in (("train", 21), ("valid", 6), ("test", 6))}
    vocabulary = Vocabulary.build([*texts["train"], " ".join(WORDS)])
    train, valid, test = (
        _paired(Split.of(name, sentences, vocabulary), sentences, vocabulary)
        for name, sentences in texts.items()
    )
    return Corpus(train, valid, test, vocabulary, labels=("negative", "positive"))


def _paired(split: Split, sentences: list[str], vocabulary: Vocabulary) -> Split:
    labels = torch.arange(len(split), dtype=torch.int32) % 2
    turned = [" ".join(reversed(sentence.split())) for sentence in sentences]
    return replace(split, labels=labels, target=Split.of(split.name, turned, vocabulary))


def _sentences(name: str, n: int) -> list[str]:
    draw = random.Random(name)
    return [" ".join(draw.choices(WORDS, k=1 + 3 * number % 10)) for number in range(n)]


def batch_of(sentences: int | Iterable[int]) -> Batch:
    """The first so many training sentences, or those of these numbers; their lengths are mixed."""
    numbers = range(sentences) if isinstance(sentences, int) else sentences
    return corpus().train.batch(torch.tensor(list(numbers)))


def run_config(
    *subjects: Subject,
    seed: int = 0,
    latent: int = LATENT,
    dropout: float = 0.5,
    optimiser: str = "muon",
    lr: float = 0.01,
) -> RunConfig:
    """Two epochs of AdamW at a rate that moves weights visibly; the last ones are kept."""
    sizes = {"sizes": "toy", "embedding": EMBEDDING, "hidden": HIDDEN, "latent": latent}
    train = {
        "seed": seed,
        "epochs": 2,
        "batch_size": 8,
        "optimiser": optimiser,
        "lr": lr,
        "log_every": 1,
        "select": "last",
        "device": "cpu",
    }
    tables = {
        "model": {**sizes, "dropout_in": dropout, "dropout_out": dropout},
        "train": {**train, "threads": 1},
        "evaluate": {"batch_size": 4},
        "plugins": {one.name: dict(one.settings) for one in subjects if not one.is_default},
    }
    return RunConfig.model_validate(tables)


def build(
    subject: Subject,
    *companions: Subject,
    spread: bool = True,
    data: Corpus | None = None,
    **config: Any,
) -> Model:
    """A tiny model, in training mode; ``config`` is for `run_config`."""
    assembly = subject.assembly(*companions)
    words = len((data or corpus()).vocabulary)
    model = assembly.build(run_config(subject, **config), words, torch.device("cpu"))
    if spread:
        _spread(model)
        model.weights_changed()
    return model.train()


@torch.no_grad()
def _spread(model: Model) -> None:
    """Scale what is nearly 0 up, so that posteriors differ from the prior and from one another."""
    for parameter in model.params("encoder", "decoder"):
        size = float(parameter.std()) if parameter.numel() > 1 else 0.0
        inputs = max(parameter.shape[-1], INPUTS) if parameter.dim() > 1 else INPUTS
        due = SPREAD * math.sqrt(INPUTS / inputs)
        if 0 < size < due:
            parameter.mul_(due / size)
    own = [p for name, p in model.named_params("encoder") if name.startswith("plugins.")]
    for _ in range(TIMES):
        if not own or _nats(model) <= NATS:
            return
        for parameter in own:
            parameter.mul_(SMALLER)
        model.weights_changed()


def _nats(model: Model) -> float:
    """How far the posteriors are from the prior, about: the KL divergence, or half of E|z|^2."""
    with stream("spread"):
        step = step_on(model, batch_of(7))
        value = 0.5 * step.sample.z.square().sum(-1).mean()
        if reaches("kl", model.level["kl"], "batch"):
            value = value.maximum(step.kl.sum(1).mean().abs())
    return float(value) if bool(value.isfinite()) else math.inf


@torch.no_grad()
def jolt(model: Model) -> None:
    """Move a learned prior away from its initial state, where means are 0 and scales are 1."""
    for parameter in model.params("prior"):
        inputs = parameter.shape[-1] if parameter.dim() > 1 else 1
        parameter.add_(JOLT / math.sqrt(inputs) * torch.randn_like(parameter))
    model.weights_changed()  # what is cached was made from other weights


class _Rows(Silent):
    """Keeps the lines of metrics.jsonl that tell of a single step."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def row(self, row: Mapping[str, object]) -> None:
        if row.get("span") == "window":
            self.rows.append({key: value for key, value in row.items() if key != "tokens_per_s"})


class TinyTrainer(Trainer):
    """The trainer with short stages, and checkpoints only where `save` asks for one.

    Attributes:
        rows: the scalars of each step.
        staged: the roles that stages trained.
    """

    def __init__(
        self, model: Model, config: RunConfig, folder: RunFolder, data: Corpus | None = None
    ) -> None:
        self.listener = _Rows()
        self.staged: set[str] = set()
        super().__init__(model, data or corpus(), config, folder, self.listener)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One mapping a step."""
        return self.listener.rows

    def _ask_for_stages(self) -> None:
        super()._ask_for_stages()
        self._stages = [
            replace(planned, stage=self._shortened(planned.stage)) for planned in self._stages
        ]
        self.staged = {role for planned in self._stages for role in planned.stage.trains}

    def _shortened(self, stage: Stage) -> Stage:
        return replace(
            stage, steps=min(stage.total_steps(self.steps_per_epoch), STAGE_STEPS), epochs=None
        )

    def checkpoint(self) -> None:
        """Nothing: writing takes longer than the steps."""

    def save(self) -> None:
        """The checkpoint that a kill leaves behind."""
        super().checkpoint()

    def to_the_end(self) -> TinyTrainer:
        """Every unit of work that is left."""
        while self.advance():
            pass
        return self

    def to_the_joint_phase(self) -> TinyTrainer:
        """Every stage."""
        while not self.state.joint:
            self.advance()
        return self


@contextmanager
def training(
    subject: Subject,
    *companions: Subject,
    spread: bool = True,
    observer: Observer | None = None,
    data: Corpus | None = None,
    **config: Any,
) -> Iterator[TinyTrainer]:
    """A trainer before its first step, in a temporary folder; an observer hears its hooks.

    Args:
        data: another corpus than `corpus`.
    """
    subjects = (subject, *companions)
    with tempfile.TemporaryDirectory(prefix="aecore-check-") as path:
        model = build(*subjects, spread=spread, data=data, **config)
        folder = RunFolder(Path(path))
        trainer = TinyTrainer(model, run_config(*subjects, **config), folder, data)
        if model.composition.base:
            keep(model, trainer.folder, BaseConfig())
        with model.hooks.observed(observer or _unchanged):
            trainer.start()
            yield trainer


def _unchanged(call: Call, offered: Mapping[str, Any]) -> Any:
    return call.answer(**offered)


def reopen(trainer: TinyTrainer, subject: Subject, *companions: Subject) -> TinyTrainer:
    """What a new process does after a kill: build everything, go on from the checkpoint."""
    data, config = trainer.corpus, trainer.config
    assembly = subject.assembly(*companions)
    model = assembly.build(config, len(data.vocabulary), torch.device("cpu")).train()
    again = TinyTrainer(model, config, trainer.folder, data)
    if again.model.composition.base:
        restore(again.model, again.folder, BaseConfig())
    again.restore()
    return again


def step_on(
    model: Model, batch: Batch, samples: int | None = None, beta: float = 1.0, **known: Any
) -> Step:
    """A training step on features that are not corrupted, with beta 1 unless told otherwise."""
    features = model.features(batch)
    count = model.samples if samples is None else samples
    known = {"features": features, "training": True, **known}
    return Step(model, batch, samples=count, schedule=lambda kl: kl.new_tensor(beta), **known)


def values_of(step: Step) -> dict[str, Tensor]:
    """What hooks make of a step, by the name of the quantity; (B, ...) each."""
    model, sample = step.model, step.sample
    values = {"z": sample.z, "mean": sample.mean}
    if sample.log_prob is not None:
        values["log_prob"] = sample.log_prob
    values |= {"condition": step.condition, "rec": step.rec, "kl": step.kl, "kl_loss": step.kl_loss}
    values["objective"] = model.objective(step)
    for call in model.hooks.each("extra_loss"):
        values[f"extra_loss of {call.plugin}"] = call.tensor(call(step=step), (len(step.batch),))
    return values
