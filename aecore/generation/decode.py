"""From latents to sentences, in batches."""

from __future__ import annotations

import torch
from torch import Tensor

from aecore.batch import END, PAD, START
from aecore.data.vocabulary import Vocabulary
from aecore.evaluation.likelihood import evaluating
from aecore.model import Model


def decode(
    model: Model, vocabulary: Vocabulary, z: Tensor, temperature: float = 0.0, max_length: int = 100, batch_size: int = 256
) -> list[str]:
    """One sentence for each latent in z (N, D).

    Args:
        temperature: 0 takes the most likely word at each step; above 0 words are drawn from softmax(logits / temperature).
        max_length: words after which a sentence is cut.
    """
    with evaluating(model):
        rows = [_decode_ids(model, chunk, temperature, max_length) for chunk in torch.split(z, batch_size)]
    return [vocabulary.decode(ids) for chunk in rows for ids in chunk]


def _decode_ids(model: Model, z: Tensor, temperature: float, max_length: int) -> Tensor:
    """(N, up to max_length) word ids, ``</s>`` where a sentence ends."""
    rows = model.condition(z.unsqueeze(1)).squeeze(1)  # (N, C)
    state = model.decoder.initial(rows)
    words = torch.full((len(z),), START, device=z.device)
    ended = torch.zeros(len(z), dtype=torch.bool, device=z.device)
    found = []
    for _ in range(max_length):
        logits, state = model.decoder.advance(words, rows, state)
        logits[:, [PAD, START]] = -torch.inf  # never targets, so their logits mean nothing
        words = logits.argmax(-1) if temperature == 0 else _draw(logits / temperature)
        words = words.masked_fill(ended, END)
        found.append(words)
        ended = ended | (words == END)
        if bool(ended.all()):
            break
    return torch.stack(found, 1)


def _draw(logits: Tensor) -> Tensor:
    return torch.multinomial(logits.softmax(-1), 1).squeeze(1)
