"""A proposal fitted to one sentence: a Gaussian of full covariance, where the posterior won't do.

Of all Gaussians the one that maximises the bound E_q[log p(x | z) + log p(z) - log q(z)] has

    S^-1 = E_q[Hessian f],  E_q[gradient f] = 0,  f(z) = -log p(x | z) - log p(z)

(Opper and Archambeau, Neural Computation 2009). It is found in a few steps of the natural gradient
(Khan and Rue, JMLR 2023, section 1.3): S^-1 moves to the expected Hessian, m by a Newton step. Both
expectations are means over 2 D draws, in pairs m +- h along D directions that are orthogonal under
S (the stochastic cubature of Genz and Monahan, SIAM J. Sci. Comput. 1998): differences of their
gradients are the Hessian, so nothing is differentiated twice.

On the ball it is a Gaussian in normal coordinates at 0: see `charts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aecore.batch import Batch
from aecore.evaluation.charts import Chart, LogDensity, Scale
from aecore.model import Model

#: Steps at most, and how far each goes: the first all the way, from an arbitrary covariance.
STEPS, SHARE = 12, 0.5
#: A step that gains less, nats, is the last one.
GAIN = 0.1
#: It starts round the sentence's code, with this share of the prior's deviations.
START = 0.5
#: Pairs of draws at a step, where the dimensions are fewer: several sets of directions.
PAIRS = 32
#: Tokens that are decoded at a time, with their gradients.
TOKENS = 2_048


@dataclass(frozen=True)
class Normal:
    """z = point(v), v ~ N(mean, L L^T), in normal coordinates; float64.

    Attributes:
        mean (D,), factor (D, D): m and the lower triangular L.
    """

    chart: Chart
    mean: Tensor
    factor: Tensor

    def draw(self, samples: int) -> tuple[Tensor, Tensor]:
        """z (K, D), and log q(z), (K,); inf where the edge of the ball holds the draw back."""
        noise = torch.randn(samples, len(self.mean), dtype=torch.float64)
        v = self.mean + noise @ self.factor.t()
        log_q = self._density(noise) - self.chart.log_volume(v)
        return self.chart.point(v), torch.where(self.chart.held(v), torch.inf, log_q)

    def log_prob(self, z: Tensor) -> Tensor:
        """(K,): log q(z), for z (K, D)."""
        v = self.chart.coordinates(z.double())
        noise = torch.linalg.solve_triangular(self.factor, (v - self.mean).t(), upper=False).t()
        return self._density(noise) - self.chart.log_volume(v)

    def _density(self, noise: Tensor) -> Tensor:
        volume = self.factor.diagonal().log().sum() + 0.5 * len(self.mean) * math.log(2 * math.pi)
        return -0.5 * noise.square().sum(-1) - volume


@dataclass(frozen=True)
class Proposals:
    """Fits a `Normal` to any sentence, for a frozen model.

    Attributes:
        prior: log p(z), (K, D) -> (K,), differentiable.
        moments: of the prior's coordinates, (1, D) each.
    """

    model: Model
    prior: LogDensity
    chart: Chart
    moments: Scale

    def fit(self, sentence: Batch, features: Tensor) -> Normal:
        """The best Gaussian that the steps come by; draws from torch's generator.

        A step is never taken in the dark: what is kept is the one of the lowest bound, the start
        among them, and a bound or gradient that is no number ends it.
        """
        code = self.model.posterior_sample(features, 1, sentence).mean.cpu().double()
        start = (self.chart.coordinates(code) - self.moments.mean) / self.moments.deviation
        eye = torch.eye(start.shape[1], dtype=torch.float64)
        now = best = _Iterate(start[0].nan_to_num(0.0, 0.0, 0.0), eye / START**2)
        lowest = reached = math.inf
        for step in range(STEPS):
            bound, moved = self._step(sentence, now, features.dtype, SHARE if step else 1.0)
            if bound < lowest:
                best, lowest = now, bound
            if moved is None or bound > reached - GAIN:
                break
            # the start does not count: its width is arbitrary, and a first step may well lose
            reached, now = bound if step else math.inf, moved
        return self._told(best)

    def _step(
        self, sentence: Batch, now: _Iterate, dtype: torch.dtype, share: float
    ) -> tuple[float, _Iterate | None]:
        """The bound at an iterate, nats, and where a step from it leads, if anywhere."""
        factor = now.factor
        bases = max(1, PAIRS // len(factor))
        pairs, _ = torch.linalg.qr(torch.randn(bases, *factor.shape, dtype=factor.dtype))
        away = math.sqrt(len(factor)) * (pairs @ factor.t())  # (bases, D, D), a direction a row
        points = torch.cat([now.mean + away, now.mean - away]).flatten(0, 1)
        energies, gradients = self._energies(sentence, points, dtype)
        if not bool(torch.isfinite(energies).all() & torch.isfinite(gradients).all()):
            return math.inf, None
        plus, minus = gradients.view(2, *away.shape)
        curvature = torch.linalg.solve(away, (plus - minus) / 2).mean(0)
        curvature = _no_flatter_than_the_prior(curvature)
        precision = (1 - share) * now.precision + share * curvature
        mean = now.mean - share * torch.linalg.solve(precision, gradients.mean(0))
        bound = float(energies.mean() - factor.diagonal().log().sum())  # but for a constant
        moved = _Iterate(mean, precision)
        return bound, moved if moved.sound else None

    def _energies(
        self, sentence: Batch, points: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """f (N,) and its gradients (N, D), at standardised coordinates (N, D)."""
        found = []
        rows = max(1, TOKENS // int(sentence.lengths[0]))
        with _frozen(self.model), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            for some in torch.split(points, rows):
                at = some.detach().requires_grad_()
                v = self.moments.mean + self.moments.deviation * at
                z = self.chart.point(v).to(self.model.device, dtype)
                nll = self.model.nll(sentence, z.unsqueeze(0))[0] - self.prior(z)
                energy = nll.cpu().double() - self.chart.log_volume(v)
                found.append((energy.detach(), *torch.autograd.grad(energy.sum(), at)))
        energies, gradients = zip(*found, strict=True)
        return torch.cat(energies), torch.cat(gradients)

    def _told(self, standard: _Iterate) -> Normal:
        """In the chart's coordinates."""
        mean, deviation = self.moments.mean[0], self.moments.deviation[0]
        factor = deviation.unsqueeze(1) * standard.factor
        return Normal(self.chart, mean + deviation * standard.mean, factor)


