"""Codes far from 0 pay.

requires.objective_gradient = ["encoder"]
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import Field
from torch import Tensor

from aecore import Plugin, PluginConfig, Sizes, Step, hookimpl


class Method(Plugin):
    """norm_weight * ||z||^2 is added to the loss."""

    class Config(PluginConfig):
        """Settings."""

        norm_weight: float = Field(0.01, gt=0, description="weight of the squared norm")

    config: Config

    @hookimpl
    def extra_loss(self, step: Step) -> Tensor:
        """(B,): the mean over K draws."""
        return self.config.norm_weight * step.sample.z.square().sum(-1).mean(1)


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


def test_the_norm_by_hand() -> None:
    # 0.1 * mean(1 + 4, 9 + 0)
    z = torch.tensor([[[1.0, 2.0], [3.0, 0.0]]])
    step: Any = SimpleNamespace(sample=SimpleNamespace(z=z))
    plugin = method(norm_weight=0.1)
    assert plugin.extra_loss(step).tolist() == pytest.approx([0.7])
