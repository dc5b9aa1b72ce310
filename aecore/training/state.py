"""Where a run is: the JSON half of its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

import aecore
from aecore.training.selection import Candidate


@dataclass
class Best:
    """The selected weights: the joint step and epoch they are from, the metric that chose them, and their candidacy."""

    step: int
    epoch: float
    metric: str
    candidate: Candidate


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
        plateau: the counters of the schedule.
        alarms: what was wrong at the last validation, of `aecore.training.watch.ALARMS`.
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
    plateau: dict[str, Any] = field(default_factory=dict)
    best: Best | None = None
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
    def from_json(cls, values: dict[str, Any]) -> TrainState:
        """From the checkpoint."""
        best = values.get("best")
        if best:
            best = Best(**{**best, "candidate": Candidate(**best["candidate"])})
        return cls(**{**values, "best": best})


def environment(device: torch.device) -> dict[str, Any]:
    """What has to be the same for a resumed run to be the same bit for bit."""
    return {
        "aecore": aecore.__version__,
        "torch": torch.__version__,
        "device": device.type,
        "threads": torch.get_num_threads(),
    }


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs between two environments, in words; empty where nothing does."""
    return ", ".join(
        f"{name}: {old.get(name)} then, {new[name]} now"
        for name in new
        if old.get(name) != new[name]
    )
