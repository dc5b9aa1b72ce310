"""The ball against geoopt, closed forms and autograd."""

import math
import warnings

import pytest
import torch
from torch.func import jacrev

from aecore.errors import ConfigError
from aecore.geometry import Ball
from aecore.geometry.ball import EDGE, artanhc, log_sinhc, tanhc

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # geoopt scripts its functions, which torch has deprecated
    from geoopt import PoincareBall

CURVATURES = [0.1, 0.7, 1.0, 3.0]


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).to(dtype)


def points(ball, n=50, dimensions=5, seed=0, reach=1.5):
    """Points with a distance of about 2 reach from the origin, in units of the radius."""
    return ball.exp(
        torch.zeros(dimensions).double(),
        reach * ball.radius * draw(n, dimensions, seed=seed) / dimensions**0.5,
    )


@pytest.mark.parametrize("c", CURVATURES)
def test_it_is_geoopts(c):
    ball, oracle = Ball(c), PoincareBall(torch.tensor(c, dtype=torch.float64))
    x, y = points(ball), points(ball, seed=1)
    v = ball.radius * draw(50, 5, seed=2) / ball.conformal(x)
    assert torch.allclose(ball.add(x, y), oracle.mobius_add(x, y, project=False), rtol=1e-9)
    assert torch.allclose(ball.conformal(x).squeeze(-1), oracle.lambda_x(x), rtol=1e-9)
    assert torch.allclose(ball.distance(x, y), oracle.dist(x, y), rtol=1e-7)
    assert torch.allclose(ball.exp(x, v), oracle.expmap(x, v, project=False), rtol=1e-8)
    assert torch.allclose(ball.log(x, y), oracle.logmap(x, y), rtol=1e-6, atol=1e-9)
    assert torch.allclose(ball.transport(x, v), oracle.transp0(x, v), rtol=1e-9)
    assert torch.allclose(ball.coordinates(x), oracle.logmap0(x), rtol=1e-8)
    shares = torch.linspace(0, 1, 5).double()
    way = torch.stack([oracle.geodesic(share, x[0], y[0]) for share in shares])
    assert torch.allclose(ball.geodesic(x[0], y[0], shares), way, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("c", CURVATURES)
def test_distances_from_the_origin(c):
    ball, zero = Ball(c), torch.zeros(3).double()
    x = torch.tensor([0.3, 0.0, 0.4], dtype=torch.float64) * ball.radius
    assert ball.distance(zero, x).item() == pytest.approx(
        2 * ball.radius * math.atanh(0.5), rel=1e-12
    )
    v = ball.radius * draw(20, 3)
    assert torch.allclose(ball.distance(zero, ball.exp(zero, v)), 2 * v.norm(dim=-1), rtol=1e-9)


@pytest.mark.parametrize("c", CURVATURES)
def test_exp_and_log_undo_each_other(c):
    ball = Ball(c)
    x, y = points(ball), points(ball, seed=1)
    v = ball.radius * draw(50, 5, seed=2) / ball.conformal(x)
    assert torch.allclose(ball.exp(x, ball.log(x, y)), y, atol=1e-9)
    assert torch.allclose(ball.log(x, ball.exp(x, v)), v, rtol=1e-6, atol=1e-10)
    assert torch.allclose(
        ball.conformal(x).squeeze(-1) * ball.log(x, y).norm(dim=-1), ball.distance(x, y), rtol=1e-8
    )


@pytest.mark.parametrize("c", CURVATURES)
def test_the_geodesic_has_constant_speed(c):
    ball = Ball(c)
    x, y = points(ball, 2)
    way = ball.geodesic(x, y, torch.linspace(0, 1, 11).double())
    assert torch.equal(way[0], x)
    assert torch.equal(way[-1], y)
    assert torch.allclose(ball.distance(way[1:], way[:-1]), ball.distance(x, y) / 10, rtol=1e-6)


def test_the_metric_is_the_pull_back_of_exp():
    """In normal coordinates the volume is sinh^(D-1)(sqrt(c) r) / (sqrt(c) r)^(D-1): det of exp's
    Jacobian times lambda^D.
    """
    ball = Ball(0.7)
    x, v = points(ball, 1, 4)[0], draw(4, seed=3)
    lam = ball.conformal(x)
    jacobian = jacrev(lambda u: ball.exp(x, u / lam))(v)  # v of length |v| in the metric
    volume = (
        torch.linalg.slogdet(jacobian).logabsdet
        + 4 * ball.conformal(ball.exp(x, v / lam)).log().squeeze()
    )
    assert volume.item() == pytest.approx(ball.log_volume(v).item(), abs=1e-9)


def test_transport_keeps_length_and_direction_of_the_geodesic():
    ball, zero = Ball(1.3), torch.zeros(3).double()
    x, v = points(ball, 1, 3)[0], draw(3, seed=1)
    moved = ball.transport(x, v)
    assert (ball.conformal(x) * moved.norm()).item() == pytest.approx(
        2 * v.norm().item(), rel=1e-12
    )
    along = ball.transport(x, x)  # the velocity of the ray through x stays radial
    assert torch.allclose(ball.exp(x, 0.1 * along) / x, (ball.exp(x, 0.1 * along) / x)[0].expand(3))
    assert torch.allclose(ball.transport(zero, v), v)


def test_without_curvature_it_is_flat():
    ball, x, y = Ball(1e-12), draw(10, 4), draw(10, 4, seed=1)
    assert torch.allclose(ball.exp(x, y), x + y, atol=1e-9)
    assert torch.allclose(ball.log(x, y), y - x, atol=1e-9)
    assert torch.allclose(ball.distance(x, y), 2 * (x - y).norm(dim=-1), atol=1e-9)
    assert torch.allclose(ball.coordinates(x), x, atol=1e-9)
    assert torch.allclose(ball.log_volume(x), torch.zeros(10).double(), atol=1e-9)


@pytest.mark.parametrize("c", CURVATURES)
def test_near_the_boundary(c):
    ball = Ball(c)
    direction = torch.nn.functional.normalize(draw(20, 5), dim=-1)
    x, y = ball.limit * direction, ball.limit * direction.flip(0)
    assert (ball.distance(x, y) * math.sqrt(c) < 2 * math.log(2 / EDGE)).all()
    assert torch.allclose(ball.exp(x, ball.log(x, y)), y, atol=2e-5 * ball.radius)
    assert torch.allclose(ball.project(x), x, rtol=1e-15, atol=0)
    far = ball.exp(x, 100 * direction)
    assert (far.norm(dim=-1) <= ball.limit * (1 + 1e-12)).all()
    assert torch.equal(ball.off(far), torch.zeros(20).double())
    assert ball.project(5 * x).norm(dim=-1).sub(ball.limit).abs().max() < 1e-12
    assert torch.allclose(ball.off(5 * x), 5 * x.norm(dim=-1) - ball.radius)


@pytest.mark.parametrize("c", CURVATURES)
def test_float32_comes_out_and_a_round_trip_loses_nothing_but_its_rounding(c):
    ball = Ball(c)
    x, y = (points(ball, seed=seed, reach=1.0).float() for seed in (0, 1))
    back = ball.exp(x, ball.log(x, y))
    assert back.dtype == torch.float32
    assert (back - y).abs().max() < 5e-6 * ball.radius  # geoopt's own float32: 5e-4
    assert torch.allclose(ball.distance(x, y), ball.distance(x.double(), y.double()).float())


def test_gradients_are_right_and_finite_where_points_coincide():
    ball, x, y, v = Ball(0.7), *(0.3 * draw(3, seed=seed).requires_grad_() for seed in (0, 1, 2))
    x, y, v = (t.detach().requires_grad_() for t in (x, y, v))
    for operation, arguments in (
        (ball.exp, (x, v)),
        (ball.log, (x, y)),
        (ball.distance, (x, y)),
        (ball.add, (x, y)),
    ):
        assert torch.autograd.gradcheck(operation, arguments)
    zero = torch.zeros(3).double().requires_grad_()
    for value in (
        ball.exp(zero, zero),
        ball.log(x, x),
        ball.distance(x, x),
        ball.coordinates(zero),
        ball.log_volume(zero),
    ):
        assert all(
            torch.isfinite(g).all()
            for g in torch.autograd.grad(value.sum(), (x, zero), materialize_grads=True)
        )


def test_the_quotients_by_their_series_and_beyond_overflow():
    x = torch.tensor([0.0, 1e-8, 9.9e-4, 1.1e-3, 0.5], dtype=torch.float64)
    sinh = [math.log(math.sinh(t) / t) if t else 0.0 for t in x.tolist()]
    assert torch.allclose(log_sinhc(x), torch.tensor(sinh).double(), atol=1e-13)
    assert tanhc(x).tolist() == pytest.approx(
        [math.tanh(t) / t if t else 1.0 for t in x.tolist()], rel=1e-11
    )
    assert artanhc(x).tolist() == pytest.approx(
        [math.atanh(t) / t if t else 1.0 for t in x.tolist()], rel=1e-11
    )
    assert log_sinhc(torch.tensor(1e4).double()).item() == pytest.approx(
        1e4 - math.log(2e4), rel=1e-14
    )


@pytest.mark.parametrize("c", [0.0, -1.0, math.inf, math.nan])
def test_a_curvature_that_makes_no_ball(c):
    with pytest.raises(ConfigError, match=r"the curvature .* of the ball is out of range"):
        Ball(c)
