"""P-VAE: latents in the Poincaré ball, whose volume grows exponentially with the radius.

Source: Mathieu et al., NeurIPS 2019, https://arxiv.org/abs/1901.06033; the authors'
    pvae/distributions/wrapped_normal.py and pvae/models/architectures.py. They have images and
    trees; the networks are those of the core.
Deviations:
    - log q comes from the noise of the draw. The authors recover the noise by inverting the map,
      which near the boundary lost every digit in float32. Everything between the encoder's features
      and the decoder's condition is in float64.
    - The encoder gives the centre in normal coordinates at 0, mu = exp_0(m / lambda_0), and sigma =
      prior_std f(s) with f(0) = 1, so that training starts near the prior. The authors have
      exp_0(m) and softplus(s), other scales of the same.
    - Both are bounded, smoothly, so that draws stay clear of the edge where float32 ends: f by
      1.25, and |m| by what the longest draws at that leave of the distance. While beta is near 0
      nothing else would: unbounded posteriors walked to the edge within 20 steps on PTB, where
      three draws in four were held back and the KL read -25 nats.
    - The gyroplanes are the formula of the paper (see `Gyroplanes`), and their ReLU is left to the
      decoder's own layers.
    - The Riemannian normal is left out: its normaliser is an alternating sum of D terms, hopeless
      at D = 32.
    - curvature is 0.7, the authors' value for images; none has been published for text.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from aecore import (
    ConfigError,
    Plugin,
    PluginConfig,
    PosteriorSample,
    Role,
    Sizes,
    hookimpl,
    initialise,
)
from aecore.geometry import Ball, Gyroplanes, WrappedNormal, longest, shortened

__all__ = ["Poincare"]

#: A posterior is no narrower than this, in units of length.
LEAST = 1e-5
#: The widest posterior, in deviations of the prior. Its longest draws still have to fit, or what is
#: held back at the edge is priced there and the KL reads too low.
WIDEST = 1.25
#: The share of the distance to the edge within which all that is to stay, and the deviations of the
#: prior that have to be left in it for the centres.
WITHIN, ROOM = 0.98, 2.0


class Poincare(Plugin):
    """q = WrappedNormal(mu, diag sigma^2), p = WrappedNormal(0, prior_std^2 I), per volume.

    KL = E_q[log q - log p] over the draws, the default `kl_term`. The fraction of draws that would
    lie beyond the edge of the ball, where float32 ends, and are held back there is logged as
    `clipped`.
    """

    class Config(PluginConfig):
        """Settings of the P-VAE, the paper's symbols in words."""

        curvature: float = Field(
            0.7, gt=0, le=100, description="c: the ball has curvature -c and radius 1 / sqrt(c)"
        )
        prior_std: float = Field(
            1.0, gt=0, description="standard deviation of the prior, in units of length"
        )
        decoder: Literal["gyroplane", "log_0"] = Field(
            "gyroplane", description="what the decoder reads of z"
        )
        width: int | None = Field(
            None, ge=1, description="gyroplanes; the latent size unless given"
        )

    config: Config
    roles: ClassVar[dict[str, Role]] = {"head": "encoder", "planes": "decoder"}

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.ball = Ball(self.config.curvature)
        self.space = self.ball
        self._check_reach()
        self.head = nn.Linear(sizes.hidden, 2 * sizes.latent, bias=False)
        initialise(self)
        if self.config.decoder == "gyroplane":
            self.planes = Gyroplanes(self.ball, sizes.latent, self.config.width or sizes.latent)

    @property
    def furthest(self) -> float:
        """How far from 0 a centre may lie, given the longest draws and the edge."""
        return WITHIN * self.ball.reach - self.longest

    @property
    def longest(self) -> float:
        """How far from its centre a draw of the widest posterior lies, all but one in 1000."""
        return longest(self.sizes.latent, WIDEST * self.config.prior_std)

    def _check_reach(self) -> None:
        """Draws held back at the edge are priced there, so a KL may read too low."""
        c, room = self.config, ROOM * self.config.prior_std
        if self.furthest < room:
            largest = (WITHIN * self.ball.reach / (self.longest + room)) ** 2 * c.curvature
            raise ConfigError(
                f"the posteriors of poincare do not fit into the ball: draws of a wide one lie "
                f"{self.longest:.1f} from its centre, and float32 ends {self.ball.reach:.1f} from "
                f"that of the ball",
                f"curvature {c.curvature:g}, prior_std {c.prior_std:g}, {self.sizes.latent} "
                f"dimensions",
                "what is held back at that edge makes the KL read too low",
                f"due: curvature at most {largest:.2g}, or a smaller prior_std or model.latent",
            )

    @hookimpl
    def posterior_sample(self, features: Tensor, n_samples: int) -> PosteriorSample:
        """z = exp_mu(PT_{0 -> mu}(sigma eps / lambda_0)); the code is mu."""
        centre, spread = self.head(features).chunk(2, -1)
        mean = self.ball.exp(torch.zeros_like(centre), shortened(centre, self.furthest) / 2)
        ratio = WIDEST * torch.sigmoid(spread - math.log(WIDEST - 1))  # 1 where the encoder says 0
        q = WrappedNormal(self.ball, mean, self.config.prior_std * ratio + LEAST)
        z, log_prob, held = q.rsample((n_samples,))
        self.log(clipped=held.float().mean())
        return PosteriorSample(z.transpose(0, 1), q, log_prob.transpose(0, 1))

    @hookimpl
    def prior_logprob(self, z: Tensor) -> Tensor:
        """The wrapped normal's density at z, (...), by the logarithm at 0 in float64."""
        return self._prior(z).log_prob(z.unsqueeze(-2)).squeeze(-1)

    @hookimpl
    def prior_sample(self, n: int) -> Tensor:
        """(n, D)."""
        return self._prior(self.model.beta).rsample((n,))[0].squeeze(-2)

    def _prior(self, like: Tensor) -> WrappedNormal:
        zero = like.new_zeros(1, self.sizes.latent)
        return WrappedNormal(self.ball, zero, zero + self.config.prior_std)

    @hookimpl
    def decoder_condition(self, z: Tensor) -> Tensor:
        """Signed distances from gyroplanes, (..., width), or log_0(z), (..., D)."""
        return self.planes(z) if self.config.decoder == "gyroplane" else self.ball.coordinates(z)
