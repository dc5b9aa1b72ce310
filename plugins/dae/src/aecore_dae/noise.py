"""What is done to the words that the encoder reads: shuffle, drop, blank, substitute, in order."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from aecore import Batch, PluginConfig

#: ``<unk>``, which stands for a blanked word; words of the vocabulary begin after it.
UNKNOWN = 3


class NoiseConfig(PluginConfig):
    """How much of each kind; at least one of them does something."""

    drop: float = Field(0.3, ge=0, lt=1, description="probability that a word is left out")
    blank: float = Field(0.0, ge=0, le=1, description="probability that a word becomes <unk>")
    substitute: float = Field(
        0.0, ge=0, le=1, description="probability that a word becomes any other of the vocabulary"
    )
    shuffle: int = Field(0, ge=0, description="how many places a word may move; 0: none moves")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.drop or self.blank or self.substitute or self.shuffle):
            raise ValueError("without any noise nothing is denoised; due: one of the four above 0")
        return self


def corrupted(batch: Batch, config: NoiseConfig, vocabulary: int) -> Batch:
    """The same sentences under fresh noise, closed up; ``<s>`` and ``</s>`` stay in their place.

    Args:
        vocabulary: V; substitutes are drawn from 4 to V - 1.
    """
    tokens, lengths = batch.tokens[:, 1:], batch.lengths
    if config.shuffle:
        tokens = _shuffled(tokens, _words(tokens, lengths), config.shuffle)
    if config.drop:
        tokens, lengths = _dropped(tokens, _words(tokens, lengths), lengths, config.drop)
    words = _words(tokens, lengths)
    if config.blank:
        tokens = torch.where(words & _drawn(tokens, config.blank), UNKNOWN, tokens)
    if config.substitute:
        others = torch.randint(UNKNOWN + 1, vocabulary, tokens.shape, device=tokens.device)
        tokens = torch.where(words & _drawn(tokens, config.substitute), others, tokens)
    whole = torch.cat([batch.tokens[:, :1], tokens], 1)
    # as wide as before: how much narrower it could be is known on the device alone
    return replace(batch, tokens=whole, lengths=lengths)


def _words(tokens: Tensor, lengths: Tensor) -> Tensor:
    """(B, T) bool: where a word stands, no end and no pad; lengths count the end."""
    places = torch.arange(tokens.shape[1], device=tokens.device)
    return places < (lengths - 1).unsqueeze(1)


def _drawn(tokens: Tensor, rate: float) -> Tensor:
    return torch.rand(tokens.shape, device=tokens.device) < rate


def _shuffled(tokens: Tensor, words: Tensor, most: int) -> Tensor:
    """Words sorted by place + U(0, most + 1): none moves further than ``most`` places."""
    places = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.float64)
    moved = places + torch.rand(tokens.shape, device=tokens.device).double() * (most + 1)
    last = tokens.shape[1] + most + 1.0  # beyond any word: the end and the pads, in their order
    order = torch.where(words, moved, last + places).argsort(dim=1, stable=True)
    return tokens.gather(1, order)


def _dropped(tokens: Tensor, words: Tensor, lengths: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """Words left out, the rest moved up; where all would be lost, the last to go stays."""
    chance = torch.rand(tokens.shape, device=tokens.device)
    best = chance.masked_fill(~words, -1.0).argmax(1, keepdim=True)
    kept = chance >= rate
    kept = kept.scatter(1, best, kept.gather(1, best) | ~(kept & words).any(1, keepdim=True))
    lost = words & ~kept
    order = lost.to(torch.int8).argsort(dim=1, stable=True)  # what is lost goes behind the pads
    moved = tokens.masked_fill(lost, 0).gather(1, order)
    return moved, lengths - lost.sum(1)
