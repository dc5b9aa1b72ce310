"""The wrapped normal: integrals over the ball, limits, and the density of draws against the density
at points.
"""

import math

import pytest
import torch
from torch.distributions import Normal

from aecore.geometry import Ball, WrappedNormal


def some(c, dimensions=3, seed=0, reach=0.6):
    """Two wrapped normals with different centres and scales."""
    made = torch.Generator().manual_seed(seed)
    ball = Ball(c)
    mean = ball.exp(
        torch.zeros(dimensions).double(),
        reach * torch.randn(2, dimensions, generator=made).double(),
    )
    return WrappedNormal(ball, mean, 0.3 + torch.rand(2, dimensions, generator=made).double())


@pytest.mark.parametrize("c", [0.3, 1.0, 2.0])
def test_the_density_of_the_noise_is_that_of_the_point(c):
    torch.manual_seed(0)
    normal = some(c)
    z, log_prob, held = normal.rsample((500,))
    assert torch.allclose(normal.log_prob(z), log_prob, rtol=1e-6)
    assert not held.any()


@pytest.mark.parametrize("c", [0.3, 1.0, 2.0])
def test_it_integrates_to_one_over_the_ball(c):
    """sum of exp(log q) lambda^2 over polar cells of the disc, finer towards the edge: the
    Riemannian volume.
    """
    normal = some(c, dimensions=2)
    far = 1 - torch.logspace(0, -4.9, 1501).double()
    middles, widths = (far[1:] + far[:-1]) / 2, far.diff()
    angles = torch.linspace(0, 2 * math.pi, 361).double()[:-1]
    circle = torch.stack([angles.cos(), angles.sin()], -1)
    z = normal.ball.radius * middles[:, None, None] * circle  # (R, A, 2)
    area = normal.ball.radius**2 * middles * widths * (2 * math.pi / 360)
    mass = (
        normal.log_prob(z.unsqueeze(-2)).exp()
        * normal.ball.conformal(z).square()
        * area[:, None, None]
    )
    assert mass.sum((0, 1)).tolist() == pytest.approx([1.0, 1.0], abs=2e-3)


def test_without_curvature_it_is_a_normal_of_doubled_coordinates():
    """log N(2 z; 2 mu, sigma^2), with respect to 2^D dz."""
    normal = some(1e-10)
    z, log_prob, _ = normal.rsample((50,))
    due = Normal(2 * normal.mean, normal.scale).log_prob(2 * z).sum(-1)
    assert torch.allclose(log_prob, due, atol=1e-6)
    assert torch.allclose(normal.log_prob(z), due, atol=1e-6)


def test_gradients_reach_centre_and_scale_and_are_right():
    ball = Ball(0.9)
    mean, scale = (
        (0.3 * torch.ones(1, 3)).double().requires_grad_(),
        torch.full((1, 3), 0.7).double().requires_grad_(),
    )

    def draw(mean, scale):
        torch.manual_seed(0)
        return WrappedNormal(ball, mean, scale).rsample((4,))[:2]

    assert torch.autograd.gradcheck(draw, (mean, scale))
    z = (0.2 * torch.ones(5, 1, 3)).double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda m, s, z: WrappedNormal(ball, m, s).log_prob(z), (mean, scale, z)
    )
    at_centre = WrappedNormal(ball, mean, scale).log_prob(mean.unsqueeze(0)).sum()
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(at_centre, (mean, scale)))


def test_draws_at_the_edge_are_held_and_said_to_be():
    torch.manual_seed(0)
    normal = WrappedNormal(Ball(1.0), torch.zeros(1, 32), torch.full((1, 32), 3.0))
    z, log_prob, held = normal.rsample((200,))
    assert 0.5 < held.float().mean() < 1  # 3 sqrt(32) is 17 on average, the edge at 12.2
    assert torch.isfinite(log_prob).all()
    assert torch.isfinite(normal.log_prob(z)).all()
    assert (z.norm(dim=-1) < 1).all()
    assert torch.equal(held[:, 0], z.norm(dim=-1).squeeze(-1) > 1 - 1.1e-5)


def test_float32_loses_nothing_that_matters_in_32_dimensions():
    """Inverting the map in float32 gave a divergence of -1e12."""
    torch.manual_seed(0)
    wide = WrappedNormal(Ball(0.7), torch.zeros(4, 32), torch.ones(4, 32))
    z, log_prob, _ = wide.rsample((300,))
    assert z.dtype == log_prob.dtype == torch.float32
    assert (wide.log_prob(z) - log_prob).abs().max() < 1e-2
