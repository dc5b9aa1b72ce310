"""The walk of codes down the gradient of a classifier's loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: (N, D) -> (N,).
Classifier = Callable[[Tensor], Tensor]
Projection = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Walk:
    """How codes are moved.

    Attributes:
        weights: sizes of the first step, tried from the smallest up.
        decay: what a step is of the one before.
        most: steps that are taken with a weight at most.
        sure: the probability of the target at which a code has arrived.
    """

    weights: Sequence[float]
    decay: float
    most: int
    sure: float

    def from_codes(self, z: Tensor, logit: Classifier, project: Projection) -> Arrival:
        """Every code with the first weight that brings it there, else where it came nearest.

        z_{t+1} = z_t - w decay^t grad -log sigmoid(logit(z_t)): the loss of one sentence, so that
        no other sentence of the batch has a say.

        Args:
            z: (N, D).
            logit: of the target style.
            project: puts a step's end back on the latent space.
        """
        best = Arrival.at(z, logit)
        for weight in sorted(self.weights):
            todo = (best.probability < self.sure).nonzero()[:, 0]
            if not len(todo):
                break
            best = best.better(todo, self._with(weight, z[todo], logit, project))
        return best

    def _with(self, weight: float, z: Tensor, logit: Classifier, project: Projection) -> Arrival:
        """The best that each code came to with this weight."""
        here = best = Arrival.at(z, logit)
        everyone = torch.arange(len(z), device=z.device)
        for step in range(1, self.most + 1):
            moving = everyone[here.probability < self.sure]
            if not len(moving):
                break
            size = weight * self.decay ** (step - 1)
            reached = project(here.z[moving] - size * _gradient(here.z[moving], logit))
            here = here.placed(moving, Arrival.at(reached, logit, weight, step))
            best = best.better(everyone, here)
        return best


@dataclass(frozen=True, eq=False)
class Arrival:
    """Where codes came to.

    Attributes:
        z: (N, D).
        probability: (N,), of the target style there.
        weight: (N,), the first step's size; 0 where a code stayed.
        steps: (N,), how many were taken.
    """

    z: Tensor
    probability: Tensor
    weight: Tensor
    steps: Tensor

    @classmethod
    def at(cls, z: Tensor, logit: Classifier, weight: float = 0.0, steps: int = 0) -> Arrival:
        """Codes as they are."""
        probability = torch.sigmoid(logit(z)).detach()
        full = probability.new_full
        return cls(z.detach(), probability, full((len(z),), weight), full((len(z),), float(steps)))

    def placed(self, rows: Tensor, others: Arrival) -> Arrival:
        """With these rows as in ``others``, which holds them alone."""
        new = (
            mine.index_copy(0, rows, theirs)
            for mine, theirs in zip(self._parts(), others._parts(), strict=True)
        )
        return Arrival(*new)

    def better(self, rows: Tensor, others: Arrival) -> Arrival:
        """With those of the rows that the classifier likes more as they are in ``others``."""
        wins = others.probability > self.probability[rows]
        won = Arrival(*(part[wins] for part in others._parts()))
        return self.placed(rows[wins], won)

    def _parts(self) -> tuple[Tensor, ...]:
        return self.z, self.probability, self.weight, self.steps


def _gradient(z: Tensor, logit: Classifier) -> Tensor:
    """(N, D): of each code's own -log sigmoid(logit); a sum, for a mean would divide it by N."""
    with torch.enable_grad():
        here = z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.softplus(-logit(here)).sum(), here)
    return gradient
