"""Decoding one sentence under many latents, the expensive part of an importance-weighted bound."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from aecore.autoencoder import Decoder
from aecore.batch import Batch
from aecore.crossentropy import token_nll
from aecore.evaluation.lowrank import LEAST_SAMPLES, LowRank

#: Tokens that are decoded at a time, samples times T: their states are all that is held.
TOKENS = 16_384


@torch.no_grad()
def energies(
    decoder: Decoder, sentence: Batch, condition: Tensor, short: LowRank | None = None
) -> Tensor:
    """(K,): -log p(x | condition) of one sentence in nats, for conditions (K, C), without dropout.

    Args:
        short: the low-rank approximation of the output layer, taken where there are samples enough.

    The samples of a sentence have one length, so there are no pads, and they share its words: see
    `unrolled`.
    """
    rows = max(1, TOKENS // int(sentence.lengths[0]))
    if condition.is_cuda:  # there the fused LSTM is the faster one
        return torch.cat(
            [
                decoder.nll(sentence, some.unsqueeze(0)).squeeze(0)
                for some in torch.split(condition, rows)
            ]
        )
    return torch.cat(
        [_energies(decoder, sentence, some, short) for some in torch.split(condition, rows)]
    )


def _energies(
    decoder: Decoder, sentence: Batch, condition: Tensor, short: LowRank | None
) -> Tensor:
    states = unrolled(decoder, sentence.inputs[0], condition)  # (T, R, H)
    if short is not None and len(condition) >= LEAST_SAMPLES:
        return short.nll(states, sentence.targets[0]).sum(0)
    targets = sentence.targets[0].repeat_interleave(len(condition))
    return (
        token_nll(states.flatten(0, 1), targets, decoder.output.weight)
        .view(states.shape[:2])
        .sum(0)
    )


def unrolled(decoder: Decoder, words: Tensor, condition: Tensor) -> Tensor:
    """(T, R, H): the decoder's states for the input words (T,) under conditions (R, C).

    The LSTM's equations written out: what the words and the condition add to the gates is computed
    once, per step and per sample, instead of once for each of the T R tokens.
    """
    lstm = {name: parameter.detach() for name, parameter in decoder.lstm.named_parameters()}
    embedded, (hidden, cell) = decoder.embedding(words), decoder.initial(condition)
    of_words, of_condition = lstm["weight_ih_l0"].tensor_split([embedded.shape[1]], 1)
    steps = F.linear(embedded, of_words, lstm["bias_ih_l0"] + lstm["bias_hh_l0"])  # (T, 4H)
    # (R, 4H), (H, 4H)
    fixed, recurrent = F.linear(condition, of_condition), lstm["weight_hh_l0"].t()
    h, c = hidden[0], cell[0]
    states = h.new_empty(len(words), *h.shape)
    for step, out in zip(steps, states, strict=True):
        gates = torch.addmm(fixed, h, recurrent).add_(step)
        enter, keep, new, leave = gates.chunk(4, 1)
        c = keep.sigmoid_().mul_(c).add_(enter.sigmoid_().mul_(new.tanh_()))
        h = torch.mul(leave.sigmoid_(), c.tanh(), out=out)
    return states
