"""Models with two latent dimensions whose likelihood is known: log p(x) as an integral over a grid
of z.
"""

import math

import torch
from support import build
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

from aecore import Plugin, PosteriorSample, Sizes, hookimpl
from aecore.model import evaluating

SIZES = Sizes(vocabulary=11, embedding=5, hidden=6, latent=2)
PRICELESS = {"kl": "penalty", "kl_estimator": "penalty", "kl_gradient": ["encoder"]}
REACH, CELLS = 9.0, 121


class FullCovariance(Plugin):
    """q(z | x) = N(W f, L L^T), L lower triangular and not diagonal."""

    declares = {"provides": {"posterior": "density"}}
    roles = {"head": "encoder", "shear": "encoder"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.head = nn.Linear(sizes.hidden, sizes.latent)
        self.shear = nn.Parameter(torch.tensor([[1.3, 0.0], [0.6, 1.1]]))

    def normal(self, features):
        return MultivariateNormal(self.head(features), scale_tril=self.shear.tril())

    @hookimpl
    def posterior_sample(self, features, n_samples):
        normal = self.normal(features)
        return PosteriorSample(normal.rsample((n_samples,)).transpose(0, 1), normal)


class DensityAtDraws(FullCovariance):
    """The same posterior, of which only the density at its own draws is known."""

    declares = {"provides": {"posterior": "density"}}

    @hookimpl
    def posterior_sample(self, features, n_samples):
        normal = self.normal(features)
        z = normal.rsample((n_samples,))
        return PosteriorSample(z.transpose(0, 1), log_prob=normal.log_prob(z).transpose(0, 1))


class LearnedPrior(Plugin):
    """p(z) = N(mu, s^2)."""

    declares = {"provides": {"prior": "density"}}
    roles = {"mu": "prior"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.mu = nn.Parameter(torch.tensor([0.7, -0.4]))

    @hookimpl
    def prior_logprob(self, z):
        return Normal(self.mu, 0.8).log_prob(z).sum(-1)

    @hookimpl
    def prior_sample(self, n):
        return Normal(self.mu, 0.8).rsample((n,))


class Implicit(Plugin):
    """A posterior that can only be sampled, under a penalty: z = W f + a bent noise."""

    declares = {"provides": {"posterior": "sampled", **PRICELESS}}
    roles = {"head": "encoder"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.head = nn.Linear(sizes.hidden, sizes.latent)

    @hookimpl
    def posterior_sample(self, features, n_samples):
        noise = torch.randn(len(features), n_samples, self.sizes.latent)
        return PosteriorSample(self.head(features).unsqueeze(1) + noise + 0.3 * noise.square())

    @hookimpl
    def kl_term(self, step):
        return step.sample.z.mean((0, 1)).square().sum().expand(len(step.batch), 1)


class Point(Implicit):
    """A plain autoencoder."""

    declares = {"provides": {"posterior": "point", **PRICELESS}}

    @hookimpl
    def posterior_sample(self, features):
        return PosteriorSample(self.head(features).unsqueeze(1))


class SampledPrior(Point):
    """A prior of two bumps that tells no density; `log_prior` is the truth that it hides."""

    declares = {"provides": {"posterior": "point", "prior": "samples", **PRICELESS}}
    roles = {"head": "encoder"}

    @hookimpl
    def prior_logprob(self, z):
        raise AssertionError("a prior of samples was asked for a density")

    @hookimpl
    def prior_sample(self, n):
        side = (torch.rand(n, 1) < 0.3).float()
        return torch.randn(n, 2) * 0.5 + torch.tensor([1.2, 0.5]) * (1 - side) - 1.2 * side

    @staticmethod
    def log_prior(z):
        bumps = [
            Normal(torch.tensor(m), 0.5).log_prob(z).sum(-1) for m in ([1.2, 0.5], [-1.2, -1.2])
        ]
        return torch.logaddexp(bumps[0] + math.log(0.7), bumps[1] + math.log(0.3))


class Placed(Plugin):
    """q(z | x) = N(table[number of the sentence], scale^2), from attributes that the test sets."""

    declares = {"provides": {"posterior": "gaussian"}}
    table, scale = torch.zeros(48, 2), 1.0

    @hookimpl
    def posterior_sample(self, features, n_samples, batch):
        mean = self.table[batch.index]
        normal = Independent(Normal(mean, torch.full_like(mean, self.scale)), 1)
        return PosteriorSample(normal.rsample((n_samples,)).transpose(0, 1), normal)


def lively(*classes, seed=0):
    """A model in two dimensions whose sentences have different posteriors and whose
    decoder uses z.
    """
    model = build(*classes, sizes=SIZES)
    made = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(("encoder", "decoder")):
                parameter.normal_(0, 0.7, generator=made)
            elif ".head." in name:
                parameter.normal_(0, 0.4, generator=made)
    return model.eval()


def cells():
    """(M, 2) midpoints of a grid round 0, and the log volume of a cell."""
    width = 2 * REACH / CELLS
    steps = (torch.arange(CELLS) + 0.5) * width - REACH
    return torch.cartesian_prod(steps, steps), 2 * math.log(width)


def exact_nll(model, split, log_prior=None):
    """(N,) float64: -log of the integral of p(x | z) p(z) over the grid."""
    z, volume = cells()
    with evaluating(model):
        log_p = (log_prior or model.prior_logprob)(z).double()
        batches = [split.batch(torch.tensor([number])) for number in range(len(split))]
        rows = [model.nll(batch, z.unsqueeze(0))[0].double() for batch in batches]
    assert abs(log_p.exp().sum().item() * math.exp(volume) - 1) < 1e-4  # the grid holds the prior
    return torch.stack([-(log_p - row + volume).logsumexp(0) for row in rows])
