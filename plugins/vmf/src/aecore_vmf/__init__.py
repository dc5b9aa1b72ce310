"""vMF-VAE: latents on the sphere; a fixed distance from the prior cannot collapse.

Source: Xu and Durrett, EMNLP 2018, https://arxiv.org/abs/1808.10805; the authors'
    NVLL/distribution/vmf_batch.py.
Deviations:
    - The KL is exact. The authors' `_vmf_kld` is the formula for D + 2 dimensions: 2.084 nats for D
      = 32 and kappa = 13 where it is 2.173. It is added to all losses alike, so it moves their
      likelihoods and nothing else.
    - The decoder reads one draw. The authors' code reads the mean of three, which lies inside the
      sphere with a third of the noise that the KL charges for, so that what it reports bounds no
      likelihood.
    - kappa is 13, the value of the BN-VAE paper's comparison (ACL 2020) at D = 32, our default. The
      authors use 35 to 80 at D = 50, 6 to 20 nats.
    - The penalty (|f(x)| - 1)^2 on the length before it is normalised is left out; its published
      weight is 0 or 1e-4.
    - With `learned`, kappa depends on the sentence, as in Davidson et al. (UAI 2018); then the KL
      can be driven to 0, and other plugins can charge, steer or bound it.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from aecore import (
    ConfigError,
    Manifest,
    Plugin,
    PluginConfig,
    PosteriorSample,
    Role,
    Sizes,
    Step,
    hookimpl,
    initialise,
)
from aecore.geometry import Sphere
from aecore_vmf.bessel import divergence, log_area, log_normaliser
from aecore_vmf.distribution import VonMisesFisher

__all__ = ["VMF", "VonMisesFisher"]

#: A learned kappa stays above this: at 0 the direction means nothing.
LEAST = 1e-3


class VMF(Plugin):
    """q(z | x) = C(kappa) exp(kappa <mu, z>), mu = W f / |W f|, and p(z) = 1 / area, on S^{D-1}.

    KL = kappa A(kappa) + log C(kappa) + log area, the same for all sentences unless kappa is
    learned. A learned kappa waits for the device at each step: its Bessel functions are scipy's.
    """

    class Config(PluginConfig):
        """Settings of the vMF-VAE."""

        kappa: float = Field(
            13.0, gt=0, le=1e4, description="concentration of the posterior, dimensionless"
        )
        learned: bool = Field(
            False,
            description="whether kappa is a function of the sentence, which starts at this value",
        )

    config: Config
    space = Sphere()
    roles: ClassVar[dict[str, Role]] = {"direction": "encoder", "spread": "encoder"}
    kappa: Tensor
    log_c: Tensor
    divergence: Tensor

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        if sizes.latent < 2:
            raise ConfigError(
                f"model.latent = {sizes.latent} is too small for vmf", "due: at least 2, the circle"
            )
        self.direction = nn.Linear(sizes.hidden, sizes.latent, bias=False)
        if self.config.learned:
            self.spread = nn.Linear(sizes.hidden, 1)
        initialise(self)
        if self.config.learned:  # whatever the recipe, kappa starts at its setting
            for parameter in self.spread.parameters():
                nn.init.uniform_(parameter, -0.01, 0.01)
        kappa = torch.tensor(self.config.kappa, dtype=torch.float64)
        for name, value in (
            ("log_c", log_normaliser(kappa, sizes.latent)),
            ("divergence", divergence(kappa, sizes.latent)),
        ):
            self.register_buffer(name, value, persistent=False)  # follows from the settings
        self.register_buffer("kappa", kappa, persistent=False)

    @classmethod
    def manifest(cls, declared: Manifest, config: PluginConfig) -> Manifest:
        """A learned kappa makes the KL a function of the sentence, which moves the encoder."""
        assert isinstance(config, cls.Config)
        if not config.learned:
            return declared
        given = {"kl_gradient": frozenset({"encoder"}), "kl_estimator": "analytic"}
        return declared.model_copy(update={"provides": declared.provides.model_copy(update=given)})

    @hookimpl
    def posterior_sample(self, features: Tensor, n_samples: int) -> PosteriorSample:
        """z = w mu + sqrt(1 - w^2) v, v uniform at right angles to mu, w by rejection."""
        mu = self.space.project(self.direction(features))
        if self.config.learned:
            scale = F.softplus(self.spread(features).squeeze(-1).double()) / math.log(2)
            kappa = self.kappa * scale + LEAST
            self.log(kappa=kappa.mean())
            q = VonMisesFisher(mu, kappa)
        else:
            q = VonMisesFisher(mu, self.kappa.expand(len(mu)), self.log_c.expand(len(mu)))
        z, log_prob = q.rsample(n_samples)
        return PosteriorSample(z.transpose(0, 1), q, log_prob.transpose(0, 1), centre=mu)

    @hookimpl
    def prior_logprob(self, z: Tensor) -> Tensor:
        """-log area, (...)."""
        return torch.full_like(z[..., 0], -log_area(self.sizes.latent))

    @hookimpl
    def prior_sample(self, n: int) -> Tensor:
        """(n, D), uniform on the sphere."""
        return F.normalize(torch.randn(n, self.sizes.latent, device=self.model.device), dim=-1)

    @hookimpl
    def kl_term(self, step: Step) -> Tensor:
        """The divergence from the uniform distribution, (B, 1)."""
        if not self.config.learned:
            return self.divergence.to(step.features.dtype).expand(len(step.batch), 1)
        q = step.sample.distribution
        assert isinstance(q, VonMisesFisher)
        return divergence(q.kappa, self.sizes.latent).to(step.features.dtype).unsqueeze(1)
