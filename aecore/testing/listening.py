"""Whole runs of the tiny model, and every call of a hook that was heard in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from aecore.composition import reaches
from aecore.data.corpus import Corpus
from aecore.generation.decode import decode
from aecore.generation.strategy import Strategy
from aecore.hooks import Call, Observer
from aecore.model import Model, evaluating
from aecore.streams import stream
from aecore.testing.compare import snapshot
from aecore.testing.lab import TinyTrainer, corpus, training
from aecore.testing.subject import Subject
from aecore.transfer import TransferRequest


@dataclass(frozen=True)
class Heard:
    """One call of one plugin's hook, and whether torch was seeded inside it."""

    plugin: str
    hook: str
    place: str
    seeded: bool


class Listening:
    """An observer that remembers every call of every hook.

    Args:
        through: another observer, which gives the value.
    """

    def __init__(self, through: Observer | None = None) -> None:
        self.calls: list[Heard] = []
        self._through = through

    def __call__(self, call: Call, offered: Mapping[str, Any]) -> Any:
        """What the plugin gives."""
        before = torch.default_generator.initial_seed()
        value = call.answer(**offered) if self._through is None else self._through(call, offered)
        seeded = torch.default_generator.initial_seed() != before
        self.calls.append(Heard(call.plugin, call.hook.name, call.place, seeded))
        return value


@dataclass(frozen=True)
class Run:
    """A run from start to end: parameters before it, calls that were heard, weights."""

    trainer: TinyTrainer
    before: Mapping[str, Tensor]
    heard: list[Heard]
    weights: bytes


@lru_cache(maxsize=2)
def whole_run(subject: Subject) -> Run:
    """A run with seed 0, then samples of the prior; made once for checks that only look."""
    heard = Listening()
    with training(subject, observer=heard) as trainer:
        before = snapshot(trainer.model)
        weights = trainer.to_the_end().folder.weights.read_bytes()
        generate(trainer.model, corpus())
    return Run(trainer, before, heard.calls, weights)


def generate(model: Model, data: Corpus) -> None:
    """Sample, score, decode and map codes: what calls the hooks that are for use."""
    with stream("generate"), evaluating(model):
        z = model.prior_sample(2)
        if reaches("prior", model.level["prior"], "density"):
            model.prior_logprob(z)
        decode(model, data.vocabulary, z, Strategy(max_length=3))
        model.latent_map(z, TransferRequest(z, z + 1))
