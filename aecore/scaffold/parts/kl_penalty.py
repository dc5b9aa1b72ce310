"""The first nats of the KL divergence are free.

requires.kl = "sentence"
requires.kl_gradient = ["encoder"]
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from aecore import Plugin, PluginConfig, Sizes, hookimpl


class Method(Plugin):
    """What is charged is max(KL, free_nats), sentence by sentence."""

    class Config(PluginConfig):
        """Settings."""

        free_nats: float = Field(3.0, ge=0, description="nats that cost nothing")

    config: Config

    @hookimpl
    def kl_penalty(self, kl: Tensor) -> Tensor:
        """Sum the groups, then charge free_nats at least: (B, G) -> (B, 1)."""
        return kl.sum(1, keepdim=True).clamp(min=self.config.free_nats)


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


def test_the_floor_by_hand() -> None:
    plugin = method(free_nats=3.0)
    kl = torch.tensor([[1.0, 1.0], [2.0, 2.5]])  # two sentences, two groups
    assert plugin.kl_penalty(kl).tolist() == [[3.0], [4.5]]
