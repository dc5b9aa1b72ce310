"""Word dropout: in training, words that the decoder reads become the unknown word.

Source: Bowman et al., CoNLL 2016, https://arxiv.org/abs/1511.06349, section 3.1; their keep rate k
    is 1 - rate here.
Deviation: what stands in for a word is ``<unk>`` of the vocabulary, also in a vocabulary of byte
    pairs, where nothing else is unknown.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from aecore import Plugin, PluginConfig, hookimpl

#: ``<unk>``; below it stand the pad and the two ends of a sentence.
UNKNOWN = 3


class WordDropout(Plugin):
    """w_t -> <unk> with probability ``rate``, independently, in what the decoder reads."""

    class Config(PluginConfig):
        """Settings of word dropout."""

        rate: float = Field(
            0.25, ge=0, le=1, description="probability that a word is not read; 1: no word is"
        )

    config: Config

    @hookimpl
    def decoder_input(self, tokens: Tensor) -> Tensor:
        """(B, T) -> (B, T): a mask per word; ``<s>`` and pads are no words."""
        dropped = torch.rand(tokens.shape, device=tokens.device) < self.config.rate
        return tokens.masked_fill(dropped & (tokens > UNKNOWN), UNKNOWN)
