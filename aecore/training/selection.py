"""Model selection: which weights a run keeps, by what, and the plateaus on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from aecore.composition import Composition
from aecore.evaluation.figures import Figures
from aecore.model import Model
from aecore.runs.config import TrainConfig
from aecore.training.plateau import Plateau


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


@dataclass(frozen=True)
class Best:
    """The selected weights: their step and epoch, the metric that chose them, its value."""

    step: int
    epoch: float
    metric: str
    candidate: Candidate


class Selection:
    """The last weights where rates fall to 0; else the best by one and the same objective.

    An objective whose weight still moves (a warm-up, a controller) is compared with none: until it
    has arrived, the latest weights are kept. A collapsed step never stands while a later one is
    alive: a bound may be the lower for having no code.

    Attributes:
        metric: the validation figure that is compared, or ``last``.
        best: whence the kept weights are; None before the first validation.
        weights: the kept weights, parameters and buffers.
        plateau: the counters of the plateau schedule.
    """

    def __init__(self, model: Model, config: TrainConfig) -> None:
        self.model, self.config = model, config
        chosen = config.select == "best" and _comparable(model.composition)
        self.metric = model.composition.select_on if chosen else "last"
        self.plateau = Plateau(config.lr)
        self.best: Best | None = None
        self.weights: dict[str, Tensor] = {}

    def candidate(self, figures: Figures, moving: bool, collapsed: bool) -> Candidate:
        """What a validation of the model's present weights stands for."""
        value = figures.objective if self.metric == "last" else float(getattr(figures, self.metric))
        return Candidate(value, float(self.model.beta), moving, collapsed)

    def offer(self, new: Candidate, step: int, epoch: float) -> bool:
        """Keep the model's present weights if they are preferred; whether they are."""
        kept = None if self.best is None else self.best.candidate
        if kept is not None and kept.moving and not new.moving:
            self.plateau.reference = None  # the objective has arrived: what was before is another
        if not self.prefers(new, kept):
            return False
        self.best = Best(step, epoch, self.metric, new)
        self.weights = {name: t.clone() for name, t in self.model.own_state().items()}
        return True

    def prefers(self, new: Candidate, kept: Candidate | None) -> bool:
        """Whether the new weights take the place of those that are kept."""
        if kept is None or self.metric == "last" or kept.moving:
            return True
        if kept.collapsed and not new.collapsed:
            return True
        if new.moving:
            return False
        return new.beta != kept.beta or new.value < kept.value

    def stalled(self, new: Candidate, figures: Figures, epoch: int) -> bool:
        """Whether the plateau schedule halves the rate after this epoch.

        While the objective's weight moves, the bound at weight 1 stands for it.
        """
        if self.config.schedule != "plateau":
            return False
        moving = new.moving and figures.nll_elbo is not None
        bound = figures.nll_elbo if moving else new.value
        assert bound is not None
        return self.plateau.update(bound, epoch, self.config)

    @torch.no_grad()
    def reload(self) -> None:
        """Put the kept parameters back, not the buffers of controllers and schedules."""
        for name, parameter in self.model.own_parameters().items():
            parameter.copy_(self.weights[name])
        self.model.weights_changed()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model with the kept weights, buffers too, in the block; its own return then."""
        last = {name: tensor.clone() for name, tensor in self.model.own_state().items()}
        self.model.load_own(self.weights or last)
        try:
            yield
        finally:
            self.model.load_own(last)

    def selected(self) -> dict[str, Any] | None:
        """Where the kept weights are from, as summary.json has it."""
        best = self.best
        if best is None:
            return None
        where = {"step": best.step, "epoch": best.epoch}
        return {**where, "by": best.metric, "value": best.candidate.value}

    def state(self) -> dict[str, Any]:
        """For the checkpoint, beside the tensors of ``weights``."""
        best = None if self.best is None else asdict(self.best)
        return {"best": best, "plateau": self.plateau.state()}

    def restore(self, state: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        self.plateau = Plateau(**state["plateau"])
        if found := state["best"]:
            self.best = Best(**{**found, "candidate": Candidate(**found["candidate"])})
        self.weights = dict(weights)


def _comparable(composition: Composition) -> bool:
    """Whether objectives of two epochs compare: not where a critic or a batch moves them."""
    if composition.levels.get("kl_estimator") == "dual":
        return False
    return composition.levels["kl"] != "penalty" or not composition.levels["kl_gradient"]
