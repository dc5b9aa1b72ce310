"""The encoder's two networks: where a posterior stands, and how its draws lie round it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aecore import ConfigError, PosteriorSample, Sizes
from aecore.geometry import Ball, longest, shortened
from aecore.matching import mlp

#: How far a draw may lie from its centre, in the longest draws of the prior; what that leaves of a
#: share of the distance to the edge is the centres'.
WIDEST, WITHIN = 1.25, 0.98
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
        self.longest = longest(sizes.latent, WIDEST)
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
