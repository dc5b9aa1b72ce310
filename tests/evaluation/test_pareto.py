"""Effective samples and the Pareto k of weights, against tails and Gaussians with known answers."""

import math

import pytest
import torch

from aecore.evaluation.pareto import effective_samples, pareto_k


def test_effective_samples_by_hand():
    assert effective_samples(torch.zeros(7)) == pytest.approx(7)
    assert effective_samples(torch.tensor([0.0, -800.0, -800.0])) == pytest.approx(1)
    # (2 + 1)^2 / (4 + 1)
    assert effective_samples(
        torch.tensor([math.log(2) - 900, -900.0], dtype=torch.float64)
    ) == pytest.approx(1.8)


@pytest.mark.parametrize("k", [0.3, 0.7, 1.2])
def test_the_shape_of_a_pareto_tail(k):
    # u^-k is Pareto of shape k
    found = [pareto_k(-k * torch.rand(20_000, dtype=torch.float64).log()) for _ in range(8)]
    mean, error = (float(torch.tensor(found).mean()), float(torch.tensor(found).std()) / 8**0.5)
    assert abs(mean - k) < 4 * error + 0.03  # drawn to 1/2 by 10 of 434


@pytest.mark.parametrize("variance", [0.3, 0.5])
def test_a_gaussian_proposal_that_is_too_narrow(variance):
    """N(z; 0, 1) / N(z; 0, s^2) has a tail t^(-1/(1 - s^2)), but for logarithms: k = 1 - s^2."""
    z = math.sqrt(variance) * torch.randn(400_000, dtype=torch.float64)
    weights = -0.5 * z.square() + 0.5 * z.square() / variance
    assert pareto_k(weights) == pytest.approx(1 - variance, abs=0.12)


def test_bounded_weights_have_a_light_tail():
    assert pareto_k(torch.rand(1000).log()) < 0.3
    assert pareto_k(torch.zeros(1000)) == -math.inf


def test_few_weights_say_nothing():
    assert pareto_k(torch.randn(24)) is None
    assert pareto_k(torch.randn(25)) is not None
