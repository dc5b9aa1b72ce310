"""Wall time to the same validation NLL: aecore with AdamW, against the plain loop with the published SGD.

Both train the VAE in interleaved blocks of steps and are measured after each by the same code: the single-sample bound on the
first sentences of the validation split. Only training is on the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from aecore.evaluation.likelihood import evaluate_split
from aecore.model import Model
from aecore.plugin import PluginConfig
from aecore.streams import Streams
from aecore.training.trainer import Trainer
from aecore.vae import Vae
from bench.plain import PlainVae
from bench.steps import Counting, PlainTraining, our_steps

#: Validation sentences that both are measured on.
SENTENCES = 500


@dataclass(frozen=True)
class Point:
    """Seconds of training, and the validation NLL that they led to, nats per sentence."""

    seconds: float
    nll: float


@dataclass(frozen=True)
class Race:
    """The curves of both, and the NLL that is compared at: the best that the plain loop came to."""

    ours: list[Point]
    plain: list[Point]

    @property
    def target(self) -> float:
        """The best NLL of the plain loop."""
        return min(point.nll for point in self.plain)

    @property
    def ratio(self) -> float | None:
        """The plain loop's seconds to the target over ours; None where we did not come there."""
        mine, theirs = seconds_to(self.target, self.ours), seconds_to(self.target, self.plain)
        return None if mine is None or theirs is None else theirs / mine


def seconds_to(nll: float, curve: Sequence[Point]) -> float | None:
    """When a curve first meets ``nll``, on the straight line between two points; None where it does not."""
    before: Point | None = None
    for point in curve:
        if point.nll <= nll:
            if before is None:
                return point.seconds
            share = (before.nll - nll) / (before.nll - point.nll)
            return before.seconds + share * (point.seconds - before.seconds)
        before = point
    return None


def race(trainer: Trainer, blocks: int, steps: int, note: Callable[[str], None]) -> Race:
    """Train both for ``blocks`` blocks of ``steps`` steps; ``note`` hears a line after each."""
    plain, heard, scratch = PlainTraining(trainer), Counting(), _twin(trainer.model, trainer.streams)
    trainer.progress = heard
    clocks, curves = [0.0, 0.0], Race([], [])
    works: list[Callable[[], int]] = [lambda: our_steps(trainer, heard, steps), lambda: plain.steps(steps)]
    for _ in range(blocks):
        for side, work in enumerate(works):
            began = time.perf_counter()
            work()
            clocks[side] += time.perf_counter() - began
        _copy(plain.model, scratch)
        curves.ours.append(Point(clocks[0], _measured(trainer, trainer.model)))
        curves.plain.append(Point(clocks[1], _measured(trainer, scratch)))
        mine, theirs = curves.ours[-1], curves.plain[-1]
        note(f"  {mine.seconds:6.0f} s {mine.nll:7.2f} nats   plain {theirs.seconds:6.0f} s {theirs.nll:7.2f} nats")
    return curves


def _twin(model: Model, streams: Streams) -> Model:
    """A model of the same defaults, for the plain network's weights to be measured in."""
    return Model(model.composition, {"vae": Vae(PluginConfig(), model.sizes)}, model.sizes, streams).eval()


def _measured(trainer: Trainer, model: Model) -> float:
    found = evaluate_split(model, trainer.corpus.valid, trainer.streams, 32, limit=SENTENCES).nll_elbo
    assert found is not None
    return found


def pairs(model: Model, plain: PlainVae) -> list[tuple[nn.Module, nn.Module]]:
    """The layers of both networks that correspond."""
    return [
        (model.encoder.embedding, plain.read),
        (model.encoder.lstm, plain.encoder),
        (model.plugin("vae").get_submodule("head"), plain.head),
        (model.decoder.embedding, plain.write),
        (model.decoder.bridge, plain.bridge),
        (model.decoder.lstm, plain.decoder),
        (model.decoder.output, plain.output),
    ]


@torch.no_grad()
def _copy(plain: PlainVae, model: Model) -> None:
    for ours, theirs in pairs(model, plain):
        ours.load_state_dict(theirs.state_dict())
