"""Comparing samples, against closed forms and Monte Carlo with error bars."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from aecore import matching
from aecore.matching import SCALES, dual, exp_counted, imq, mlp, mmd, moments_apart, rbf

D = 8


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def gaussian_mmd(shift, width):
    """MMD^2 of N(0, I) and N(mu, I), |mu| = shift, for exp(-r^2 / width): Gaussian integrals."""
    return 2 * (1 + 4 / width) ** (-D / 2) * (1 - math.exp(-(shift**2) / (width + 4)))


@pytest.mark.parametrize("kernel", [imq, rbf])
def test_equal_distributions_are_0_apart_in_the_mean_with_either_sign(kernel):
    found = torch.stack(
        [mmd(torch.randn(32, D), torch.randn(32, D), kernel(2 * D)) for _ in range(1000)]
    )
    assert abs(found.mean()) < 4 * found.std() / math.sqrt(1000)
    assert 0.3 < (found < 0).float().mean() < 0.8


@pytest.mark.parametrize("shift", [0.5, 2.0])
def test_shifted_gaussians_are_as_far_apart_as_the_integral_says(shift):
    mu = torch.zeros(D)
    mu[0] = shift
    found = torch.stack(
        [mmd(torch.randn(40, D), torch.randn(30, D) + mu, rbf(2 * D)) for _ in range(2000)]
    )
    error = found.std() / math.sqrt(2000)
    assert abs(found.mean() - gaussian_mmd(shift, 2 * D)) < 4 * error
    assert error < 0.05 * gaussian_mmd(2.0, 2 * D)


def test_it_is_the_sum_over_pairs():
    x, y = torch.randn(4, 3), torch.randn(5, 3)
    k = imq(6.0)

    def pair(a, b):
        return sum(s * 6.0 / (s * 6.0 + (a - b).square().sum()) for s in SCALES)

    due = sum(pair(x[i], x[j]) for i in range(4) for j in range(4) if i != j) / 12
    due += sum(pair(y[i], y[j]) for i in range(5) for j in range(5) if i != j) / 20
    due -= 2 * sum(pair(a, b) for a in x for b in y) / 20
    assert mmd(x, y, k).item() == pytest.approx(due.item(), abs=1e-5)


@pytest.mark.parametrize("kernel", [imq, rbf])
def test_descent_brings_codes_to_the_prior(kernel):
    shift = torch.full((D,), 0.7, requires_grad=True)
    codes, drawn = torch.randn(400, D), torch.randn(400, D)
    (slope,) = torch.autograd.grad(mmd(codes + shift, drawn, kernel(2 * D)), shift)
    assert (shift - slope).norm() < shift.norm()


@pytest.mark.parametrize(("m", "n"), [(1, 5), (5, 1)])
def test_one_sample_is_no_pair(m, n):
    with pytest.raises(ValueError, match=f"{m} and {n} samples came"):
        mmd(torch.randn(m, D), torch.randn(n, D), imq(1.0))


def test_moments_by_hand():
    one = torch.tensor([[0.0, 0.0], [2.0, 0.0]])  # mean (1, 0), covariance ((2, 0), (0, 0))
    other = torch.tensor([[0.0, 1.0], [0.0, 3.0]])  # mean (0, 2), covariance ((0, 0), (0, 2))
    assert moments_apart(one, other).item() == pytest.approx((1 + 4) / 2 + (4 + 4) / 4)
    assert moments_apart(one[:1], other).item() == pytest.approx((0 + 4) / 2)


@pytest.mark.parametrize("kl", [0.5, 3.0])
def test_the_dual_of_the_right_critic_is_the_divergence(kl):
    """nu = log q / p of N(mu, I) and N(0, I): the KL is |mu|^2 / 2."""
    mu = torch.full((32,), math.sqrt(2 * kl / 32))

    def nu(z):
        return (Normal(mu, 1.0).log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(-1)

    n = 400_000
    values = dual(nu(torch.randn(n, 32) + mu), nu(torch.randn(n, 32)))
    assert abs(values.mean() - kl) < 4 * values.std() / math.sqrt(n)
    lazy = dual(0.5 * nu(torch.randn(n, 32) + mu), 0.5 * nu(torch.randn(n, 32)))
    assert lazy.mean() < kl - 4 * lazy.std() / math.sqrt(n)
    assert dual(torch.zeros(3), torch.zeros(3)).tolist() == [0, 0, 0]  # an untrained one says 0


def test_large_exponents_are_counted():
    assert exp_counted(torch.tensor([0.0, 29.0, 31.0, 90.0])).item() == 0.5


def test_a_network_has_the_layers_that_it_is_asked_for():
    net = mlp(3, 7, 2, 4)
    shapes = [tuple(layer.weight.shape) for layer in net if isinstance(layer, nn.Linear)]
    assert shapes == [(7, 3), (7, 7), (4, 7)]
    assert net(torch.randn(5, 2, 3)).shape == (5, 2, 4)


def test_noise_is_so_many_deviations_of_each_dimension():
    codes = torch.randn(20_000, 2) * torch.tensor([1.0, 10.0]) + 5
    away = matching.blurred(codes, 0.5) - codes
    torch.testing.assert_close(away.std(0), torch.tensor([0.5, 5.0]), rtol=0.05, atol=0)
    torch.testing.assert_close(away.mean(0), torch.zeros(2), rtol=0, atol=0.15)
    assert matching.blurred(codes, 0.0) is codes
    assert torch.equal(matching.blurred(codes[:1], 0.5), codes[:1])
