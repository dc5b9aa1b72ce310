"""Normal coordinates: a latent space told as R^D, so that a Gaussian can be fitted in it.

The density of v in these coordinates is that of z times the volume element, sqrt(det g), of which
log q(z) with respect to the volume of the space is the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from aecore.geometry import Ball, WrappedNormal, longest, shortened
from aecore.geometry.space import Space

#: Deviations on R^D lie between exp(-7) and exp(7) of the prior's.
LARGEST = 7.0
#: On the ball a deviation is between `LEAST` and `WIDEST` times the prior's, and centres are within
#: what draws of the widest, but for one in a thousand, leave of the distance to the edge.
LEAST, WIDEST, WITHIN = 1e-3, 1.25, 0.98
ODDS = math.log((WIDEST - 1) / (1 - LEAST))
#: The share of that distance that is left to the centres in any case.
ROOM = 0.1


@dataclass(frozen=True)
class Scale:
    """Mean and deviation of each column, (1, D) or (1, H)."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Scale:
        """Of rows (N, D); a constant column counts as one of deviation 1."""
        deviation = rows.std(0, keepdim=True) if len(rows) > 1 else torch.ones_like(rows)
        return cls(rows.mean(0, keepdim=True), torch.where(deviation > 1e-6, deviation, 1.0))


class Around(Protocol):
    """A unimodal density on the space, for each of B rows."""

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """z (B, K, D) of standard normal noise (B, K, D), and log q(z), (B, K), nats.

        log q is inf where the draw does not lie where q says, so that it weighs nothing.
        """
        ...

    def log_prob(self, z: Tensor) -> Tensor:
        """(B, K), for z (B, K, D)."""
        ...


class Chart(Protocol):
    """Normal coordinates at the origin of a space."""

    def coordinates(self, z: Tensor) -> Tensor:
        """(..., D): the point z in R^D."""
        ...

    def point(self, v: Tensor) -> Tensor:
        """(..., D): the point whose coordinates are v."""
        ...

    def log_volume(self, v: Tensor) -> Tensor:
        """(...): the log of the volume element at v."""
        ...

    def around(self, mean: Tensor, log_scale: Tensor, prior: Scale) -> Around:
        """The density at standardised mean and log deviation (B, 1, D); 0 and 0 are the prior's."""
        ...


def chart_of(space: Space) -> Chart | None:
    """The chart of R^D or of the ball; None for another space."""
    if isinstance(space, Ball):
        return Curved(space)
    return Flat() if space.name == "euclidean" else None


class Flat:
    """R^D is its own chart."""

    def coordinates(self, z: Tensor) -> Tensor:
        """The same."""
        return z

    def point(self, v: Tensor) -> Tensor:
        """The same."""
        return v

    def log_volume(self, v: Tensor) -> Tensor:
        """Zero."""
        return v.new_zeros(v.shape[:-1])

    def around(self, mean: Tensor, log_scale: Tensor, prior: Scale) -> Around:
        """N(m + s mu, diag (s sigma)^2), log sigma bounded smoothly by `LARGEST`."""
        scale = (LARGEST * (log_scale / LARGEST).tanh()).exp()
        return Gaussian(prior.mean + prior.deviation * mean, prior.deviation * scale)


@dataclass(frozen=True)
class Gaussian:
    """N(mean, diag scale^2), (B, 1, D) each."""

    mean: Tensor
    scale: Tensor

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """See `Around`."""
        z = self.mean + self.scale * noise
        return z, self.log_prob(z)

    def log_prob(self, z: Tensor) -> Tensor:
        """See `Around`."""
        squares = 0.5 * ((z - self.mean) / self.scale).square()
        return -(squares + self.scale.log() + 0.5 * math.log(2 * math.pi)).sum(-1)


@dataclass(frozen=True)
class Curved:
    """Normal coordinates at 0 of the ball: v = lambda_0 log_0(z), whose length is d(0, z)."""

    ball: Ball

    def coordinates(self, z: Tensor) -> Tensor:
        """2 log_0(z), in float64: near the edge the last digits tell the distance."""
        return 2 * self.ball.coordinates(z.double())

    def point(self, v: Tensor) -> Tensor:
        """exp_0(v / 2)."""
        return self.ball.exp(torch.zeros_like(v), v / 2)

    def log_volume(self, v: Tensor) -> Tensor:
        """(D - 1) log(sinh(sqrt(c) r) / (sqrt(c) r)), r = |v|."""
        return self.ball.log_volume(v)

    def around(self, mean: Tensor, log_scale: Tensor, prior: Scale) -> Around:
        """WrappedNormal(exp_0(m / 2), diag sigma^2), both bounded so that draws stay inside."""
        width = LEAST + (WIDEST - LEAST) * torch.sigmoid(log_scale - ODDS)  # 1 at 0
        widest = WIDEST * float(prior.deviation.square().mean().sqrt())
        reach = self.ball.reach
        room = max(WITHIN * reach - longest(mean.shape[-1], widest), ROOM * reach)
        centre = self.point(shortened(prior.mean + prior.deviation * mean, room))
        return Wrapped(WrappedNormal(self.ball, centre, prior.deviation * width))


@dataclass(frozen=True)
class Wrapped:
    """A wrapped normal; what the edge of the ball holds back weighs nothing."""

    normal: WrappedNormal

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """See `Around`; the density is that of the noise."""
        z, log_q, held = self.normal.of_noise(noise)
        return z, torch.where(held, torch.inf, log_q)

    def log_prob(self, z: Tensor) -> Tensor:
        """See `Around`."""
        return self.normal.log_prob(z)
