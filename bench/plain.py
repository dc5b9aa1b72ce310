"""The comparison: the same network as a plain float32 training loop, as it is published.

Equal-length batches without pads, ``nn.LSTM``, logits of every token, ``F.cross_entropy``, SGD,
clipping at 5.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aecore.autoencoder import Sizes
from aecore.initialisation import PUBLISHED


class PlainVae(nn.Module):
    """The VAE of Li et al. (2019) without hooks, masks or checks."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        v, e, h, d = sizes.vocabulary, sizes.embedding, sizes.hidden, sizes.latent
        self.read = nn.Embedding(v, e)
        self.encoder = nn.LSTM(e, h, batch_first=True)
        self.head = nn.Linear(h, 2 * d, bias=False)
        self.write = nn.Embedding(v, e)
        self.bridge = nn.Linear(d, h, bias=False)
        self.decoder = nn.LSTM(e + d, h, batch_first=True)
        self.output = nn.Linear(h, v, bias=False)
        PUBLISHED.draw(self)
        self.optimiser = torch.optim.SGD(self.parameters(), lr=1.0)

    def loss(self, tokens: Tensor, beta: float) -> Tensor:
        """0-d: the mean over sentences of rec + beta KL, for tokens (B, T+1) of equal length."""
        _, (last, _) = self.encoder(self.read(tokens))
        mean, log_variance = self.head(last.squeeze(0)).chunk(2, -1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        words = F.dropout(self.write(tokens[:, :-1]), 0.5)
        inputs = torch.cat([words, z.unsqueeze(1).expand(-1, words.shape[1], -1)], -1)
        cell = self.bridge(z).unsqueeze(0)
        states, _ = self.decoder(inputs, (torch.tanh(cell), cell))
        logits = self.output(F.dropout(states, 0.5))
        rec = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum") / len(
            tokens
        )
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()
        total: Tensor = rec + beta * kl
        return total

    def step(self, tokens: Tensor, beta: float) -> None:
        """One SGD step."""
        self.optimiser.zero_grad()
        torch.autograd.backward(self.loss(tokens, beta))
        nn.utils.clip_grad_norm_(self.parameters(), 5.0)
        self.optimiser.step()
