"""The draws against scipy, their gradient against differences and the mean's slope."""

import math

import numpy as np
import pytest
import torch
from aecore_vmf import VonMisesFisher
from aecore_vmf.bessel import mean_length
from aecore_vmf.distribution import cosine_slope, draw_cosine
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import kstest, vonmises_fisher
from torch.nn import functional as F

CASES = [(2, 0.3), (2, 20.0), (3, 1.0), (8, 5.0), (32, 13.0), (32, 80.0), (128, 40.0)]


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(("d", "kappa"), CASES)
def test_the_mean_cosine_is_the_ratio_of_bessel_functions(d, kappa):
    w = draw_cosine(doubles(kappa), d, 40_000)
    due = mean_length(doubles(kappa), d).item()
    assert abs(w.mean().item() - due) < 4 * w.std().item() / 200


@pytest.mark.parametrize(("d", "kappa"), [(3, 1.0), (8, 5.0), (32, 13.0)])
def test_draws_are_scipys(d, kappa):
    """Two-sample Kolmogorov-Smirnov, on the cosine and on a coordinate across."""
    mu = F.normalize(torch.randn(1, d), dim=-1)
    z, _ = VonMisesFisher(mu, doubles(kappa)).rsample(4000)
    oracle = vonmises_fisher(
        mu[0].double().numpy() / np.linalg.norm(mu[0].double().numpy()), kappa
    ).rvs(4000, random_state=0)
    across = torch.randn(d).double().numpy()
    for direction in (mu[0].double().numpy(), across):
        assert kstest(z[:, 0].double().numpy() @ direction, oracle @ direction).pvalue > 1e-3


def test_every_sentence_has_its_own_concentration():
    kappa = doubles(0.1, 5.0, 300.0)
    w = draw_cosine(kappa, 16, 20_000)
    assert w.mean(0).tolist() == pytest.approx(mean_length(kappa, 16).tolist(), abs=0.01)


def test_draws_are_unit_vectors_with_the_density_of_their_point():
    q = VonMisesFisher(F.normalize(torch.randn(5, 32), dim=-1), torch.full((5,), 13.0).double())
    z, log_prob = q.rsample(200)
    assert (z.norm(dim=-1) - 1).abs().max() < 1e-6
    assert torch.allclose(q.log_prob(z), log_prob, atol=1e-4)
    assert (q.mean - z.mean(0)).abs().max() < 5 / math.sqrt(200 * 32)


def test_the_entropy_is_minus_the_mean_log_density():
    q = VonMisesFisher(F.normalize(torch.randn(1, 10), dim=-1), doubles(7.0))
    _, log_prob = q.rsample(20_000)
    due = vonmises_fisher(np.eye(10)[0], 7.0).entropy()
    assert abs(-log_prob.mean().item() - due) < 4 * log_prob.std().item() / math.sqrt(20_000)


def quantile(level, kappa, d):
    """w with F(w; kappa) = level, by integration over the angle and bisection."""

    def g(t):
        return math.exp(kappa * (math.cos(t) - 1)) * math.sin(t) ** (d - 2)

    whole = quad(g, 0, math.pi, epsabs=0, epsrel=1e-10, limit=400)[0]

    def excess(t):
        return quad(g, t, math.pi, epsabs=0, epsrel=1e-10, limit=400)[0] / whole - level

    return math.cos(brentq(excess, 1e-9, math.pi - 1e-9, xtol=1e-14))


@pytest.mark.parametrize(("d", "kappa"), CASES)
@pytest.mark.parametrize("level", [0.01, 0.5, 0.97])
def test_the_slope_is_that_of_the_quantile(d, kappa, level):
    step = 1e-3 * kappa
    difference = (quantile(level, kappa + step, d) - quantile(level, kappa - step, d)) / (2 * step)
    found = cosine_slope(doubles(quantile(level, kappa, d)).unsqueeze(1), doubles(kappa), d).item()
    assert found == pytest.approx(difference, rel=1e-4)


@pytest.mark.parametrize(("d", "kappa"), [*CASES, (32, 1000.0), (512, 1.0), (512, 2000.0)])
def test_the_mean_slope_is_the_slope_of_the_mean(d, kappa):
    """E[dw/dkappa] = A'(kappa), over draws."""
    k = doubles(kappa).requires_grad_()
    (due,) = torch.autograd.grad(mean_length(k, d).sum(), k)
    slopes = cosine_slope(draw_cosine(k.detach(), d, 20_000), k.detach(), d)
    assert (
        abs(slopes.mean().item() - due.item()) < 4 * slopes.std().item() / math.sqrt(20_000) + 1e-9
    )


def test_the_gradient_of_an_expectation_in_mu_and_kappa():
    """d E[h(z)] of h(z) = exp(a z_1 + z_2^2), by differences of an integral."""
    mu, kappa = torch.tensor([0.6, 0.8], dtype=torch.float64), 2.5
    angles = torch.linspace(0, 2 * math.pi, 4001).double()[:-1]
    points = torch.stack([angles.cos(), angles.sin()], -1)

    def h(z):
        return (0.7 * z[..., 0] + z[..., 1].square()).exp()

    def expected(turn, k):
        centre = math.atan2(0.8, 0.6) + turn
        weight = (k * (angles - centre).cos()).exp()
        return ((weight * h(points)).sum() / weight.sum()).item()

    turn, k = torch.zeros(1).double().requires_grad_(), doubles(kappa).requires_grad_()
    rotation = torch.stack(
        [turn.cos() * mu[0] - turn.sin() * mu[1], turn.sin() * mu[0] + turn.cos() * mu[1]], -1
    )
    z, _ = VonMisesFisher(rotation.expand(200, 2), k.expand(200)).rsample(200)
    found = torch.autograd.grad(h(z).mean(), (turn, k))
    due = [
        (expected(1e-4, kappa) - expected(-1e-4, kappa)) / 2e-4,
        (expected(0, kappa + 1e-4) - expected(0, kappa - 1e-4)) / 2e-4,
    ]
    assert [g.item() for g in found] == pytest.approx(due, abs=0.02)


def test_what_is_not_a_number_ends_the_loop():
    assert draw_cosine(doubles(math.nan), 4, 2).isnan().all()
