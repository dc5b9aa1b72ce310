"""Learning-rate schedules: the factor of a phase's rates, a function of the step alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aecore.runs.config import TrainConfig

#: The warm-up takes no more than this share of a phase.
LONGEST_WARMUP = 0.1


@dataclass(frozen=True)
class Schedule:
    """Warm-up from 0, level until ``hold`` of the steps are done, then a fall to 0.

    ``linear`` and ``cosine`` fall; ``constant`` and ``plateau`` stay level, the latter since
    halving is the plateau's business. It is a function of the step, so that a resumed run goes on
    as if it had not stopped.

    Args:
        config: ``schedule``, ``hold`` and ``warmup_steps``.
        total: the steps of the phase.
        began: the step at which the schedule begins; it covers those from there to ``total``.
    """

    config: TrainConfig
    total: int
    began: int = 0

    def __call__(self, step: int) -> float:
        """The factor of step ``step``, counted from 0: in (0, 1], or 0 from ``total`` on."""
        done, length = step - self.began, max(self.total - self.began, 1)
        warmup = min(self.config.warmup_steps, int(length * LONGEST_WARMUP))
        rise = min(1.0, (done + 1) / warmup) if warmup else 1.0
        return rise * self._fall(done / length)

    def _fall(self, share: float) -> float:
        if not self.config.decays_to_zero or share <= self.config.hold:
            return 1.0
        left = max(0.0, (1 - share) / (1 - self.config.hold))
        return left if self.config.schedule == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)
