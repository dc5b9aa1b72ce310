"""The way between two codes."""

import pytest
import torch

from aecore.errors import CompositionError, ConfigError
from aecore.generation.interpolate import interpolate


def test_the_straight_line_in_equal_steps_with_both_ends_exact():
    start, end = torch.tensor([0.1, -3.0, 7.3]), torch.tensor([1.7, 5.0, 7.3])
    path = interpolate("euclidean", start, end, 5)
    assert torch.equal(path[0], start)
    assert torch.equal(path[-1], end)
    assert torch.allclose(path[1:].sub(path[:-1]), (end - start).expand(4, -1) / 4, atol=1e-6)


@pytest.mark.parametrize("space", ["sphere", "ball"])
def test_a_space_whose_geodesics_are_not_built_yet(space):
    with pytest.raises(CompositionError, match=f"interpolation on the {space} is not built yet"):
        interpolate(space, torch.zeros(2), torch.ones(2), 3)


def test_less_than_two_points_are_no_way():
    with pytest.raises(ConfigError, match="steps = 1 is out of range"):
        interpolate("euclidean", torch.zeros(2), torch.ones(2), 1)
