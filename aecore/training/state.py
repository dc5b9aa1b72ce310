"""Counters of the training loop: the JSON half of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class TrainState:
    """Counters of the loop; with the tensors of the checkpoint, all that a resume needs.

    Attributes:
        phase, phases: the number of the phase that runs, and how many there are, the joint one
            last.
        step: steps done in this phase.
        epoch: whole epochs done in this phase.
        cursor: steps done in the running epoch.
        checked: the step after which the last end-of-epoch work was done.
        ended: why the phase ends before its planned steps; empty while it does not.
        finished: whether the run has its summary.
        draws: batches that plugins drew from the session.
        alarms: what was wrong at the last validation, of `aecore.evaluation.collapse.ALARMS`.
        began: the joint step at which the learning-rate schedule began; later than 0 in a run that
            was extended after its end.
    """

    phase: int = 0
    phases: int = 1
    step: int = 0
    epoch: int = 0
    cursor: int = 0
    checked: int = 0
    ended: str = ""
    finished: bool = False
    draws: int = 0
    alarms: list[str] = field(default_factory=list)
    began: int = 0

    @property
    def joint(self) -> bool:
        """Whether the joint phase runs."""
        return self.phase == self.phases - 1

    def to_json(self) -> dict[str, Any]:
        """For the checkpoint."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], steps_per_epoch: int) -> TrainState:
        """From the checkpoint.

        Raises:
            ValueError: for counters that no run reaches.
        """
        state = cls(**values)
        counters = {
            name: value
            for name, value in asdict(state).items()
            if isinstance(value, int) and not isinstance(value, bool)
        }
        if any(value < 0 for value in counters.values()) or state.phase >= state.phases:
            raise ValueError(f"counters that no run reaches: {counters}")
        if state.cursor > steps_per_epoch:
            raise ValueError(f"step {state.cursor} of an epoch of {steps_per_epoch}")
        return state
