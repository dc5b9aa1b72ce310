"""Beam search, in batches: the likeliest sentence among those that the beam meets.

The score of a hypothesis is log p(x | z) so far, in nats, with no length penalty: shorter sentences
win as often as the model says so. An ended hypothesis stays in the beam and competes as it is;
scores only fall, so the search for a sentence is over when its best hypothesis has ended. One that
is cut at ``max_length`` competes with the score of its words alone. A beam of V^T hypotheses or
more finds the best of all sentences of at most T words; a beam of 1 is the greedy choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aecore.autoencoder import Decoder
from aecore.batch import END, START
from aecore.generation.strategy import Strategy
from aecore.generation.words import mask_markers

State = tuple[Tensor, Tensor]


@dataclass
class _Beam:
    """The hypotheses of B sentences, W each, the best first.

    Attributes:
        numbers: (B,), the sentences.
        rows: (B*W, C), their conditions; state: the decoder's, (1, B*W, H) each.
        history: (B, W, T), the words so far, then ``</s>``; scores: (B, W), log-probabilities in
            nats.
        words: (B, W), the last words.
    """

    numbers: Tensor
    rows: Tensor
    state: State
    history: Tensor
    scores: Tensor
    words: Tensor

    def keep(self, sentences: Tensor) -> None:
        """Drop the other sentences."""
        width = self.scores.shape[1]
        flat = sentences.repeat_interleave(width)
        self.numbers, self.rows, self.words = (
            self.numbers[sentences],
            self.rows[flat],
            self.words[sentences],
        )
        self.history, self.scores = self.history[sentences], self.scores[sentences]
        self.state = self.state[0][:, flat], self.state[1][:, flat]


def search(decoder: Decoder, rows: Tensor, strategy: Strategy) -> Tensor:
    """(N, max_length): the best sentence found for each condition (N, C), then ``</s>``."""
    longest = strategy.max_length
    found = torch.full((len(rows), longest), END, device=rows.device)
    beam = _start(decoder, rows, strategy.beam, longest)
    for position in range(longest):
        _grow(decoder, beam, position, strategy.unknown)
        ended = beam.words[:, 0] == END
        if bool(ended.any()):
            found[beam.numbers[ended]] = beam.history[ended, 0]
            beam.keep(~ended)
        if not len(beam.numbers):
            return found
    found[beam.numbers] = beam.history[:, 0]
    return found


def _start(decoder: Decoder, rows: Tensor, width: int, max_length: int) -> _Beam:
    sentences, device = len(rows), rows.device
    scores = torch.full((sentences, width), -torch.inf, device=device)
    scores[:, 0] = 0  # the others are there for their places only
    rows = rows.repeat_interleave(width, 0)
    return _Beam(
        numbers=torch.arange(sentences, device=device),
        rows=rows,
        state=decoder.initial(rows),
        history=torch.full((sentences, width, max_length), END, device=device),
        scores=scores,
        words=torch.full((sentences, width), START, device=device),
    )


def _grow(decoder: Decoder, beam: _Beam, position: int, unknown: bool) -> None:
    """One word more for every hypothesis, and the W best of all that follow."""
    sentences, width = beam.scores.shape
    logits, state = decoder.advance(beam.words.flatten(), beam.rows, beam.state)
    gains = mask_markers(logits.log_softmax(-1), unknown)  # (B*W, V)
    if position:
        ended = beam.words.flatten() == END
        gains[ended] = -torch.inf
        gains[ended, END] = 0  # the end goes on as it is
    # of one parent no more than W can be among the W best
    best, words = gains.topk(min(width, gains.shape[1]))
    count = best.shape[1]
    total = (beam.scores.unsqueeze(2) + best.view(sentences, width, count)).flatten(1)
    beam.scores, chosen = total.topk(width)  # (B, W)
    parents = chosen // count
    beam.words = words.view(sentences, -1).gather(1, chosen)
    beam.history = beam.history.gather(1, parents.unsqueeze(2).expand_as(beam.history))
    beam.history[:, :, position] = beam.words
    flat = (parents + torch.arange(sentences, device=parents.device).unsqueeze(1) * width).flatten()
    beam.state = state[0][:, flat], state[1][:, flat]
