"""A fitted proposal, a diagonal Gaussian of the features, where the posterior will not do.

On the ball it is a wrapped normal: see `charts`.

Source: the inference network of Kingma and Welling (ICLR 2014), trained after the model instead of
    with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from aecore.batch import Batch
from aecore.data.batching import evaluation_plan
from aecore.data.corpus import Split
from aecore.evaluation.charts import Around, Chart, Scale, chart_of
from aecore.model import Model
from aecore.streams import Streams

#: log p(z), (..., D) -> (...).
LogDensity = Callable[[Tensor], Tensor]

STEPS = 500
BATCH = 32
#: The learning rate, over the number of features: they are correlated, and a step adds up.
RATE = 0.1
HIDDEN = 128
#: Sentences on which the fit is looked at, and how often.
CHECKED, LOOKS = 64, 10
#: Sentences from which the features' mean and deviation are taken, and draws from the prior for its
#: own.
LOOK = 2_000


class GaussianProposal(nn.Module):
    """q(z given x) = N(m + s mu, diag (s sigma)^2), (mu, log sigma) = W f + V tanh(U f).

    f are the standardised features (B, H); how mu and sigma are bounded, and what stands for the
    Gaussian on the ball, is the chart's.

    It starts at the prior: m and s are the moments of its samples, W and V are 0.

    Attributes:
        fitted: whether the fit improved on that.
    """

    fitted = False

    def __init__(self, chart: Chart, features: Scale, prior: Scale) -> None:
        super().__init__()
        self.chart, self.features, self.prior = chart, features, prior
        width, latent = features.mean.shape[1], prior.mean.shape[1]
        self.straight = nn.Linear(width, 2 * latent)
        self.bent = nn.Sequential(
            nn.Linear(width, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 2 * latent)
        )
        for layer in (self.straight, self.bent[2]):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def around(self, features: Tensor) -> Around:
        """q for features (B, H)."""
        standard = (features - self.features.mean) / self.features.deviation
        mean, log_scale = (self.straight(standard) + self.bent(standard)).unsqueeze(1).chunk(2, -1)
        return self.chart.around(mean, log_scale, self.prior)

    def draw(self, features: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        """z (B, K, D), reparameterised, and log q(z), (B, K)."""
        latent = self.prior.mean.shape[1]
        noise = torch.randn(
            len(features), samples, latent, device=features.device, dtype=features.dtype
        )
        return self.around(features).draw(noise)

    def log_prob(self, features: Tensor, z: Tensor) -> Tensor:
        """(B, K): log q(z), for z (B, K, D)."""
        return self.around(features).log_prob(z)


def fit_proposal(
    model: Model, split: Split, streams: Streams, prior: LogDensity, steps: int = STEPS
) -> GaussianProposal:
    """Maximise the bound over the proposal alone, on the whole split; the model is not touched.

    Fitting on the sentences that are measured is no leak: every proposal gives a bound on the same
    -log p(x), the better the tighter. The draws are keyed, so that the same run gives the same
    proposal. What is kept is the best of `LOOKS` looks on `CHECKED` sentences under one noise, the
    start among them: a fit that fails is never worse than a Gaussian with the prior's moments.
    """
    with streams("evaluate", split.name, "proposal"), _differentiable():
        proposal = _start(model, split)
        rate = RATE / (proposal.features.mean.shape[1])  # a step sums over the features
        optimiser = torch.optim.Adam(proposal.parameters(), lr=rate)
        decay = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, steps)
        check = _Check(model, split, streams, prior)
        best = check(proposal), _copy(proposal)
        start = best[0]
        for step in range(1, steps + 1):
            if not _step(model, _some(split).to(model.device), proposal, prior, optimiser):
                break
            decay.step()
            if step % max(1, steps // LOOKS) == 0 and (found := check(proposal)) < best[0]:
                best = found, _copy(proposal)
        proposal.load_state_dict(best[1])
        proposal.fitted = best[0] < start
    return proposal.requires_grad_(False)


def _step(
    model: Model,
    batch: Batch,
    proposal: GaussianProposal,
    prior: LogDensity,
    optimiser: torch.optim.Optimizer,
) -> bool:
    """One step on a batch; false where its loss or gradient is not finite, and nothing moves."""
    with torch.no_grad():
        features = model.features(batch)
    loss = _bound(model, batch, features, proposal, prior)
    for parameter, gradient in zip(proposal.parameters(), _gradients(loss, proposal), strict=True):
        parameter.grad = gradient
    norm = nn.utils.clip_grad_norm_(proposal.parameters(), 5.0)
    if not bool(torch.isfinite(loss) & torch.isfinite(norm)):
        return False
    optimiser.step()
    return True


class _Check:
    """The bound on the first sentences of a split under one noise; infinite if it is no number."""

    def __init__(self, model: Model, split: Split, streams: Streams, prior: LogDensity) -> None:
        self.model, self.streams, self.prior = model, streams, prior
        self.batch = split.batch(torch.arange(min(CHECKED, len(split)))).to(model.device)
        with torch.no_grad():
            self.features = model.features(self.batch)

    def __call__(self, proposal: GaussianProposal) -> float:
        with torch.no_grad(), self.streams("evaluate", "proposal", "check"):
            found = _bound(self.model, self.batch, self.features, proposal, self.prior, samples=4)
        return float(found) if bool(torch.isfinite(found)) else math.inf


def _copy(proposal: GaussianProposal) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in proposal.state_dict().items()}


def _bound(
    model: Model,
    batch: Batch,
    features: Tensor,
    proposal: GaussianProposal,
    prior: LogDensity,
    samples: int = 1,
) -> Tensor:
    """0-d: the mean of -log p(x | z) - log p(z) + log q(z), over sentences and draws."""
    z, log_q = proposal.draw(features, samples)
    inside = log_q != torch.inf
    return (model.nll(batch, z) - prior(z) + log_q)[inside].mean()


def _gradients(loss: Tensor, proposal: GaussianProposal) -> tuple[Tensor, ...]:
    """In the proposal's parameters alone: nothing of the model gets a gradient."""
    return torch.autograd.grad(loss, list(proposal.parameters()))


def _start(model: Model, split: Split) -> GaussianProposal:
    with torch.no_grad():
        looked = evaluation_plan(split.head(LOOK), BATCH)
        features = torch.cat(
            [model.features(split.batch(indices).to(model.device)) for indices in looked]
        )
        chart = chart_of(model.space)
        assert chart is not None
        moments = Scale.of(chart.coordinates(model.prior_sample(LOOK)).to(features))
    return GaussianProposal(chart, Scale.of(features), moments).to(features)


def _some(split: Split) -> Batch:
    """A random batch."""
    return split.batch(torch.randint(len(split), (min(BATCH, len(split)),)))


@contextmanager
def _differentiable() -> Iterator[None]:
    """Gradients on, in evaluation mode, without cuDNN, which cannot differentiate LSTMs there."""
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        yield
