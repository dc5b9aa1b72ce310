"""Print the speed of a training step against a plain loop, and what calling hooks costs.

Usage: ``python -m bench [--data SPEC] [--rounds N] [--steps N] [--threads N]``; the corpus defaults to the toy.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from aecore.api import opened
from aecore.runs.config import build_config
from aecore.training.progress import Silent
from aecore.training.trainer import Trainer
from aecore.vae import Vae
from bench.plain import PlainVae

#: posterior_sample, decoder_condition, kl_term, beta_schedule, objective; prior_logprob too where the KL is Monte Carlo.
HOOKS_IN_A_STEP = 6


def timed(work: Callable[[], int]) -> float:
    """Tokens per second of ``work``, which returns the tokens that it processed."""
    began = time.perf_counter()
    tokens = work()
    return tokens / (time.perf_counter() - began)


def plain_batches(trainer: Trainer) -> list[Tensor]:
    """Batches of equal-length sentences, at most B each, the way the public loops cut them."""
    split, size = trainer.corpus.train, trainer.config.train.batch_size
    lengths = split.lengths
    found = []
    for length in sorted(set(lengths.tolist())):
        same = (lengths == length).nonzero().squeeze(1)
        found += [split.batch(chunk).tokens for chunk in torch.split(same, size)]
    order = torch.randperm(len(found))
    return [found[number] for number in order.tolist()]


class Counting(Silent):
    """Hears how many tokens each step had."""

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    def step(self, done: int, tokens: int, values: Callable[[], Mapping[str, float]]) -> None:
        """See `Progress.step`."""
        self.seen.append(tokens)


def compare_steps(trainer: Trainer, rounds: int, steps: int) -> tuple[list[float], list[float]]:
    """Tokens per second of both loops, in interleaved blocks."""
    plain, batches, position = PlainVae(trainer.model.sizes), plain_batches(trainer), 0
    ours, theirs = [], []

    def aecore_block() -> int:
        before = trainer.state.step
        while trainer.state.step < before + steps:
            trainer.advance()
        return sum(seen[-steps:])

    def plain_block() -> int:
        nonlocal position
        tokens = 0
        for _ in range(steps):
            batch = batches[position % len(batches)]
            plain.step(batch, 1.0)
            tokens += batch[:, 1:].numel()
            position += 1
        return tokens

    seen: list[int] = []
    trainer.progress = Counting(seen)
    for number in range(rounds + 1):
        pair = timed(aecore_block), timed(plain_block)
        if number > 0:  # the first round warms up
            ours.append(pair[0])
            theirs.append(pair[1])
    return ours, theirs


def dispatch_cost(trainer: Trainer, repeats: int = 5000) -> float:
    """Seconds that one joint step of the defaults spends on calling hooks and checking shapes, beyond the hooks' own work.

    Measured on ``beta_schedule`` of the defaults, which does nothing, against the bound method itself.
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

    through = seconds(lambda: call.tensor((call(**offered), value)[1], (32, "G"))) - seconds(defaults.beta_schedule)
    return HOOKS_IN_A_STEP * through


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--data", default="toy")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    settings = {"train.optimiser": "sgd", "train.threads": options.threads, "train.epochs": 1000}
    config = build_config(None, {"data": {"spec": options.data}}, settings, [])
    with tempfile.TemporaryDirectory() as folder, opened(config, Path(folder) / "run") as trainer:
        ours, theirs = compare_steps(trainer, options.rounds, options.steps)
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        batch = statistics.mean(trainer.corpus.train.lengths.float().tolist()) * config.train.batch_size
        step = batch / statistics.median(ours)
        cost = dispatch_cost(trainer)
    print(f"{options.data}, {options.threads} threads, {options.rounds} rounds of {options.steps} steps, SGD, float32")
    print(f"aecore       {statistics.median(ours):10,.0f} tokens/s (median)")
    print(f"plain loop   {statistics.median(theirs):10,.0f} tokens/s (median)")
    print(f"ratio        {statistics.median(ratios):10.2f} (median of pairs; {min(ratios):.2f} to {max(ratios):.2f})")
    print(f"dispatch     {cost * 1e6:10.1f} us a step, {100 * cost / step:.3f} % of it")


if __name__ == "__main__":
    main()
