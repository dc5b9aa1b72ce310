"""The sphere against geoopt, closed forms and autograd."""

import math
import warnings

import pytest
import torch

from aecore.geometry import Euclidean, Sphere

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # geoopt scripts its functions, which torch has deprecated
    from geoopt import Sphere as GeooptSphere

SPHERE = Sphere()


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).to(dtype)


def points(n=50, dimensions=5, seed=0):
    return torch.nn.functional.normalize(draw(n, dimensions, seed=seed), dim=-1)


def tangent(base, seed):
    vector = draw(*base.shape, seed=seed)
    return vector - (vector * base).sum(-1, keepdim=True) * base


def test_it_is_geoopts():
    oracle = GeooptSphere()
    x, y = points(), points(seed=1)
    v = tangent(x, 2)
    assert torch.allclose(SPHERE.exp(x, v), oracle.expmap(x, v))
    assert torch.allclose(SPHERE.log(x, y), oracle.logmap(x, y))
    assert torch.allclose(SPHERE.distance(x, y), oracle.dist(x, y))
    assert torch.allclose(SPHERE.project(3 * x), oracle.projx(3 * x))


def test_exp_and_log_undo_each_other():
    x, y = points(), points(seed=1)
    v = tangent(x, 2)
    v = 3 * v / (1 + v.norm(dim=-1, keepdim=True))  # shorter than pi
    assert torch.allclose(SPHERE.exp(x, SPHERE.log(x, y)), y, atol=1e-13)
    assert torch.allclose(SPHERE.log(x, SPHERE.exp(x, v)), v, atol=1e-11)
    assert torch.allclose(SPHERE.log(x, y).norm(dim=-1), SPHERE.distance(x, y))
    assert SPHERE.exp(x.float(), v.float()).dtype == torch.float32


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 0.5, math.pi / 2, math.pi - 1e-9, math.pi])
def test_angles_however_small_or_flat(angle):
    """arccos of the inner product would give 0 for 1e-9."""
    x, y = (
        torch.tensor([1.0, 0.0], dtype=torch.float64),
        torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64),
    )
    assert SPHERE.distance(x, y).item() == pytest.approx(angle, abs=1e-15)
    assert SPHERE.log(x, y).norm().item() == pytest.approx(angle, abs=1e-15)


def test_slerp_by_its_closed_form():
    x, y = points(2).unbind(0)
    shares = torch.linspace(0, 1, 7).double()
    angle = torch.acos(x @ y)
    closed = torch.sin((1 - shares) * angle)[:, None] * x + torch.sin(shares * angle)[:, None] * y
    way = SPHERE.geodesic(x, y, shares)
    assert torch.allclose(way, closed / angle.sin(), atol=1e-13)
    assert torch.equal(way[0], x)
    assert torch.equal(way[-1], y)


@pytest.mark.parametrize("dimensions", [2, 3, 32])
def test_antipodal_points_have_a_way_too(dimensions):
    x = points(1, dimensions)[0]
    way = SPHERE.geodesic(x, -x, torch.linspace(0, 1, 5).double())
    assert torch.allclose(way.norm(dim=-1), torch.ones(5).double())
    assert torch.allclose(
        SPHERE.distance(way[1:], way[:-1]), torch.full((4,), math.pi / 4).double()
    )
    assert torch.equal(way, SPHERE.geodesic(x, -x, torch.linspace(0, 1, 5).double()))


def test_codes_in_float32_are_unit_to_its_rounding():
    x, y = points(2, 32).float().unbind(0)
    way = SPHERE.geodesic(x, y, torch.linspace(0, 1, 9))
    assert SPHERE.off(way).max() < 2e-7


def test_outside_and_the_origin():
    assert SPHERE.off(torch.tensor([[3.0, 4.0], [0.0, 0.5], [0.0, 1.0]])).tolist() == pytest.approx(
        [4.0, 0.5, 0.0]
    )
    assert SPHERE.project(torch.zeros(2, 3)).tolist() == [[1.0, 0.0, 0.0]] * 2
    assert SPHERE.coordinates(torch.tensor([0.0, -0.2])).tolist() == [0.0, -1.0]


def test_gradients_are_right_and_finite_where_points_coincide():
    x, y = (t.clone().requires_grad_() for t in points(2).unbind(0))
    v = tangent(x.detach(), 3).requires_grad_()
    for operation, arguments in (
        (SPHERE.exp, (x, v)),
        (SPHERE.log, (x, y)),
        (SPHERE.distance, (x, y)),
        (SPHERE.project, (v,)),
    ):
        assert torch.autograd.gradcheck(operation, arguments)
    for value in (SPHERE.log(x, x), SPHERE.distance(x, x), SPHERE.log(x, -x)):
        assert torch.isfinite(torch.autograd.grad(value.sum(), x)[0]).all()


def test_the_flat_space_is_subtraction():
    flat, x, y = Euclidean(), draw(4, 3), draw(4, 3, seed=1)
    assert torch.equal(flat.exp(x, flat.log(x, y)), x + (y - x))
    assert torch.allclose(flat.distance(x, y), (x - y).square().sum(-1).sqrt())
    assert torch.equal(flat.off(x), torch.zeros(4).double())
