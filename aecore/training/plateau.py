"""The published plateau schedule: halve the rate, reload the best weights, stop after five."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from aecore.runs.config import TrainConfig


@dataclass
class Plateau:
    """The counters of He et al. (2019) and Li et al. (2019), ``text.py`` and ``text_anneal_fb.py``.

    The reference value that an epoch must beat is not the best so far: at each halving it becomes
    the current, worse one. The counter also grows before ``guard``, so that the first halving may
    come in that very epoch.
    """

    lr: float
    reference: float | None = None
    bad: int = 0
    decays: int = 0

    def update(self, value: float, epoch: int, config: TrainConfig) -> bool:
        """Take an epoch's validation value; true when the rate was halved: reload the best."""
        if self.reference is None or value <= self.reference:
            self.reference, self.bad = value, 0
            return False
        self.bad += 1
        if self.bad < config.patience or epoch < config.guard:
            return False
        self.reference, self.bad = value, 0
        self.lr *= 0.5
        self.decays += 1
        return True

    def exhausted(self, config: TrainConfig) -> bool:
        """Whether training stops."""
        return self.decays >= config.decays

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        return asdict(self)
