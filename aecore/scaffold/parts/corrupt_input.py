"""The encoder reads sentences with words missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from pydantic import Field

from aecore import Batch, Plugin, PluginConfig, Sizes, hookimpl
from aecore.batch import END, UNKNOWN


class Method(Plugin):
    """Each word that the encoder reads becomes <unk> with probability drop."""

    class Config(PluginConfig):
        """Settings."""

        drop: float = Field(0.2, ge=0, le=1, description="share of words that are lost")

    config: Config

    @hookimpl
    def corrupt_input(self, batch: Batch) -> Batch:
        """The same sentences with words missing; markers and pads are no words."""
        chance = torch.rand(batch.tokens.shape, device=batch.tokens.device)
        lost = (chance < self.config.drop) & (batch.tokens > END)
        return replace(batch, tokens=batch.tokens.masked_fill(lost, UNKNOWN))


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


def test_words_are_lost_and_markers_are_not() -> None:
    tokens = torch.tensor([[1, 5, 6, 2], [1, 7, 2, 0]])
    batch = Batch(tokens, torch.tensor([3, 2]), torch.arange(2))
    found = method(drop=1.0).corrupt_input(batch)
    assert found.tokens.tolist() == [[1, 3, 3, 2], [1, 3, 2, 0]]
    assert batch.tokens.tolist() == [[1, 5, 6, 2], [1, 7, 2, 0]]
