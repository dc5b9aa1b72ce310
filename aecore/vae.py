"""The defaults as a plugin: a VAE with a Gaussian posterior and a standard normal prior.

Source: Kingma and Welling, ICLR 2014, https://arxiv.org/abs/1312.6114.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from aecore.autoencoder import Sizes
from aecore.batch import Batch
from aecore.hookspec import HOOKS, hookimpl
from aecore.initialisation import initialise
from aecore.plugin import Plugin, PluginConfig, Role
from aecore.posterior import PosteriorSample
from aecore.step import Step

OWNER_HOOKS = frozenset(name for name, hook in HOOKS.items() if hook.kind == "owner")


class Vae(Plugin):
    """L = E_q[-log p(x | z)] + KL(q(z | x) || N(0, I)), with q(z | x) = N(mu(x), diag sigma(x)^2).

    Args:
        owned: the owner hooks that no named plugin took; nothing is built for the others.
    """

    roles: ClassVar[dict[str, Role]] = {"head": "encoder"}

    def __init__(
        self, config: PluginConfig, sizes: Sizes, owned: frozenset[str] = OWNER_HOOKS
    ) -> None:
        super().__init__(config, sizes)
        if "posterior_sample" in owned:
            self.head = nn.Linear(sizes.hidden, 2 * sizes.latent, bias=False)
            initialise(self)

    @hookimpl
    def posterior_sample(
        self, features: Tensor, n_samples: int, batch: Batch | None
    ) -> PosteriorSample:
        """z = mu + sigma eps, (mu, log sigma^2) = W features after ``posterior_params``."""
        mean, log_variance = self.head(features).chunk(2, -1)
        mean, log_variance = self.model.posterior_params(mean, log_variance, batch)
        normal = Independent(
            Normal(mean, (0.5 * log_variance).exp(), validate_args=False), 1, validate_args=False
        )
        return PosteriorSample(normal.rsample((n_samples,)).transpose(0, 1), normal)

    @hookimpl
    def prior_logprob(self, z: Tensor) -> Tensor:
        """log N(z; 0, I), (...)."""
        return -0.5 * (z.square().sum(-1) + z.shape[-1] * math.log(2 * math.pi))

    @hookimpl
    def prior_sample(self, n: int) -> Tensor:
        """(n, D) from N(0, I)."""
        return torch.randn(n, self.sizes.latent, device=self.model.device)

    @hookimpl
    def decoder_condition(self, z: Tensor) -> Tensor:
        """z itself, (..., D)."""
        return z

    @hookimpl
    def kl_term(self, step: Step) -> Tensor:
        """(B, D) in closed form for Gaussian and standard; else (B, 1), E_q[log q - log p]."""
        if self.model.level["kl"] == "dimension":
            normal = step.sample.distribution
            assert normal is not None
            return gaussian_kl(normal.mean, normal.stddev)  # type: ignore[attr-defined]
        log_q = step.sample.log_prob
        assert log_q is not None
        return (log_q - step.log_prior).mean(1, keepdim=True)

    @hookimpl
    def beta_schedule(self) -> float:
        """1."""
        return 1.0

    @hookimpl
    def objective(self, step: Step) -> Tensor:
        """(B,): the mean of rec over K, plus beta times the charged divergence.

        0 over a frozen autoencoder, of which nothing would be trained.
        """
        if self.model.frozen:
            return step.features.new_zeros(len(step.batch))
        return step.rec.mean(1) + step.beta * step.kl_loss.sum(1)


def gaussian_kl(mean: Tensor, scale: Tensor) -> Tensor:
    """KL(N(mean, scale^2) || N(0, 1)), elementwise, nats.

    (mean^2 + scale^2 - 1) / 2 - log scale.
    """
    return 0.5 * (mean.square() + scale.square() - 1) - scale.log()
