"""The autoencoder that stays fixed: a one-layer LSTM encoder and a one-layer LSTM decoder with a condition at every step.

Source: the network of He et al. (ICLR 2019) and Li et al. (EMNLP 2019), which later papers share.
Deviations: lengths may be mixed in a batch (pads never reach a loss); no ``padding_idx``, which in the public code freezes the
last word's embedding.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aecore.batch import Batch
from aecore.crossentropy import token_nll


@dataclass(frozen=True)
class Sizes:
    """The sizes of the autoencoder: V words, embedding E, encoder features and decoder state H, D latent dimensions."""

    vocabulary: int
    embedding: int
    hidden: int
    latent: int


def init_uniform(module: nn.Module, bound: float = 0.01, embedding_bound: float = 0.1) -> None:
    """Draw every parameter from U(-bound, bound), biases included, and embeddings from U(-embedding_bound, embedding_bound)."""
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -bound, bound)
    for child in module.modules():
        if isinstance(child, nn.Embedding):
            nn.init.uniform_(child.weight, -embedding_bound, embedding_bound)


class Encoder(nn.Module):
    """features(x) = the LSTM's state after ``</s>``, (B, H)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.embedding)
        self.lstm = nn.LSTM(sizes.embedding, sizes.hidden, batch_first=True)
        init_uniform(self)

    def forward(self, batch: Batch) -> Tensor:
        """(B, H): the features of B sentences, read from ``<s>`` to ``</s>``."""
        return self.from_embedded(self.embedding(batch.tokens), batch.lengths + 1)

    def from_embedded(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """(N, H): the state after ``lengths`` (N,) steps of the sequences ``embedded`` (N, L, E)."""
        states, _ = self.lstm(embedded)  # (N, L, H); what follows the last step cannot reach it
        last: Tensor = states[torch.arange(len(lengths), device=lengths.device), lengths - 1]
        return last


class Decoder(nn.Module):
    """p(x | condition): c0 = W condition, h0 = tanh(c0), the condition beside each word embedding, untied output layer.

    Dropout acts on the word embeddings and before the output layer, in training mode only.
    """

    def __init__(self, sizes: Sizes, condition: int, dropout_in: float = 0.5, dropout_out: float = 0.5) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.embedding)
        with warnings.catch_warnings():  # torch warns of the empty weight of a language model
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            self.bridge = nn.Linear(condition, sizes.hidden, bias=False)
        self.lstm = nn.LSTM(sizes.embedding + condition, sizes.hidden, batch_first=True)
        self.output = nn.Linear(sizes.hidden, sizes.vocabulary, bias=False)
        self.dropout_in = dropout_in
        self.dropout_out = dropout_out
        init_uniform(self)

    def nll(self, batch: Batch, condition: Tensor) -> Tensor:
        """(B, K): -log p(x | condition) in nats per sentence, for conditions (B, K, C)."""
        sentences, samples, width = condition.shape
        rows = condition.reshape(sentences * samples, width)
        embedded = self._repeat(self.embedding(batch.inputs), samples)  # (B*K, T, E)
        mask = self._repeat(batch.mask, samples)  # (B*K, T)
        states, _ = self.lstm(self._inputs(embedded, rows), self.initial(rows))
        kept = mask.flatten().nonzero().squeeze(1)  # pads are dropped before the output layer
        targets = self._repeat(batch.targets, samples).flatten()[kept]
        dropout = self.dropout_out if self.training else 0.0
        losses = token_nll(states.flatten(0, 1)[kept], targets, self.output.weight, dropout)
        energies = losses.new_zeros(mask.numel()).index_put((kept,), losses)
        return energies.view(mask.shape).sum(1).view(sentences, samples)

    def initial(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The state (h0, c0), each (1, R, H), for conditions ``rows`` (R, C)."""
        cell = self.bridge(rows)
        return torch.tanh(cell).unsqueeze(0), cell.unsqueeze(0)

    def advance(self, words: Tensor, rows: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One step of generation: logits (R, V) after the words (R,), and the next state."""
        states, state = self.lstm(self._inputs(self.embedding(words.unsqueeze(1)), rows), state)
        return self.output(states.squeeze(1)), state

    def _inputs(self, embedded: Tensor, rows: Tensor) -> Tensor:
        embedded = F.dropout(embedded, self.dropout_in, self.training)
        return torch.cat([embedded, rows.unsqueeze(1).expand(-1, embedded.shape[1], -1)], -1)

    @staticmethod
    def _repeat(rows: Tensor, samples: int) -> Tensor:
        return rows if samples == 1 else rows.repeat_interleave(samples, 0)
