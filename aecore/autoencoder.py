"""The autoencoder that stays fixed: an LSTM encoder, and an LSTM decoder with a condition.

Source: the network of He et al. (ICLR 2019) and Li et al. (EMNLP 2019), which later papers share.
Deviations: lengths may be mixed in a batch (pads never reach a loss); no ``padding_idx``, which in
    the public code freezes the
last word's embedding; a dropout rate is a multiple of 1/65,536.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aecore.batch import Batch
from aecore.crossentropy import token_nll
from aecore.dropout import dropout
from aecore.initialisation import initialise


@dataclass(frozen=True)
class Sizes:
    """Sizes of the autoencoder: V words, embedding E, LSTM states H, D latent dimensions."""

    vocabulary: int
    embedding: int
    hidden: int
    latent: int


def reduced(device: torch.device, operands: torch.dtype) -> torch.autocast:
    """The block in which an LSTM multiplies in ``operands``; in float32 it changes nothing."""
    return torch.autocast(device.type, operands, enabled=operands is not torch.float32)


class Encoder(nn.Module):
    """features(x) = the LSTM's state after ``</s>``, (B, H).

    Attributes:
        operands: float32 or bfloat16, in which the LSTM takes its products in training.
    """

    operands = torch.float32

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.embedding)
        self.lstm = nn.LSTM(sizes.embedding, sizes.hidden, batch_first=True)
        initialise(self)

    def forward(self, batch: Batch) -> Tensor:
        """(B, H): the features of B sentences, read from ``<s>`` to ``</s>``."""
        return self.from_embedded(self.embedding(batch.tokens), batch.lengths + 1)

    def from_embedded(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """(N, H): the state after ``lengths`` (N,) steps of sequences ``embedded`` (N, L, E)."""
        with reduced(embedded.device, self.operands if self.training else torch.float32):
            states, _ = self.lstm(embedded)  # (N, L, H); what follows the last step cannot reach it
        last: Tensor = states[torch.arange(len(lengths), device=lengths.device), lengths - 1]
        return last.to(embedded.dtype)


class Decoder(nn.Module):
    """p(x given condition), teacher-forced, the condition beside each word embedding.

    c0 = W condition, h0 = tanh(c0); the output layer is not tied to the embeddings.

    Dropout acts on the word embeddings and before the output layer, a mask per token, in training
    mode only.

    Attributes:
        operands: float32 or bfloat16, in which LSTM and output layer take their products in
            training.
    """

    operands = torch.float32

    def __init__(
        self, sizes: Sizes, condition: int, dropout_in: float = 0.5, dropout_out: float = 0.5
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.embedding)
        with warnings.catch_warnings():  # torch warns of the empty weight of a language model
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            self.bridge = nn.Linear(condition, sizes.hidden, bias=False)
        self.lstm = nn.LSTM(sizes.embedding + condition, sizes.hidden, batch_first=True)
        self.output = nn.Linear(sizes.hidden, sizes.vocabulary, bias=False)
        self.dropout_in = dropout_in
        self.dropout_out = dropout_out
        initialise(self)

    def nll(self, batch: Batch, condition: Tensor, inputs: Tensor | None = None) -> Tensor:
        """(B, K): -log p(x | condition) in nats per sentence, for conditions (B, K, C).

        Args:
            inputs: (B, T), the words that are read; those before each target unless given.
        """
        sentences, samples, width = condition.shape
        rows = condition.reshape(sentences * samples, width)
        read = batch.inputs if inputs is None else inputs
        embedded = self._repeat(self.embedding(read), samples)  # (B*K, T, E)
        mask = self._repeat(batch.mask, samples)  # (B*K, T)
        operands = self.operands if self.training else torch.float32
        with reduced(embedded.device, operands):
            states, _ = self.lstm(self._inputs(embedded, rows), self.initial(rows))
        kept = mask.flatten().nonzero().squeeze(1)  # pads are dropped before the output layer
        targets = self._repeat(batch.targets, samples).flatten()[kept]
        kept_states = self._dropped(states.flatten(0, 1)[kept].to(embedded.dtype), self.dropout_out)
        losses = token_nll(kept_states, targets, self.output.weight, operands)
        energies = losses.new_zeros(mask.numel()).index_put((kept,), losses)
        return energies.view(mask.shape).sum(1).view(sentences, samples)

    def initial(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The state (h0, c0), each (1, R, H), for conditions ``rows`` (R, C)."""
        cell = self.bridge(rows)
        return torch.tanh(cell).unsqueeze(0), cell.unsqueeze(0)

    def advance(
        self, words: Tensor, rows: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One step of generation: logits (R, V) after the words (R,), and the next state."""
        states, state = self.lstm(self._inputs(self.embedding(words.unsqueeze(1)), rows), state)
        return self.output(states.squeeze(1)), state

    def _inputs(self, embedded: Tensor, rows: Tensor) -> Tensor:
        embedded = self._dropped(embedded, self.dropout_in)
        return torch.cat([embedded, rows.unsqueeze(1).expand(-1, embedded.shape[1], -1)], -1)

    def _dropped(self, inputs: Tensor, rate: float) -> Tensor:
        return dropout(inputs, rate) if self.training else inputs

    @staticmethod
    def _repeat(rows: Tensor, samples: int) -> Tensor:
        return rows if samples == 1 else rows.repeat_interleave(samples, 0)
