"""A fitted proposal, a diagonal Gaussian of the features, where the posterior will not do.

Source: the inference network of Kingma and Welling (ICLR 2014), trained after the model instead of
    with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aecore.batch import Batch
from aecore.data.batching import evaluation_plan
from aecore.data.corpus import Split
from aecore.model import Model
from aecore.streams import Streams

#: log p(z), (..., D) -> (...).
LogDensity = Callable[[Tensor], Tensor]

STEPS = 500
BATCH = 32
LEARNING_RATE = 1e-2
HIDDEN = 128
#: Sentences from which the features' mean and deviation are taken, and draws from the prior for its
#: own.
LOOK = 2_000


@dataclass(frozen=True)
class Scale:
    """Mean and deviation of each column, (1, D) or (1, H)."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Scale:
        """Of rows (N, D); a constant column counts as one of deviation 1."""
        deviation = rows.std(0, keepdim=True) if len(rows) > 1 else torch.ones_like(rows)
        return cls(rows.mean(0, keepdim=True), torch.where(deviation > 1e-6, deviation, 1.0))


class GaussianProposal(nn.Module):
    """q(z given x) = N(m + s mu, diag (s sigma)^2), (mu, log sigma) = W f + V tanh(U f).

    f are the standardised features (B, H).

    It starts at the prior: m and s are the moments of its samples, W and V are 0.
    """

    def __init__(self, features: Scale, prior: Scale) -> None:
        super().__init__()
        self.features, self.prior = features, prior
        width, latent = features.mean.shape[1], prior.mean.shape[1]
        self.straight = nn.Linear(width, 2 * latent)
        self.bent = nn.Sequential(
            nn.Linear(width, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 2 * latent)
        )
        for layer in (self.straight, self.bent[2]):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def moments(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of z, (B, 1, D)."""
        standard = (features - self.features.mean) / self.features.deviation
        mean, log_scale = (self.straight(standard) + self.bent(standard)).unsqueeze(1).chunk(2, -1)
        return self.prior.mean + self.prior.deviation * mean, self.prior.deviation * log_scale.exp()

    def sample(self, features: Tensor, samples: int) -> Tensor:
        """z (B, K, D), reparameterised."""
        mean, deviation = self.moments(features)
        noise = torch.randn(
            len(features), samples, mean.shape[-1], device=mean.device, dtype=mean.dtype
        )
        return mean + deviation * noise

    def log_prob(self, features: Tensor, z: Tensor) -> Tensor:
        """(B, K): log q(z), for z (B, K, D)."""
        mean, deviation = self.moments(features)
        return -(
            0.5 * ((z - mean) / deviation).square() + deviation.log() + 0.5 * math.log(2 * math.pi)
        ).sum(-1)


def fit_proposal(
    model: Model, split: Split, streams: Streams, prior: LogDensity, steps: int = STEPS
) -> GaussianProposal:
    """Maximise the bound over the proposal alone, on the whole split; the model is not touched.

    Fitting on the sentences that are measured is no leak: every proposal gives a bound on the same
        -log p(x), the better the
    tighter. The draws are keyed, so that the same run gives the same proposal.
    """
    with streams("evaluate", split.name, "proposal"), _differentiable():
        proposal = _start(model, split)
        optimiser = torch.optim.Adam(proposal.parameters(), lr=LEARNING_RATE)
        decay = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, steps)
        for _ in range(steps):
            batch = _some(split).to(model.device)
            with torch.no_grad():
                features = model.features(batch)
            loss = _bound(model, batch, features, proposal, prior)
            for parameter, gradient in zip(
                proposal.parameters(), _gradients(loss, proposal), strict=True
            ):
                parameter.grad = gradient
            nn.utils.clip_grad_norm_(proposal.parameters(), 5.0)
            optimiser.step()
            decay.step()
    return proposal.requires_grad_(False)


def _bound(
    model: Model, batch: Batch, features: Tensor, proposal: GaussianProposal, prior: LogDensity
) -> Tensor:
    """0-d: the mean of -log p(x | z) - log p(z) + log q(z), one draw a sentence."""
    z = proposal.sample(features, 1)
    return (model.nll(batch, z) - prior(z) + proposal.log_prob(features, z)).mean()


def _gradients(loss: Tensor, proposal: GaussianProposal) -> tuple[Tensor, ...]:
    """In the proposal's parameters alone: nothing of the model gets a gradient."""
    return torch.autograd.grad(loss, list(proposal.parameters()))


def _start(model: Model, split: Split) -> GaussianProposal:
    with torch.no_grad():
        looked = evaluation_plan(split.head(LOOK), BATCH)
        features = torch.cat(
            [model.features(split.batch(indices).to(model.device)) for indices in looked]
        )
        moments = Scale.of(model.prior_sample(LOOK))
    return GaussianProposal(Scale.of(features), moments).to(features)


def _some(split: Split) -> Batch:
    """A random batch."""
    return split.batch(torch.randint(len(split), (min(BATCH, len(split)),)))


@contextmanager
def _differentiable() -> Iterator[None]:
    """Gradients on, in evaluation mode, without cuDNN, which cannot differentiate LSTMs there."""
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        yield
