"""iVAE_MI: the KL of the aggregate of all implicit posteriors, by a critic that reads the code."""

from __future__ import annotations

from typing import ClassVar

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


class IvaeMi(Plugin):
    """KL(q(z) || p(z)) = max_nu E_q nu(z) - E_p exp nu(z) + 1, q(z) the codes of the batch.

    E_x KL(q(z | x) || p) = I(x; z) + KL(q(z) || p): the information is free of charge, so that
    rec + this is no bound, whatever the critic. Charged and reported as ``dual``. Logged as by
    ``ivae``; ``kl_gaussian`` is the sentence's KL, which is charged in part.
    """

    class Config(IvaeConfig):
        """Settings of the iVAE_MI."""

    config: Config
    roles: ClassVar[dict[str, Role]] = {"draw": "encoder", "nu": "critic"}

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.critic = self.config
        self.draw = ImplicitPosterior(sizes, self.config.posterior)
        self.nu = mlp(sizes.latent, self.config.width, self.config.layers)

    @hookimpl
    def posterior_sample(self, features: Tensor, n_samples: int) -> PosteriorSample:
        """z = G(f, eps), (B, K, D)."""
        return self.draw.draw(features, n_samples)

    @hookimpl
    def critic_loss(self, step: DetachedStep) -> Tensor:
        """E_p exp nu - E_q nu, mean over the batch, 0-d; the draws of q are the step's own."""
        return 1 - step.mean(self._dual(step.z, step.prior_sample()))

    @hookimpl
    def kl_term(self, step: Step) -> Tensor:
        """nu(z_q) - exp nu(z_p) + 1, (B, 1), mean over the draws of q."""
        exact = self.draw.gaussian_kl(step.features.detach())
        if exact is not None:
            self.log(kl_gaussian=step.mean(exact).float())
        return self._dual(step.sample.z, step.prior_sample()).unsqueeze(1)

    def _dual(self, z: Tensor, drawn: Tensor) -> Tensor:
        """(B,): z (B, K, D) against one draw of the prior, (B, D)."""
        of_codes = self.nu(z).squeeze(-1).mean(1)
        of_prior = self.nu(drawn).squeeze(-1)
        self.log(exp_large=exp_counted(of_prior))
        return dual(of_codes, of_prior)
