"""From latents to sentences, in batches that shrink as their sentences end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aecore.batch import END, START
from aecore.data.vocabulary import Vocabulary
from aecore.generation import beam
from aecore.generation.strategy import GREEDY, Strategy
from aecore.generation.words import drawn, likeliest
from aecore.model import Model, evaluating

#: Sentences, or hypotheses of a beam search, that are decoded at a time.
ROWS = 256
#: (logits (R, V), the numbers of the sentences (R,), the position) -> words (R,).
Choose = Callable[[Tensor, Tensor, int], Tensor]


def decode(
    model: Model, vocabulary: Vocabulary, z: Tensor, strategy: Strategy = GREEDY, rows: int = ROWS
) -> list[str]:
    """One sentence for each latent in z (N, D), on the model's device.

    Words are drawn by one number per sentence and position, out of a table that torch's generator
    of the CPU fills beforehand: what a sentence says depends neither on ``rows`` nor on the device,
    but for the last digits of the logits.
    """
    drawing = strategy.heat > 0
    table = (
        torch.rand(len(z), strategy.max_length).to(z.device) if drawing else z.new_empty(len(z), 0)
    )
    at_once = max(1, rows // strategy.beam)
    with evaluating(model):
        pairs = zip(torch.split(z, at_once), torch.split(table, at_once), strict=True)
        found = [_decode_ids(model, some, strategy, uniforms).tolist() for some, uniforms in pairs]
    return [vocabulary.decode(ids) for chunk in found for ids in chunk]


def _decode_ids(model: Model, z: Tensor, strategy: Strategy, uniforms: Tensor) -> Tensor:
    """(N, max_length) word ids for latents (N, D), ``</s>`` from where a sentence ends."""
    conditions = model.condition(z.unsqueeze(1)).squeeze(1)  # (N, C)
    if strategy.beam > 1:
        return beam.search(model.decoder, conditions, strategy)

    def choose(logits: Tensor, numbers: Tensor, position: int) -> Tensor:
        return (
            drawn(logits, uniforms[numbers, position], strategy)
            if strategy.heat
            else likeliest(logits, strategy.unknown)
        )

    return _written(model, conditions, choose, strategy.max_length)


def _written(model: Model, rows: Tensor, choose: Choose, max_length: int) -> Tensor:
    """Word by word, as ``choose`` says, for conditions (N, C); ended sentences leave."""
    numbers = torch.arange(len(rows), device=rows.device)
    found = torch.full((len(rows), max_length), END, device=rows.device)
    words = torch.full((len(rows),), START, device=rows.device)
    state = model.decoder.initial(rows)
    for position in range(max_length):
        logits, state = model.decoder.advance(words, rows, state)
        words = choose(logits, numbers, position)
        found[numbers, position] = words
        going = words != END
        if not bool(going.all()):
            numbers, words, rows = numbers[going], words[going], rows[going]
            state = state[0][:, going], state[1][:, going]
        if not len(numbers):
            break
    return found
