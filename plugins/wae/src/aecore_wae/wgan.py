"""WGAN: a critic with clipped weights estimates the Wasserstein distance of codes and prior.

Source: Arjovsky, Chintala and Bottou, ICML 2017, https://arxiv.org/abs/1701.07875, algorithm 1,
    between codes and prior instead of images.
Deviations:
    - Weights are clipped after each update, as in algorithm 1; the authors' main.py clips before
      the next one, so that the generator meets a critic that is not clipped.
    - Their 100 critic steps at the beginning and every 500 generator steps are left out.
    - With weights within 0.01 the distance is scaled by about 0.01^(layers + 1) times the widths:
      the weight of the penalty has to make up for that.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

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
from aecore.matching import mlp
from aecore_wae.encoder import EncoderConfig, drawn, head_for, refined


class Wgan(Plugin):
    """L = E[-log p(x | z)] + weight (E_p f - E_q f), f the critic that makes that largest.

    Logged: ``distance``, E_p f - E_q f before the weight, in the units of the clipped critic.
    """

    class Config(CriticConfig, EncoderConfig):
        """Settings of the WGAN critic."""

        optimiser: Literal["adam", "sgd", "rmsprop"] = Field(
            "rmsprop", description="the critic's optimiser"
        )
        lr: float = Field(5e-5, gt=0, description="the critic's learning rate")
        steps: int = Field(5, ge=1, description="critic updates before each joint step")
        clamp: float = Field(
            0.01, gt=0, description="clamp the critic's weights to [-clamp, clamp]"
        )
        weight: float = Field(100.0, gt=0, description="lambda, of the critic's difference")
        width: int = Field(256, ge=1, description="hidden units of the critic's layers")
        layers: int = Field(2, ge=1, description="hidden layers of the critic")

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
        self.net = mlp(sizes.latent, self.config.width, self.config.layers, bias=False)

    @hookimpl
    def posterior_sample(
        self, features: Tensor, n_samples: int, batch: Batch | None
    ) -> PosteriorSample:
        """z = W f, one draw; or draws of a Gaussian."""
        return drawn(self.config.encoder, self.model, self.head(features), n_samples, batch)

    @hookimpl
    def critic_loss(self, step: DetachedStep) -> Tensor:
        """E_q f - E_p f, mean over the batch, 0-d."""
        return step.mean(self.net(step.z).mean((1, 2)) - self.net(step.prior_sample()).squeeze(1))

    @hookimpl
    def kl_term(self, step: Step) -> Tensor:
        """weight (f(p) - f(z)), (B, 1), mean over the draws."""
        apart: Tensor = self.net(step.prior_sample()) - self.net(step.sample.z).mean(1)
        self.log(distance=step.mean(apart.detach().squeeze(1)))
        return self.config.weight * apart
