"""WAE-GAN: a critic tells codes from draws of the prior.

Source: Tolstikhin et al., ICLR 2018, https://arxiv.org/abs/1711.01558, algorithm 1; the authors'
    wae.py. With a squared error for a cost it is the adversarial autoencoder of Makhzani et al.
    (2015), https://arxiv.org/abs/1511.05644.
Deviations:
    - The reconstruction is -log p(x | z) in nats, not the squared error of an image, and the
      weight 1: at the paper's 10 short sentences were lost.
    - The critic is updated before the step of encoder and decoder, the authors' after it.
    - Their optional log p(z) in the critic's output is left out: it has the shape of a broadcast
      mistake there.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from aecore import (
    Batch,
    CriticConfig,
    DetachedStep,
    Manifest,
    Plugin,
    PluginConfig,
    PosteriorSample,
    Role,
    Sizes,
    Step,
    hookimpl,
)
from aecore.matching import mlp, told_apart
from aecore_wae.encoder import EncoderConfig, drawn, head_for, refined


class WaeGan(Plugin):
    """L = E[-log p(x | z) - weight log sigmoid(D(z))], D trained to tell z from the prior's draws.

    The encoder's term is the non-saturating one. Logged: ``guessed``, the share of codes and draws
    that the critic tells right: 0.5 where it cannot.
    """

    class Config(CriticConfig, EncoderConfig):
        """Settings of WAE-GAN."""

        weight: float = Field(1.0, gt=0, description="lambda, of the critic's cross-entropy")
        width: int = Field(256, ge=1, description="hidden units of the critic's layers")
        layers: int = Field(3, ge=1, description="hidden layers of the critic")

    config: Config
    roles: ClassVar[dict[str, Role]] = {"head": "encoder", "net": "critic"}

    @classmethod
    def manifest(cls, declared: Manifest, config: PluginConfig) -> Manifest:
        """Of a Gaussian more is known than of a point."""
        assert isinstance(config, cls.Config)
        return refined(declared, config.encoder)

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.critic = self.config
        self.head = head_for(self.config.encoder, sizes)
        self.net = mlp(sizes.latent, self.config.width, self.config.layers)

    @hookimpl
    def posterior_sample(
        self, features: Tensor, n_samples: int, batch: Batch | None
    ) -> PosteriorSample:
        """z = W f, one draw; or draws of a Gaussian."""
        return drawn(self.config.encoder, self.model, self.head(features), n_samples, batch)

    @hookimpl
    def critic_loss(self, step: DetachedStep) -> Tensor:
        """-log sigmoid(D(p)) - log(1 - sigmoid(D(z))), mean over the batch, 0-d."""
        losses, right = told_apart(self.net(step.z), self.net(step.prior_sample()))
        self.log(guessed=step.mean(right))
        return step.mean(losses)

    @hookimpl
    def kl_term(self, step: Step) -> Tensor:
        """-weight log sigmoid(D(z)), (B, 1), mean over the draws."""
        score = self.net(step.sample.z)  # (B, K, 1)
        return self.config.weight * F.softplus(-score).mean(1)
