"""The reconstruction term has a weight.

provides.objective_gradient = ["encoder", "decoder"]
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from aecore import Plugin, PluginConfig, Sizes, Step, hookimpl


class Method(Plugin):
    """The loss is rec_weight * rec + beta * KL."""

    class Config(PluginConfig):
        """Settings."""

        rec_weight: float = Field(2.0, gt=0, description="weight of the reconstruction")

    config: Config

    @hookimpl
    def objective(self, step: Step) -> Tensor:
        """(B,): the mean over K draws, and the sum over the groups of the KL."""
        rec, kl = step.rec.mean(1), step.kl_loss.sum(1)
        return self.config.rec_weight * rec + step.beta * kl


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


def test_the_objective_by_hand() -> None:
    # 3 * mean(4, 6) + 0.5 * (1 + 2)
    rec, kl = torch.tensor([[4.0, 6.0]]), torch.tensor([[1.0, 2.0]])
    step: Any = SimpleNamespace(rec=rec, kl_loss=kl, beta=torch.tensor(0.5))
    plugin = method(rec_weight=3.0)
    assert plugin.objective(step).tolist() == [16.5]
