"""A critic that codes learn to pass as draws of the prior.

requires.objective_gradient = ["encoder"]
because = "without it nothing listens to the critic"
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from aecore import CriticConfig, DetachedStep, Plugin, PluginConfig, Sizes, Step, hookimpl


class Method(Plugin):
    """A critic tells codes from prior draws; -log sigmoid(critic(z)) is added."""

    class Config(CriticConfig):
        """Settings."""

        critic_weight: float = Field(1.0, gt=0, description="weight of what is added")

    config: Config
    roles = {"net": "critic"}

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.critic = self.config  # its optimiser, lr, betas, steps and clamp
        hidden, score = nn.Linear(sizes.latent, 32), nn.Linear(32, 1)
        self.net = nn.Sequential(hidden, nn.ReLU(), score)

    @hookimpl
    def critic_loss(self, step: DetachedStep) -> Tensor:
        """The cross-entropy of telling them apart, 0-d; it trains `net` alone."""
        of_prior, of_codes = self.net(step.prior_sample()), self.net(step.z)
        losses = F.softplus(-of_prior).mean(1) + F.softplus(of_codes).mean((1, 2))
        return step.mean(losses)  # over the sentences of all processes

    @hookimpl
    def extra_loss(self, step: Step) -> Tensor:
        """What codes pay for being told apart, (B,); `net` stays as it is."""
        found: Tensor = self.net(step.sample.z)  # (B, K, 1)
        return self.config.critic_weight * F.softplus(-found).mean((1, 2))


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


def test_a_critic_that_knows_nothing_costs_log_two() -> None:
    plugin = method(critic_weight=3.0)
    for parameter in plugin.net.parameters():
        nn.init.zeros_(parameter)
    z = torch.randn(5, 1, 2)
    seen: Any = SimpleNamespace(z=z, prior_sample=lambda: torch.randn(5, 2))
    seen.mean = torch.mean
    step: Any = SimpleNamespace(sample=SimpleNamespace(z=z))
    assert plugin.critic_loss(seen).item() == pytest.approx(2 * math.log(2))
    assert plugin.extra_loss(step).tolist() == pytest.approx([3 * math.log(2)] * 5)
