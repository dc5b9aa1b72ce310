"""The decoder reads a learned linear map of z."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from aecore import Plugin, PluginConfig, Sizes, hookimpl


class Method(Plugin):
    """What the decoder reads is W z + b, of condition_size numbers."""

    class Config(PluginConfig):
        """Settings."""

        condition_size: int = Field(16, ge=1, description="C, what the decoder reads")

    config: Config
    roles = {"map": "decoder"}

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.map = nn.Linear(sizes.latent, self.config.condition_size)

    @hookimpl
    def decoder_condition(self, z: Tensor) -> Tensor:
        """(..., D) -> (..., C)."""
        condition: Tensor = self.map(z)
        return condition


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


def test_the_condition_by_hand() -> None:
    plugin = method(condition_size=1)
    plugin.map.weight.data = torch.tensor([[2.0, -1.0]])
    plugin.map.bias.data = torch.tensor([10.0])
    assert plugin.decoder_condition(torch.tensor([[3.0, 4.0]])).tolist() == [[12.0]]
