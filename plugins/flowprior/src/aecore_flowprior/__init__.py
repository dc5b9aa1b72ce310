"""FlowPrior: a normalising flow as prior, an importance-weighted bound beside the ELBO.

Source: Ding and Gimpel, NAACL 2021, https://aclanthology.org/2021.naacl-main.259, Eq. 5-7; Dinh et
    al., ICLR 2017, https://arxiv.org/abs/1605.08803 (the coupling layers, here zuko's).
Deviations:
    - N = 1 is refused: the two terms of Eq. 7 are then one, and their sum is twice the usual bound.
    - The paper's text that is public leaves open N, the weight of the importance-weighted term, the
      size of the flow, and whether anything is detached. Here N = 5, the least above 1 in Burda et
      al. (ICLR 2016), the weight is 1, as Eq. 7 is printed, the flow has four layers, and both
      terms share their samples, with no gradient stopped.
    - The flow is the identity before training, so that every run starts from the Gaussian prior.
    - The log scales of an affine layer, and the slopes of a spline, are squashed softly to at most
      log 1000, as zuko does.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from aecore import ConfigError, Plugin, PluginConfig, Role, Sizes, Step, hookimpl
from aecore_flowprior.flows import composed, coupling_layers


class FlowPrior(Plugin):
    """log p(z) = log N(f^-1(z); 0, I) + log |det df^-1/dz|, the prior by change of variables.

    The objective gains -w log 1/N sum_i p(x, z_i) / q(z_i given x).

    A schedule or a floor acts on the KL of the usual bound alone: the importance-weighted term is a
        bound on log p(x) itself.
    """

    class Config(PluginConfig):
        """Settings of FlowPrior."""

        flow: Literal["realnvp", "nsf", "nice"] = Field(
            "realnvp",
            description="coupling layers that scale and shift, splines on [-5, 5], or shifts alone",
        )
        layers: int = Field(
            4,
            ge=1,
            description="coupling layers; each moves the half that the one before left alone",
        )
        hidden: int = Field(
            64, ge=1, description="width of the two hidden layers in each coupling layer"
        )
        samples: int = Field(
            5, ge=2, description="N, posterior samples per sentence; with 1 both terms are the same"
        )
        iw_weight: float = Field(
            1.0, ge=0, description="weight of the importance-weighted term, dimensionless"
        )

    config: Config
    roles: ClassVar[dict[str, Role]] = {"flow": "prior"}

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        c = self.config
        if sizes.latent < 2:
            raise ConfigError(
                f"flowprior needs two latent dimensions, and model.latent is {sizes.latent}",
                "a coupling layer moves one half of them by what it reads in the other",
            )
        self.samples = c.samples
        self.flow = coupling_layers(c.flow, sizes.latent, c.layers, c.hidden)

    def inverse(self) -> Any:
        """The transform f^-1, from z (..., D) to the noise (..., D); its own ``inv`` is f."""
        return composed(self.flow)

    @hookimpl
    def prior_logprob(self, z: Tensor) -> Tensor:
        """The change of variables, Eq. 6: (..., D) -> (...)."""
        noise, volume = self.inverse().call_and_ladj(z)
        found: Tensor = volume - 0.5 * (
            noise.square().sum(-1) + z.shape[-1] * math.log(2 * math.pi)
        )
        return found

    @hookimpl
    def prior_sample(self, n: int) -> Tensor:
        """f(noise), (n, D)."""
        like = next(self.flow.parameters())
        noise = torch.randn(n, self.sizes.latent, dtype=like.dtype, device=like.device)
        z: Tensor = self.inverse().inv(noise)
        return z

    @hookimpl
    def extra_loss(self, step: Step) -> Tensor:
        """(B,): -w log 1/N sum_i p(x, z_i) / q(z_i given x), the first term of Eq. 7, nats."""
        log_q = step.sample.log_prob
        assert log_q is not None  # composition asks for a density
        log_weights = step.log_prior - step.rec - log_q  # (B, N)
        bound = log_weights.logsumexp(1) - math.log(log_weights.shape[1])
        self.log(iw_bound=-bound.mean())
        return -self.config.iw_weight * bound
