"""Time to quality: seconds to the validation NLL that the published recipe has in the end.

aecore with its fast recipe against the plain loop with the published one: SGD at 1, published
initialisation, dropout 0.5. Both train the VAE in interleaved blocks of one process and are
measured after each by the same code, the single-sample bound on the first sentences of the
validation split. Only training is on the clock.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from aecore.evaluation.protocol import evaluate_split
from aecore.model import Model
from aecore.plugin import PluginConfig
from aecore.streams import Streams
from aecore.training.trainer import Trainer
from aecore.vae import Vae
from bench.plain import PlainVae
from bench.steps import Counting, PlainTraining, our_steps

#: Validation sentences that both are measured on.
SENTENCES = 500
#: Epochs of the published recipe whose NLL is the mark.
EPOCHS = 6


@dataclass(frozen=True)
class Point:
    """Seconds of training, and the validation NLL that they led to, nats per sentence."""

    seconds: float
    nll: float


@dataclass(frozen=True)
class Race:
    """The curves of both; the mark is where the plain loop ends."""

    ours: list[Point]
    plain: list[Point]

    @property
    def target(self) -> float:
        """The plain loop's NLL after its last epoch."""
        return self.plain[-1].nll

    @property
    def seconds(self) -> float | None:
        """When ours first met the mark; None where it did not."""
        return seconds_to(self.target, self.ours)

    @property
    def ratio(self) -> float | None:
        """The plain loop's seconds over ours."""
        mine = self.seconds
        return None if mine is None else self.plain[-1].seconds / mine


def seconds_to(nll: float, curve: Sequence[Point]) -> float | None:
    """When a curve first meets ``nll``, by straight lines; None where it does not."""
    before: Point | None = None
    for point in curve:
        if point.nll <= nll:
            if before is None:
                return point.seconds
            share = (before.nll - nll) / (before.nll - point.nll)
            return before.seconds + share * (point.seconds - before.seconds)
        before = point
    return None


def race(trainer: Trainer, blocks: int, note: Callable[[str], None]) -> Race:
    """Train both to their ends, block by block: ours as planned, the plain loop `EPOCHS`."""
    plain, heard, scratch = (
        PlainTraining(trainer),
        Counting(),
        _twin(trainer.model, trainer.streams),
    )
    trainer.progress = heard
    clocks, curves = [0.0, 0.0], Race([], [])
    for mine, theirs in zip(
        _cut(trainer.total_steps, blocks), _cut(EPOCHS * len(plain.batches), blocks), strict=True
    ):
        works: list[Callable[[], int]] = [
            _bound(our_steps, trainer, heard, mine),
            _bound(plain.steps, theirs),
        ]
        for side, work in enumerate(works):
            began = time.perf_counter()
            work()
            clocks[side] += time.perf_counter() - began
        _copy(plain.model, scratch)
        curves.ours.append(Point(clocks[0], _measured(trainer, trainer.model)))
        curves.plain.append(Point(clocks[1], _measured(trainer, scratch)))
        one, other = curves.ours[-1], curves.plain[-1]
        note(
            f"  {one.seconds:6.0f} s {one.nll:7.2f} nats   plain {other.seconds:6.0f} s "
            f"{other.nll:7.2f} nats"
        )
    return curves


def _cut(steps: int, blocks: int) -> list[int]:
    """``steps`` in blocks whose sizes differ by one at most."""
    return [steps * (n + 1) // blocks - steps * n // blocks for n in range(blocks)]


def _bound(work: Callable[..., int], *values: object) -> Callable[[], int]:
    return lambda: work(*values)


def draw(races: Sequence[Race], path: Path) -> None:
    """Validation NLL against seconds of training, a line per seed, as SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for number, one in enumerate(races):
        for curve, colour, name in (
            (one.plain, "#cc3311", "plain loop, published recipe"),
            (one.ours, "#4477aa", "aecore, fast"),
        ):
            xs, ys = [point.seconds for point in curve], [point.nll for point in curve]
            axes.plot(
                xs, ys, color=colour, marker=".", linewidth=1.2, label=name if number == 0 else None
            )
    axes.axhline(max(one.target for one in races), color="#222222", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlabel("seconds of training, one thread")
    axes.set_ylabel("validation NLL, nats per sentence")
    axes.legend(frameon=False)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue(), encoding="utf-8")


def _twin(model: Model, streams: Streams) -> Model:
    """A model of the same defaults, for the plain network's weights to be measured in."""
    return Model(
        model.composition, {"vae": Vae(PluginConfig(), model.sizes)}, model.sizes, streams
    ).eval()


def _measured(trainer: Trainer, model: Model) -> float:
    found = evaluate_split(
        model, trainer.corpus.valid, trainer.streams, 32, limit=SENTENCES
    ).nll_elbo
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
