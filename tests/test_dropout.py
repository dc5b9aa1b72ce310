"""The law of dropout: independent masks, the rate to one in 65,536, and an expectation that is
exact.
"""

import pytest
import torch

from aecore.dropout import LEVELS, dropout
from aecore.streams import stream


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_moments_of_the_mask(rate):
    with stream("mask"):
        mask = dropout(torch.ones(1000, 801), rate).double()
    entries = mask.numel()
    # E = 1, Var = p / (1 - p)
    assert abs(mask.mean() - 1) < 5 * (rate / (1 - rate) / entries) ** 0.5
    assert ((mask == 0).double().mean() - rate).abs() < 5 * (rate * (1 - rate) / entries) ** 0.5
    assert len(mask.unique()) == 2
    assert mask.max().item() == pytest.approx(1 / (1 - round(rate * LEVELS) / LEVELS), rel=1e-6)


def test_neighbours_are_independent():
    """Four elements come from one draw of 64 bits: no bit may be shared or missing."""
    with stream("pairs"):
        dropped = (dropout(torch.ones(40_000, 8), 0.5) == 0).double()
    found = torch.corrcoef(dropped.t())
    assert (found - torch.eye(8)).abs().max() < 5 / 40_000**0.5
    assert (dropped.mean(0) - 0.5).abs().max() < 5 * 0.5 / 40_000**0.5


def test_a_rate_of_zero_draws_nothing():
    inputs = torch.randn(5, 3)
    before = torch.get_rng_state()
    assert dropout(inputs, 0.0) is inputs
    assert torch.equal(torch.get_rng_state(), before)


def test_the_gradient_is_the_mask():
    inputs = torch.randn(50, 7, requires_grad=True)
    with stream("mask"):
        mask = dropout(torch.ones(50, 7), 0.3)
    with stream("mask"):
        dropout(inputs, 0.3).sum().backward()
    assert torch.equal(inputs.grad, mask)


def test_the_same_stream_gives_the_same_mask():
    for _ in range(2):
        with stream("again"):
            found = dropout(torch.ones(9, 9), 0.4)
        with stream("again"):
            assert torch.equal(dropout(torch.ones(9, 9), 0.4), found)
