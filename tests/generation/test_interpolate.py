"""The way between two codes."""

import math

import pytest
import torch

from aecore.errors import ConfigError
from aecore.generation.interpolate import interpolate
from aecore.geometry import Ball, Euclidean, Sphere


def test_the_straight_line_in_equal_steps_with_both_ends_exact():
    start, end = torch.tensor([0.1, -3.0, 7.3]), torch.tensor([1.7, 5.0, 7.3])
    path = interpolate(Euclidean(), start, end, 5)
    assert torch.equal(path[0], start)
    assert torch.equal(path[-1], end)
    assert torch.allclose(path[1:].sub(path[:-1]), (end - start).expand(4, -1) / 4, atol=1e-6)


def test_a_quarter_of_the_circle_in_three_steps():
    path = interpolate(Sphere(), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 4)
    angles = torch.arange(4) * math.pi / 6
    assert torch.allclose(path, torch.stack([angles.cos(), angles.sin()], 1), atol=1e-6)


def test_a_diameter_of_the_ball_in_equal_distances():
    ball, end = Ball(4.0), torch.tensor([0.4, 0.0])  # radius 1/2; tanh of half the distance is 0.8
    path = interpolate(ball, -end, end, 5)
    assert torch.allclose(
        path[3], torch.tensor([math.tanh(math.atanh(0.8) / 2) / 2, 0.0]), atol=1e-6
    )
    assert torch.allclose(path[2], torch.zeros(2), atol=1e-6)
    assert torch.equal(path[[0, -1]], torch.stack([-end, end]))


def test_less_than_two_points_are_no_way():
    with pytest.raises(ConfigError, match="steps = 1 is out of range"):
        interpolate(Euclidean(), torch.zeros(2), torch.ones(2), 1)
