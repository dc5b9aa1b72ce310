"""The low-rank approximation of the output layer against the full one in float64."""

import pytest
import torch
from torch.nn import functional as F

from aecore.evaluation import lowrank
from aecore.evaluation.lowrank import CONTROLS, LowRank, low_rank
from aecore.streams import stream

T, R, H, V = 3, 200, 64, 2500


def exact(states, targets, weight):
    logits = states.double() @ weight.double().t()
    rows = targets.repeat_interleave(states.shape[1])
    return F.cross_entropy(logits.flatten(0, 1), rows, reduction="none").view(states.shape[:2])


def some(directions, spread):
    """States that vary in ``directions`` dimensions strongly, and in all others a little."""
    with stream("states", directions):
        weight = torch.randn(V, H)
        plane = torch.randn(R, directions) @ torch.randn(directions, H) / directions**0.5
        states = torch.randn(T, 1, H) * 0.3 + 0.2 * plane + spread * torch.randn(T, R, H)
        targets = torch.randint(V, (T,))
    return states, targets, weight


def test_states_in_a_plane_are_priced_exactly():
    states, targets, weight = some(8, 0.0)
    expected = exact(states, targets, weight)
    assert expected.std(1).min() > 0.1  # the samples do differ
    assert torch.allclose(LowRank(weight).nll(states, targets).double(), expected, atol=2e-4)


def test_what_the_directions_miss_is_made_up_for_in_the_mean():
    states, targets, weight = some(8, 2e-3)
    expected, short = exact(states, targets, weight), LowRank(weight)
    found = short.nll(states, targets).double()
    control = torch.linspace(0, R - 1, CONTROLS).long()
    assert torch.allclose(found[:, control], expected[:, control], atol=1e-4)
    error = found - expected
    assert 1e-4 < error.std() < lowrank.POSITION  # so it was taken, and approximates
    assert error.mean(1).abs().max() < 5 * lowrank.POSITION / CONTROLS**0.5


def test_a_position_whose_states_fill_the_space_is_computed_in_full(monkeypatch):
    states, targets, weight = some(8, 0.3)
    expected = exact(states, targets, weight)
    assert torch.allclose(LowRank(weight).nll(states, targets).double(), expected, atol=2e-4)
    monkeypatch.setattr(lowrank, "POSITION", 100.0)
    monkeypatch.setattr(lowrank, "SENTENCE", 100.0)
    # else this would prove nothing
    assert (LowRank(weight).nll(states, targets).double() - expected).abs().max() > 0.1


@pytest.mark.parametrize("scale", [200.0, float("nan")])
def test_what_float32_cannot_exponentiate_is_computed_in_full(scale):
    states, targets, weight = some(8, 0.0)
    states[1] *= scale
    found = LowRank(weight).nll(states, targets).double()
    expected = exact(states, targets, weight)
    assert torch.allclose(found, expected, rtol=1e-4, atol=2e-4, equal_nan=True)


def test_small_vocabularies_are_computed_in_full():
    assert low_rank(torch.randn(100, 80)) is None
    assert low_rank(torch.randn(V, 64)) is None
    assert low_rank(torch.randn(V, 80)) is not None


def test_errors_that_add_up_over_a_sentence_are_not_left_to_it(monkeypatch):
    states, targets, weight = some(8, 2e-3)
    expected = exact(states, targets, weight)
    # each position is near enough by itself
    assert (LowRank(weight).nll(states, targets) - expected).abs().max() > 1e-3
    monkeypatch.setattr(lowrank, "SENTENCE", 1e-5)
    assert torch.allclose(LowRank(weight).nll(states, targets).double(), expected, atol=2e-4)
