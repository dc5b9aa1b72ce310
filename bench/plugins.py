"""What a training step costs with each installed plugin, relative to the defaults alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from aecore.training.trainer import Trainer
from bench.steps import Counting, our_steps

#: Opens a trainer of the named plugins, for as long as the stack is open.
Open = Callable[[ExitStack, list[str]], Trainer]


def cost_of(
    names: Iterable[str], open_trainer: Open, rounds: int, steps: int, note: Callable[[str], None]
) -> dict[str, float]:
    """Seconds per token with each plugin over the defaults': medians of interleaved blocks."""
    found = {}
    for name in names:
        with ExitStack() as stack:
            sides = [Side(open_trainer(stack, [name])), Side(open_trainer(stack, []))]
            pairs = [[side.seconds_per_token(steps) for side in sides] for _ in range(rounds + 1)]
        found[name] = statistics.median(ours / plain for ours, plain in pairs[1:])
        note(f"  {name} {found[name]:.2f}")
    return found


class Side:
    """A trainer whose joint steps are timed."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.heard = trainer, Counting()
        trainer.progress = self.heard

    def seconds_per_token(self, steps: int) -> float:
        """Of the next ``steps`` steps."""
        began = time.perf_counter()
        tokens = our_steps(self.trainer, self.heard, steps)
        return (time.perf_counter() - began) / tokens
