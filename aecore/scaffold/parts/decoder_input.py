"""The decoder reads some words as unknown."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from aecore import Plugin, PluginConfig, Sizes, hookimpl
from aecore.batch import END, UNKNOWN


class Method(Plugin):
    """Each word that the decoder reads becomes <unk> with probability unread."""

    class Config(PluginConfig):
        """Settings."""

        unread: float = Field(0.2, ge=0, le=1, description="share of words not read")

    config: Config

    @hookimpl
    def decoder_input(self, tokens: Tensor) -> Tensor:
        """(B, T) -> (B, T); what the decoder predicts stays as it is."""
        chance = torch.rand(tokens.shape, device=tokens.device)
        dropped = (chance < self.config.unread) & (tokens > END)
        return tokens.masked_fill(dropped, UNKNOWN)


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


def test_words_are_not_read_and_markers_are() -> None:
    tokens = torch.tensor([[1, 5, 6], [1, 7, 0]])
    assert method(unread=1.0).decoder_input(tokens).tolist() == [[1, 3, 3], [1, 3, 0]]
    assert method(unread=0.0).decoder_input(tokens).tolist() == tokens.tolist()