@dataclass(frozen=True)
class _Iterate:
    """N(mean, precision^-1) in coordinates that the prior's moments standardise."""

    mean: Tensor
    precision: Tensor

    @property
    def factor(self) -> Tensor:
        """(D, D): the lower triangular L, L L^T the covariance, from the precision's own."""
        root, _ = torch.linalg.cholesky_ex(self.precision.flip(0, 1))
        eye = torch.eye(len(root), dtype=root.dtype)
        found: Tensor = torch.linalg.solve_triangular(root.flip(0, 1).t(), eye, upper=False)
        return found

    @property
    def sound(self) -> bool:
        """Whether it is a Gaussian: a curvature of too many magnitudes has no factor."""
        _, failed = torch.linalg.cholesky_ex(self.precision.flip(0, 1))
        return not bool(failed) and bool(torch.isfinite(self.mean).all())


def _no_flatter_than_the_prior(curvature: Tensor) -> Tensor:
    """The nearest symmetric matrix whose eigenvalues are 1 or more: no direction is wider."""
    values, vectors = torch.linalg.eigh((curvature + curvature.t()) / 2)
    found: Tensor = (vectors * values.clamp(min=1.0)) @ vectors.t()
    return found


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No parameter asks for a gradient, which saves a third of the backward pass."""
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in asking:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)
