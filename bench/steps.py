"""Training steps a second against the plain loop, and what calling hooks costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from aecore.progress import Silent
from aecore.training.trainer import Trainer
from aecore.vae import Vae
from bench.machine import matrix_rate, operations
from bench.plain import PlainVae

#: posterior_sample, decoder_condition, kl_term, beta_schedule, objective; prior_logprob too where
#: the KL is Monte Carlo.
HOOKS_IN_A_STEP = 6


class Counting(Silent):
    """Hears how many tokens each step had."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def step(self, done: int, tokens: int, values: Callable[[], Mapping[str, float]]) -> None:
        """See `Progress.step`."""
        self.seen.append(tokens)


class PlainTraining:
    """The plain loop over its own batches, of equal lengths, at most B, as public loops cut."""

    def __init__(self, trainer: Trainer) -> None:
        self.model = PlainVae(trainer.model.sizes)
        self.batches = plain_batches(trainer)
        self.position = 0

    def steps(self, count: int) -> int:
        """The tokens of ``count`` steps."""
        tokens = 0
        for _ in range(count):
            batch = self.batches[self.position % len(self.batches)]
            self.model.step(batch, 1.0)
            tokens += batch[:, 1:].numel()
            self.position += 1
        return tokens


def plain_batches(trainer: Trainer) -> list[Tensor]:
    """Equal-length batches of token ids (B, T+1), in random order."""
    split, size = trainer.corpus.train, trainer.config.train.batch_size
    lengths = split.lengths
    found = []
    for length in sorted(set(lengths.tolist())):
        same = (lengths == length).nonzero().squeeze(1)
        found += [split.batch(chunk).tokens for chunk in torch.split(same, size)]
    order = torch.randperm(len(found))
    return [found[number] for number in order.tolist()]


def our_steps(trainer: Trainer, heard: Counting, count: int) -> int:
    """The tokens of ``count`` joint steps; what comes between epochs is done as well."""
    before = len(heard.seen)
    while len(heard.seen) < before + count:
        trainer.advance()
    return sum(heard.seen[before:])


def timed(work: Callable[[], int]) -> float:
    """Tokens per second of ``work``, which returns the tokens that it processed."""
    began = time.perf_counter()
    tokens = work()
    return tokens / (time.perf_counter() - began)


@dataclass(frozen=True)
class Speed:
    """Tokens per second of paired blocks, and the plain loop's share of the products' rate."""

    ours: list[float]
    plain: list[float]
    plain_share: float

    @property
    def ratios(self) -> list[float]:
        """Ours over the plain one, block by block."""
        return [one / other for one, other in zip(self.ours, self.plain, strict=True)]


def compare_steps(trainer: Trainer, rounds: int, steps: int) -> Speed:
    """Both loops in interleaved blocks; the first round warms up."""
    plain, heard, sizes = PlainTraining(trainer), Counting(), trainer.model.sizes
    trainer.progress = heard
    ours, theirs, shares = [], [], []
    for number in range(rounds + 1):
        pair = timed(lambda: our_steps(trainer, heard, steps)), timed(lambda: plain.steps(steps))
        if number:
            ours.append(pair[0])
            theirs.append(pair[1])
            shares.append(pair[1] * operations(sizes) / matrix_rate(sizes))
    return Speed(ours, theirs, statistics.median(shares))


def dispatch_cost(trainer: Trainer, repeats: int = 5000) -> float:
    """Seconds that a joint step spends on calling hooks and checking shapes.

    Measured on ``beta_schedule`` of the defaults, which does nothing, against the bound method
    itself.
    """
    model = trainer.model
    call, defaults = model.hooks.owner("beta_schedule"), model.plugin("vae")
    assert isinstance(defaults, Vae)
    offered = {"index": 0, "epoch": 0.0, "total_steps": 1, "kl": torch.zeros(())}
    value = torch.zeros(32, 8)

    def seconds(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        for _ in range(repeats):
            work()
        return (time.perf_counter() - began) / repeats

    through = seconds(lambda: call.tensor((call(**offered), value)[1], (32, "G"))) - seconds(
        defaults.beta_schedule
    )
    return HOOKS_IN_A_STEP * through
