"""Selection: which weights a run keeps, and what the plateau schedule compares."""

from __future__ import annotations

from dataclasses import dataclass

from aecore.composition import Composition
from aecore.evaluation.figures import Figures
from aecore.runs.config import TrainConfig


@dataclass(frozen=True)
class Candidate:
    """The weights of one validation.

    Attributes:
        value: the validation objective, nats per sentence: the method's own, at ``beta`` and with
            its penalties.
        beta: the weight of the divergence at the last step.
        moving: whether that weight still changed from step to step, so that the next value is one
            of another objective.
        collapsed: whether the posterior had collapsed.
    """

    value: float
    beta: float
    moving: bool
    collapsed: bool


class Selection:
    """The rule: the last weights where rates fall to 0 or values do not compare; else the best of one and the same objective.

    An objective whose weight still moves (a warm-up, a controller) is compared with none: until it
    has arrived, the latest weights are kept. A collapsed step never stands while a later one is
    alive: a bound may be the lower for having no code.
    """

    def __init__(self, config: TrainConfig, composition: Composition) -> None:
        self.metric = (
            composition.select_on
            if config.select == "best" and _comparable(composition)
            else "last"
        )

    def value(self, figures: Figures) -> float:
        """What is compared."""
        return figures.objective if self.metric == "last" else float(getattr(figures, self.metric))

    def prefers(self, new: Candidate, kept: Candidate | None) -> bool:
        """Whether the new weights take the place of those that are kept."""
        if kept is None or self.metric == "last" or kept.moving:
            return True
        if kept.collapsed and not new.collapsed:
            return True
        if new.moving:
            return False
        return new.beta != kept.beta or new.value < kept.value


def _comparable(composition: Composition) -> bool:
    """Whether an objective of one epoch compares with that of another: not where a critic or a batch's penalty moves it."""
    if composition.levels.get("kl_estimator") == "dual":
        return False
    return composition.levels["kl"] != "penalty" or not composition.levels["kl_gradient"]
