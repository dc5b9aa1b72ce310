"""Mutual information and active units: what the latents of a split say.

Source: the estimators of He et al. (ICLR 2019) and Li et al. (EMNLP 2019), and Burda et al. (ICLR
    2016) for active units.
Deviations: -log q(z | x) of the drawn z stands for the closed-form entropy, so that any density
    will do, no estimate exceeds its ceiling and equal posteriors give 0; the sampling variance of
    means that are themselves estimated is subtracted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from aecore.evaluation.moments import Moments
from aecore.model import Model
from aecore.posterior import Distribution, PosteriorSample
from aecore.step import Step
from aecore.streams import Streams

#: Sentences that share an aggregate posterior in ``mi_batch``, as in He et al.
MI_BATCH = 32
#: Sentences up to which ``mi`` is computed: its cost is quadratic.
MI_SENTENCES = 100_000
#: Variance of the posterior means from which a unit is active.
ACTIVE = 0.01
#: Draws per sentence where the posterior mean itself has to be estimated.
MEAN_DRAWS = 64
#: Latents whose density is computed at a time.
ROWS = 65_536


class Drawn(NamedTuple):
    """One sentence's latent: z (1, D), log density (1,), the posterior that it came from."""

    z: Tensor
    log_prob: Tensor
    distribution: Distribution


class Latents:
    """Gathers the posteriors of a split in the order of evaluation, whatever the batch size.

    Args:
        densities: whether mutual information is wanted; without it, nothing is kept of a sentence.
        sentences: N, how many there will be.
    """

    def __init__(
        self, model: Model, streams: Streams, split: str, sentences: int, densities: bool
    ) -> None:
        self.model, self.streams, self.split = model, streams, split
        self.whole = densities and sentences <= MI_SENTENCES
        self.densities = densities
        self.means, self.noise = Moments(), Moments()
        self.drawn: list[Drawn] = []
        self.recent: list[Drawn] = []
        self.batches = 0.0

    def add(self, one: Step) -> None:
        """The step of a single sentence."""
        if self.model.level["posterior"] == "none":
            return
        mean, variance = self._mean(one)
        self.means.add(mean)
        self.noise.add(variance)
        self._keep(one.sample)

    def add_gaussians(self, step: Step) -> None:
        """The step of some sentences whose posteriors are Gaussians: as each of them alone."""
        normal, coordinates = (
            step.sample.distribution,
            self.model.space.coordinates(step.sample.mean),
        )
        assert normal is not None
        self.means.add(coordinates)
        self.noise.add(torch.zeros_like(coordinates))
        for drawn in gaussian_draws(step.sample) if self.densities else ():
            self._remember(drawn)

    def _mean(self, one: Step) -> tuple[Tensor, Tensor]:
        """The posterior mean in the space's coordinates, (1, D), and its sampling variance."""
        sample = one.sample
        point = self.model.level["posterior"] == "point"
        if sample.distribution is not None or sample.centre is not None or point:
            return self.model.space.coordinates(sample.mean), torch.zeros_like(sample.mean)
        with self.streams("evaluate", self.split, int(one.batch.index[0]), "mean"):
            z = self.model.posterior_sample(one.features, MEAN_DRAWS, one.batch).z
        draws = self.model.space.coordinates(z.double())  # (1, S, D)
        return draws.mean(1), draws.var(1) / MEAN_DRAWS

    def _keep(self, sample: PosteriorSample) -> None:
        """Remember z and its posterior, whose density can be asked anywhere, for the mixtures."""
        if not self.densities or sample.distribution is None or sample.log_prob is None:
            return
        self._remember(Drawn(sample.z[:, 0], sample.log_prob[:, 0], sample.distribution))

    def _remember(self, drawn: Drawn) -> None:
        if self.whole:
            self.drawn.append(drawn)
        self.recent.append(drawn)
        if len(self.recent) == MI_BATCH:
            self._end_batch()

    def _end_batch(self) -> None:
        self.batches += len(self.recent) * mutual_information(self.recent)
        self.recent = []

    @property
    def noisy(self) -> bool:
        """Whether posterior means had to be estimated."""
        return bool((self.noise.mean > 0).any())

    @property
    def au(self) -> int | None:
        """Active units: posterior means vary by `ACTIVE` or more; None below two sentences."""
        if self.means.count < 2:
            return None
        return int((self.means.variance - self.noise.mean >= ACTIVE).sum())

    def information(self) -> tuple[float | None, float | None]:
        """``mi`` over the whole split and ``mi_batch``, once all sentences have been added."""
        if not (self.drawn or self.recent or self.batches):
            return None, None
        if self.recent:
            self._end_batch()
        whole = mutual_information(self.drawn) if self.drawn else None
        return whole, self.batches / self.means.count


def gaussian_draws(sample: PosteriorSample, rows: slice = slice(None)) -> Iterator[Drawn]:
    """The first draw of some sentences, all by default, each with its own Gaussian."""
    normal = sample.distribution
    assert normal is not None
    for row in range(len(sample.z))[rows]:
        here = slice(row, row + 1)
        one = Normal(normal.mean[here], normal.stddev[here], validate_args=False)  # type: ignore[attr-defined]
        alone = PosteriorSample(sample.z[here, :1], Independent(one, 1, validate_args=False))
        assert alone.log_prob is not None
        assert alone.distribution is not None
        yield Drawn(alone.z[:, 0], alone.log_prob[:, 0], alone.distribution)


def mutual_information(drawn: list[Drawn]) -> float:
    """Mean over i of log q(z_i given x_i) - log (1/N sum_j q(z_i given x_j)), nats.

    At most log N, which is reached where no two posteriors overlap.
    """
    z = torch.cat([one.z for one in drawn])  # (N, D)
    own = torch.cat([one.log_prob for one in drawn]).double()  # (N,)
    total = torch.full_like(own, -math.inf)
    for number, one in enumerate(drawn):
        column = _log_prob(one.distribution, z).double()
        # the very same number, else rounding could lift the estimate above its ceiling
        column[number] = own[number]
        total = torch.logaddexp(total, column)
    return float((own - total).mean()) + math.log(len(drawn))


def _log_prob(distribution: Distribution, z: Tensor) -> Tensor:
    """(N,): the density of one sentence's posterior, batch shape (1,), at z (N, D)."""
    return torch.cat(
        [distribution.log_prob(some.unsqueeze(1)).squeeze(1) for some in torch.split(z, ROWS)]
    )
