"""The implicit posterior: a network of features and noise."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from aecore import CriticConfig, PosteriorSample, Sizes
from aecore.matching import mlp

Kind = Literal["network", "affine"]


class IvaeConfig(CriticConfig):
    """What both have; the critic's settings among them."""

    posterior: Kind = Field(
        "network", description="what z is of features and noise: a network, or one affine map"
    )
    lr: float = Field(1e-5, gt=0, description="the critic's learning rate")
    steps: int = Field(5, ge=1, description="critic updates before each joint step")
    width: int = Field(512, ge=1, description="hidden units of the critic's layers")
    layers: int = Field(3, ge=1, description="hidden layers of the critic")


class ImplicitPosterior(nn.Module):
    """z = A [f; eps] + b, and V g(U [f; eps]) added where it is a network; eps ~ N(0, I_D).

    It starts as the affine map, whose eps has the weight 1 for the component of its own: a
    posterior as wide as the standard prior.
    """

    def __init__(self, sizes: Sizes, kind: Kind) -> None:
        super().__init__()
        self.straight = nn.Linear(sizes.hidden + sizes.latent, sizes.latent)
        self.bent = (
            mlp(sizes.hidden + sizes.latent, 2 * sizes.latent, 1, sizes.latent)
            if kind == "network"
            else None
        )
        with torch.no_grad():
            self.straight.weight[:, sizes.hidden :].copy_(torch.eye(sizes.latent))
            self.straight.bias.zero_()

    def forward(self, features: Tensor, noise: Tensor) -> Tensor:
        """(..., D) for features (..., H) and noise (..., D)."""
        joined = torch.cat([features, noise], -1)
        straight: Tensor = self.straight(joined)
        return straight if self.bent is None else straight + self.bent(joined)

    def draw(self, features: Tensor, samples: int) -> PosteriorSample:
        """K draws for features (B, H); what stands for a sentence is z at eps = 0."""
        latent = self.straight.out_features
        many = features.unsqueeze(1).expand(-1, samples, -1)
        noise = torch.randn(
            len(features), samples, latent, device=features.device, dtype=features.dtype
        )
        centre = self(features, noise.new_zeros(len(features), latent))
        return PosteriorSample(self(many, noise), centre=centre)

    def gaussian_kl(self, features: Tensor) -> Tensor | None:
        """(B,): KL(N(m, S) || N(0, I)) of the affine map, m = A_f f + b and S = A_e A_e^T; nats.

        None for a network, which has no closed form.
        """
        if self.bent is not None:
            return None
        of_features, of_noise = self.straight.weight.tensor_split([features.shape[-1]], 1)
        mean = nn.functional.linear(features, of_features, self.straight.bias)
        covariance = (of_noise @ of_noise.t()).double()
        traced = covariance.trace() - torch.logdet(covariance) - len(covariance)
        return 0.5 * (mean.double().square().sum(-1) + traced)
