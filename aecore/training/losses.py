"""The training objective, term by term, so that each term has an author."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aecore.step import Step
from aecore.training.finite import LossTerm, author


def losses_of(step: Step) -> list[LossTerm]:
    """The objective, then every plugin's extra loss, (B,) each, nats per sentence."""
    model = step.model
    found = [("the objective", author(model.hooks.owner("objective")), model.objective(step))]
    for call in model.hooks.each("extra_loss"):
        found.append(("extra_loss", author(call), call.tensor(call(step=step), (len(step.batch),))))
    return found


def total_loss(step: Step, losses: Sequence[LossTerm]) -> Tensor:
    """0-d: the sum of the terms, its mean over the sentences of the batch."""
    return step.mean(torch.stack([value for _, _, value in losses]).sum(0))
