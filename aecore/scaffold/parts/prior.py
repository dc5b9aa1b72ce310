"""A learned diagonal Gaussian prior.

provides.prior = "density"
provides.geometry = "euclidean"
requires.kl_gradient = ["prior"]
because = "prior_logprob and prior_sample have one owner"
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from aecore import Plugin, PluginConfig, Sizes, hookimpl


class Method(Plugin):
    """p(z) = N(m, diag(s^2)) with learned m and s."""

    class Config(PluginConfig):
        """Settings."""

        prior_scale: float = Field(1.0, gt=0, description="deviation s at the start")

    config: Config
    roles = {"prior_mean": "prior", "prior_log_scale": "prior"}

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        scale = torch.full((sizes.latent,), self.config.prior_scale)
        self.prior_mean = nn.Parameter(torch.zeros(sizes.latent))
        self.prior_log_scale = nn.Parameter(scale.log())

    @hookimpl
    def prior_logprob(self, z: Tensor) -> Tensor:
        """log p(z), nats: (..., D) -> (...)."""
        scaled = (z - self.prior_mean) * (-self.prior_log_scale).exp()
        norm = self.prior_log_scale + 0.5 * math.log(2 * math.pi)
        return -(0.5 * scaled.square() + norm).sum(-1)

    @hookimpl
    def prior_sample(self, n: int) -> Tensor:
        """Draws, (n, D), with a gradient in m and s."""
        noise = torch.randn(n, self.sizes.latent, device=self.prior_mean.device)
        return self.prior_mean + self.prior_log_scale.exp() * noise


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


def test_the_prior_by_hand() -> None:
    # log N(2; 0, 2^2) = -1/2 - log 2 - log(2 pi) / 2, twice.
    plugin = method(prior_scale=2.0)
    due = 2 * (-0.5 - math.log(2) - 0.5 * math.log(2 * math.pi))
    assert plugin.prior_logprob(torch.tensor([2.0, -2.0])).item() == pytest.approx(due)
    assert plugin.prior_sample(20_000).std().item() == pytest.approx(2, abs=0.05)
