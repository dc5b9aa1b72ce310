"""Gyroplanes against geoopt, the nearest point found by search, and the flat limit."""

import warnings

import pytest
import torch

from aecore.geometry import Ball, Gyroplanes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # geoopt scripts its functions, which torch has deprecated
    from geoopt import PoincareBall


def layer(c, dimensions=4, width=3, scale=0.4):
    torch.manual_seed(0)
    planes = Gyroplanes(Ball(c), dimensions, width).double()
    torch.nn.init.normal_(planes.point, 0, scale)
    torch.nn.init.normal_(planes.normal, 0, 1)
    return planes


def points(ball, n=20, dimensions=4):
    return ball.exp(
        torch.zeros(dimensions).double(), 0.6 * ball.radius * torch.randn(n, dimensions).double()
    )


def placed(planes):
    """p and a, the latter in the tangent space at p."""
    p = planes.ball.exp(torch.zeros_like(planes.point), planes.point)
    return p.detach(), planes.ball.transport(p, planes.normal).detach()


@pytest.mark.parametrize("c", [0.1, 0.7, 2.0])
def test_it_is_geoopts_distance_times_the_length_of_the_normal(c):
    planes = layer(c)
    z, (p, a) = points(planes.ball), placed(planes)
    oracle = PoincareBall(torch.tensor(c, dtype=torch.float64))
    due = (
        oracle.dist2plane(z.unsqueeze(1), p, a, signed=True)
        * planes.ball.conformal(p).squeeze(-1)
        * a.norm(dim=-1)
    )
    assert torch.allclose(planes(z), due, rtol=1e-8)
    assert torch.allclose(
        planes.ball.conformal(p).squeeze(-1) * a.norm(dim=-1), 2 * planes.normal.norm(dim=-1)
    )


@pytest.mark.parametrize("c", [0.5, 1.5])
def test_it_is_the_distance_from_the_nearest_point_of_the_plane(c):
    """In two dimensions the gyroplane is the geodesic exp_p(t u), u at right angles to a."""
    planes = layer(c, dimensions=2, width=1)
    z, (p, a) = points(planes.ball, 6, 2), placed(planes)
    across = torch.stack([-a[0, 1], a[0, 0]])
    reach = torch.linspace(-6, 6, 200_001).double().unsqueeze(1)
    line = planes.ball.exp(p[0], reach * across / across.norm() / planes.ball.conformal(p[0]))
    nearest = torch.stack([planes.ball.distance(line, one).min() for one in z])
    assert torch.allclose(
        planes(z).squeeze(-1).abs(), nearest * 2 * planes.normal.norm(), rtol=1e-6, atol=1e-4
    )
    side = (planes.ball.log(p[0], z) * a[0]).sum(-1)
    assert torch.equal(planes(z).squeeze(-1).sign(), side.sign())


def test_a_point_of_the_plane_is_at_0_and_its_normal_points_up():
    planes = layer(1.0)
    p, a = placed(planes)
    assert torch.allclose(planes(p).diagonal(), torch.zeros(3).double(), atol=1e-12)
    step = 0.3 / planes.ball.conformal(p) / a.norm(dim=-1, keepdim=True)
    assert torch.allclose(
        planes(planes.ball.exp(p, step * a)).diagonal(), 0.3 * 2 * planes.normal.norm(dim=-1)
    )


def test_without_curvature_it_is_affine():
    """4 <z - p, a>: metric 4 I, so that lengths are doubled twice."""
    planes = layer(1e-10)
    z, (p, a) = points(planes.ball, dimensions=4) * 1e-5, placed(planes)
    assert torch.allclose(planes(z), 4 * ((z.unsqueeze(1) - p) * a).sum(-1), atol=1e-6)


def test_gradients():
    planes = layer(0.8)
    z = points(planes.ball, 5).requires_grad_()

    def value(z, point, normal):
        return torch.func.functional_call(planes, {"point": point, "normal": normal}, z)

    assert torch.autograd.gradcheck(value, (z, planes.point, planes.normal))


def test_near_the_boundary_in_float32():
    planes = layer(1.0, dimensions=32, width=8)
    z = torch.nn.functional.normalize(torch.randn(50, 32), dim=-1) * planes.ball.limit
    found = planes.float()(z)
    assert torch.isfinite(found).all()
    assert torch.allclose(found, planes.double()(z.double()).float(), rtol=1e-5)
