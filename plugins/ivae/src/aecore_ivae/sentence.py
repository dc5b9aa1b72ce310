"""iVAE: the KL of each sentence's implicit posterior, by a critic that reads sentence and code."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from aecore import (
    DetachedStep,
    Plugin,
    PluginConfig,
    PosteriorSample,
    Role,
    Sizes,
    Step,
    hookimpl,
)
from aecore.matching import dual, exp_counted, mlp
from aecore_ivae.posterior import ImplicitPosterior, IvaeConfig


class Ivae(Plugin):
    """KL(q(z | x) || p) = max_nu E_q nu(x, z) - E_p exp nu(x, z) + 1, nu a network of [f; z].

    Charged and reported as ``dual``: for a given critic it is a lower bound, in the mean, and far
    from the truth where the critic lags. The critic's features are cut from the encoder. Logged:
    ``exp_large``, the share of the prior's draws at which exp nu cannot be trusted (nothing is
    clamped), and for the affine map ``kl_gaussian``, the KL itself.
    """

    class Config(IvaeConfig):
        """Settings of the iVAE."""

    config: Config
    roles: ClassVar[dict[str, Role]] = {"draw": "encoder", "nu": "critic"}

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.critic = self.config
        self.draw = ImplicitPosterior(sizes, self.config.posterior)
        self.nu = mlp(sizes.hidden + sizes.latent, self.config.width, self.config.layers)

    @hookimpl
    def posterior_sample(self, features: Tensor, n_samples: int) -> PosteriorSample:
        """z = G(f, eps), (B, K, D)."""
        return self.draw.draw(features, n_samples)

    @hookimpl
    def critic_loss(self, step: DetachedStep) -> Tensor:
        """E_p exp nu - E_q nu, mean over the batch, 0-d; the draws of q are the step's own."""
        return 1 - step.mean(self._dual(step.features, step.z, step.prior_sample()))

    @hookimpl
    def kl_term(self, step: Step) -> Tensor:
        """nu(x, z_q) - exp nu(x, z_p) + 1, (B, 1), mean over the draws of q."""
        exact = self.draw.gaussian_kl(step.features.detach())
        if exact is not None:
            self.log(kl_gaussian=step.mean(exact).float())
        return self._dual(step.features.detach(), step.sample.z, step.prior_sample()).unsqueeze(1)

    def _dual(self, features: Tensor, z: Tensor, drawn: Tensor) -> Tensor:
        """(B,): the dual of each sentence, z (B, K, D) against one draw of the prior, (B, D)."""
        beside = features.unsqueeze(1).expand(-1, z.shape[1], -1)
        of_codes = self.nu(torch.cat([beside, z], -1)).squeeze(-1).mean(1)
        of_prior = self.nu(torch.cat([features, drawn], -1)).squeeze(-1)
        self.log(exp_large=exp_counted(of_prior))
        return dual(of_codes, of_prior)
