"""A mixture of Gaussians as the prior.

Source: Tomczak and Welling, AISTATS 2018, https://arxiv.org/abs/1705.07120, the baseline "MoG";
    Pelsmaeker and Aziz, ACL 2020, https://arxiv.org/abs/1904.08194, bowman_decoder.py (M = 100,
    weights fixed at 1/M).
Deviations:
    - Components start apart, with means from N(0, spread^2 I), and the mixture has unit variance
      before training. Where public code keeps them among the encoder's parameters they are drawn
      anew from U(-0.01, 0.01), nearly equal, and stay so.
    - The deviations are exp of what is learned; public code takes the softplus, of the variances.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from aecore import Plugin, PluginConfig, Role, Sizes, hookimpl
from aecore_priors.usage import usage


class MogPrior(Plugin):
    """p(z) = sum_k w_k N(z; m_k, diag s_k^2), with M components.

    Samples have gradients in the means and deviations; learned weights are moved by the density
    alone.
    """

    class Config(PluginConfig):
        """Settings of the mixture."""

        components: int = Field(100, ge=1, description="M, Gaussians in the mixture")
        spread: float = Field(
            0.5,
            gt=0,
            lt=1,
            description="deviation of the means before training; 0 would never separate them",
        )
        learned_weights: bool = Field(
            False, description="learn the weights too, instead of 1/M each"
        )

    config: Config
    roles: ClassVar[dict[str, Role]] = {"means": "prior", "log_scales": "prior", "logits": "prior"}

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        c = self.config
        self.means = nn.Parameter(c.spread * torch.randn(c.components, sizes.latent))
        self.log_scales = nn.Parameter(torch.full_like(self.means, 0.5 * math.log(1 - c.spread**2)))
        logits = torch.zeros(c.components)
        if c.learned_weights:
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits, persistent=False)

    @hookimpl
    def prior_logprob(self, z: Tensor) -> Tensor:
        """log sum_k w_k N(z; m_k, s_k^2): (..., D) -> (...)."""
        away = (z.unsqueeze(-2) - self.means) * (-self.log_scales).exp()  # (..., M, D)
        volume = self.log_scales.sum(-1) + 0.5 * z.shape[-1] * math.log(2 * math.pi)  # (M,)
        log_parts = self.logits.log_softmax(0) - volume - 0.5 * away.square().sum(-1)
        if self.training:
            self.log(**usage(log_parts))
        return log_parts.logsumexp(-1)

    @hookimpl
    def prior_sample(self, n: int) -> Tensor:
        """A component by its weight, then m + s noise: (n, D)."""
        chosen = torch.multinomial(self.logits.detach().softmax(0), n, replacement=True)
        means = self.means[chosen]
        return means + self.log_scales[chosen].exp() * torch.randn_like(means)
