"""Integrating over a latent space: cells for D = 2, and proposals for importance sampling at any D.

What the densities of a space refer to is its volume; `aecore.testing.curved` has those of the
sphere and the ball.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

#: Even cells along an axis, how far they reach on either side of the mean in standard deviations,
#: and cells between quantiles.
CELLS, REACH, QUANTILES = 150, 10.0, 90
#: Local components of a proposal, and the share of the draws that shapes each of them.
LOCAL, SHARE = 16, 0.05


class Measure(Protocol):
    """What the kit needs of a latent space; ``draws`` (n, B, D) are of B densities."""

    def cells(self, draws: Tensor, least: float) -> tuple[Tensor, Tensor]:
        """Midpoints (N, B, D) that cover the draws, in two dimensions; log volumes (N, B)."""
        ...

    def around(self, draws: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Points (n, B, D) from a proposal wider than the draws, and its log density (n, B)."""
        ...

    def within(self, draws: Tensor) -> Callable[[Tensor], Tensor]:
        """The log density, (n, B, D) -> (n, B), of something that lies well inside the draws."""
        ...


class Flat:
    """R^D with Lebesgue measure."""

    def cells(self, draws: Tensor, least: float) -> tuple[Tensor, Tensor]:
        """A grid along the axes, finer where the draws are, for the sake of narrow components."""
        mean, reach = draws.mean(0), REACH * draws.std(0)  # (B, 2)
        low, high = mean - reach, mean + reach
        if least:
            low, high = low.clamp(max=-least), high.clamp(min=least)
        # (CELLS+1, B, 2)
        even = low + (high - low) * torch.linspace(0, 1, CELLS + 1)[:, None, None]
        edges = torch.cat([even, draws.quantile(torch.linspace(0, 1, QUANTILES), 0)]).sort(0).values
        middles, widths = (edges[1:] + edges[:-1]) / 2, edges.diff(dim=0)  # (M, B, 2)
        return _product(middles), _product(widths).log().sum(-1)

    def around(self, draws: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """A mixture of widened normals and of normals fitted to neighbours of some draws."""
        few = draws[:4000]
        parts = [
            _fitted(draws, 1.2),
            _fitted(draws, 2.0),
            *(_fitted(near, 1.5) for near in _neighbourhoods(few)),
        ]
        each = n // len(parts)
        points = torch.cat([part.sample((each,)) for part in parts])
        return points, torch.stack([_log_prob(part, points) for part in parts]).logsumexp(
            0
        ) - math.log(len(parts))

    def within(self, draws: Tensor) -> Callable[[Tensor], Tensor]:
        """The fitted normal, 0.75 times as wide."""
        narrow = _fitted(draws, 0.75)
        return lambda z: _log_prob(narrow, z)


def _product(axis: Tensor) -> Tensor:
    """(M^2, B, 2): all pairs of M values along two axes, from (M, B, 2)."""
    one, two = axis.unbind(-1)  # (M, B) each
    size = (len(one), len(one), -1)
    return torch.stack([one[:, None].expand(size), two[None, :].expand(size)], -1).flatten(0, 1)


def _neighbourhoods(draws: Tensor) -> list[Tensor]:
    """For some of the draws (n, B, D), the nearest share of all of them, (m, B, D)."""
    n, _, dimensions = draws.shape
    by_density = draws.transpose(0, 1)  # (B, n, D)
    apart = torch.cdist(by_density[:, :LOCAL], by_density)  # (B, LOCAL, n)
    nearest = apart.topk(int(SHARE * n), largest=False).indices.transpose(0, 1)  # (LOCAL, B, m)
    chosen = [
        by_density.gather(1, rows.unsqueeze(-1).expand(-1, -1, dimensions)) for rows in nearest
    ]
    return [near.transpose(0, 1) for near in chosen]


def _fitted(draws: Tensor, scale: float) -> MultivariateNormal:
    """The normal with the draws' means (B, D) and ``scale`` times their deviations."""
    centred = draws - draws.mean(0)
    covariance = torch.einsum("nbi,nbj->bij", centred, centred) / (len(draws) - 1)  # (B, D, D)
    smallest = 1e-6 * covariance.diagonal(dim1=-2, dim2=-1).mean(-1) + 1e-12
    jitter = torch.eye(draws.shape[-1]) * smallest[:, None, None]
    return MultivariateNormal(draws.mean(0), scale**2 * (covariance + jitter), validate_args=False)


def _log_prob(normal: MultivariateNormal, z: Tensor) -> Tensor:
    found: Tensor = normal.log_prob(z)  # type: ignore[no-untyped-call]
    return found
