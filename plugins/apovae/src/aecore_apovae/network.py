"""The encoder's two networks: where a posterior stands, and how its draws lie round it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aecore import ConfigError, PosteriorSample, Sizes
from aecore.geometry import Ball
from aecore.matching import mlp

#: Draws of the prior reach sqrt(D) and three deviations of their length, sqrt(1/2) each; so far may
#: a draw lie from its centre, and that over `WITHIN` of the distance to the edge is the centres'.
TAIL, WITHIN = 3.0, 0.98
#: How much has to be left to the centres, in deviations of the prior.
ROOM = 2.0


class Network(nn.Module):
    """z = exp_mu(PT_{0 -> mu}(v / lambda_0)), mu = exp_0(F(f) / 2), v = G(f, xi), xi ~ N(0, I).

    v is in normal coordinates round mu, of length d(mu, z). G starts near v = xi: a posterior as
    wide as the wrapped normal prior.

    Raises:
        ConfigError: where the ball has no room for such draws.
    """

    def __init__(self, ball: Ball, sizes: Sizes) -> None:
        super().__init__()
        self.ball, self.latent = ball, sizes.latent
        self.longest = 1.25 * (math.sqrt(sizes.latent) + TAIL * math.sqrt(0.5))
        self.furthest = WITHIN * ball.reach - self.longest
        if self.furthest < ROOM:
            largest = (WITHIN * ball.reach / (self.longest + ROOM)) ** 2 * ball.curvature
            raise ConfigError(
                f"the posteriors of apovae do not fit into the ball: their draws lie up to "
                f"{self.longest:.1f} from the centre, and float32 ends {ball.reach:.1f} from that "
                f"of the ball",
                f"due: curvature at most {largest:.2g}, or a smaller model.latent",
            )
        self.centre = nn.Linear(sizes.hidden, sizes.latent)
        self.straight = nn.Linear(sizes.hidden + sizes.latent, sizes.latent)
        self.bent = mlp(sizes.hidden + sizes.latent, 2 * sizes.latent, 1, sizes.latent)
        with torch.no_grad():
            self.straight.weight[:, sizes.hidden :].copy_(torch.eye(sizes.latent))
            self.straight.bias.zero_()

    def draw(self, features: Tensor, samples: int) -> PosteriorSample:
        """K draws for features (B, H), z (B, K, D); the code is mu."""
        noise = torch.randn(
            len(features), samples, self.latent, device=features.device, dtype=features.dtype
        )
        joined = torch.cat([features.unsqueeze(1).expand(-1, samples, -1), noise], -1)
        v = shortened(self.straight(joined) + self.bent(joined), self.longest).double()
        away = shortened(self.centre(features), self.furthest).double()
        mean = self.ball.exp(torch.zeros_like(away), away / 2)
        beside = mean.unsqueeze(1).expand_as(v)
        z = self.ball.exp(beside, self.ball.transport(beside, v / 2))
        return PosteriorSample(z.to(features.dtype), centre=mean.to(features.dtype))


def shortened(vectors: Tensor, largest: float) -> Tensor:
    """Vectors (..., D) with length r made largest tanh(r / largest): none becomes longer."""
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    share = length.clamp(min=1e-12) / largest
    return vectors * (torch.tanh(share) / share)
