"""Codes are moved to what their sentences are to become."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from aecore import Plugin, PluginConfig, Sizes, TransferRequest, hookimpl


class Method(Plugin):
    """z + reach strength (mean after - mean before), of the examples' codes."""

    class Config(PluginConfig):
        """Settings."""

        reach: float = Field(1.0, gt=0, description="how far a difference goes")

    config: Config

    @hookimpl
    def latent_map(self, z: Tensor, request: TransferRequest) -> Tensor:
        """(N, D) -> (N, D); codes stay where they are without examples."""
        if request.before is None or request.after is None:
            return z.clone()
        way = request.after.mean(0) - request.before.mean(0)
        return z + self.config.reach * request.strength * way


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


def test_codes_go_as_far_as_they_are_told() -> None:
    z = torch.ones(4, 2)
    asked = TransferRequest(torch.zeros(3, 2), torch.ones(2, 2), 0.5)
    assert method(reach=2.0).latent_map(z, asked).tolist() == [[2.0, 2.0]] * 4
    assert method().latent_map(z, TransferRequest()).tolist() == [[1.0, 1.0]] * 4
