"""Densities on the ball and the sphere: the right ones pass, and those in another measure are found
out.
"""

import math

import pytest
import torch
from torch.nn import functional as F

import aecore.testing as kit
from aecore import Plugin, PosteriorSample, hookimpl
from aecore.geometry import Ball, Sphere, WrappedNormal
from aecore.testing.curved import SphereArea, log_area

PRIOR = {
    "prior": "density",
    "posterior": "point",
    "kl": "penalty",
    "kl_estimator": "penalty",
    "kl_gradient": [],
}


class Round(Plugin):
    """The uniform prior on the sphere."""

    space = Sphere()

    @hookimpl
    def prior_logprob(self, z):
        return torch.full_like(z[..., 0], -log_area(z.shape[-1]))

    @hookimpl
    def prior_sample(self, n):
        return F.normalize(torch.randn(n, self.sizes.latent), dim=-1)


class Flattened(Round):
    """The density with respect to something that is not the area."""

    @hookimpl
    def prior_logprob(self, z):
        return z.new_full(z.shape[:-1], -math.log(2 * math.pi))


class Leaning(Round):
    """Draws that lean to one side of a uniform density."""

    @hookimpl
    def prior_sample(self, n):
        return F.normalize(torch.randn(n, self.sizes.latent) + 0.3, dim=-1)


class Wrapped(Plugin):
    """The wrapped normal round 0."""

    space = Ball(0.7)

    def normal(self):
        return WrappedNormal(
            self.space, torch.zeros(1, self.sizes.latent), torch.full((1, self.sizes.latent), 0.8)
        )

    @hookimpl
    def prior_logprob(self, z):
        return self.normal().log_prob(z.unsqueeze(-2)).squeeze(-1)

    @hookimpl
    def prior_sample(self, n):
        return self.normal().rsample((n,))[0].squeeze(1)


class Lebesgue(Wrapped):
    """Its density with respect to dz, which differs by lambda^D."""

    @hookimpl
    def prior_logprob(self, z):
        volume = z.shape[-1] * self.space.conformal(z).log().squeeze(-1)
        return self.normal().log_prob(z.unsqueeze(-2)).squeeze(-1) + volume


CHECKS = (
    kit.check_prior_density_integrates,
    kit.check_prior_mass,
    kit.check_prior_sample_agrees_with_logprob,
)


def whole(cls):
    """The prior with a point posterior on the same space and no price."""

    class Whole(cls):
        @hookimpl
        def posterior_sample(self, features):
            z = self.space.project(0.1 * features[:, : self.sizes.latent])
            return PosteriorSample(z.unsqueeze(1))

        @hookimpl
        def kl_term(self, step):
            return step.rec.new_zeros(len(step.batch), 1)

    return Whole


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("cls", [Round, Wrapped])
def test_the_right_density_passes(subject_of, cls, check):
    check(subject_of(whole(cls), provides={**PRIOR, "geometry": cls.space.name}))


@pytest.mark.parametrize(
    ("cls", "check"),
    [
        (Flattened, kit.check_prior_mass),
        (Leaning, kit.check_prior_sample_agrees_with_logprob),
        (Lebesgue, kit.check_prior_density_integrates),
        (Lebesgue, kit.check_prior_mass),
        (Lebesgue, kit.check_prior_sample_agrees_with_logprob),
    ],
)
def test_another_measure_is_found_out(subject_of, cls, check):
    with pytest.raises(
        kit.CheckFailure, match=r"the density of prior_logprob|the draws of prior_sample"
    ):
        check(subject_of(whole(cls), provides={**PRIOR, "geometry": cls.space.name}))


@pytest.mark.parametrize("dimensions", [2, 3, 8])
def test_the_proposal_and_the_cap_are_normalised(dimensions):
    """E_uniform[p / uniform] = 1 for the proposal's density p, and for the cap's."""
    torch.manual_seed(0)
    draws = F.normalize(torch.randn(5000, 1, dimensions) + torch.eye(dimensions)[0], dim=-1)
    measure = SphereArea()
    points, log_p = measure.around(draws, 40_000)
    ratio = (-log_p.double() - log_area(dimensions)).exp()  # E_p[uniform / p]
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / 200
    uniform = F.normalize(torch.randn(40_000, 1, dimensions), dim=-1)
    ratio = (measure.within(draws)(uniform).double() + log_area(dimensions)).exp()
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / 200
    assert torch.isfinite(points).all()


def test_areas():
    assert [math.exp(log_area(d)) for d in (1, 2, 3, 4)] == pytest.approx(
        [2, 2 * math.pi, 4 * math.pi, 2 * math.pi**2]
    )
