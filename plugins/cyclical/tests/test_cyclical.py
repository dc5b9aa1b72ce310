"""The schedule against its formula, the published numbers, and the paper's own curves."""

import math
import warnings

import numpy as np
import pytest
from aecore_cyclical import Cyclical
from hypothesis import given
from hypothesis import strategies as st

from aecore import Sizes
from aecore.testing import parametrize_with_checks


def schedule(**settings):
    return Cyclical(Cyclical.Config(**settings), Sizes(9, 2, 3, 2))


def beta(index, *, steps_per_epoch=100, total_steps=40_000, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return schedule(**settings).beta_schedule(
            index=index, epoch=index / steps_per_epoch, total_steps=total_steps
        )


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, 0),
        (1, 0.0002),
        (2500, 0.5),
        (4999, 0.9998),
        (5000, 1),
        (9999, 1),
        (10_000, 0),
        (12_500, 0.5),
        (39_999, 1),
    ],
)
def test_linear_with_four_cycles(index, expected):
    assert beta(index) == pytest.approx(expected, abs=1e-12)
    assert beta(index, cycle_steps=10_000, total_steps=77_777) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 0.1), (1, 0.3), (2, 0.5), (3, 0.7), (4, 0.9), (5, 1), (9, 1), (11, 0.3)],
)
def test_the_authors_penn_treebank_code(epoch, expected):
    # 10-epoch cycles, restart at 0.1, increments of 1 / (5 epochs): beta at the end of an epoch
    settings = {"cycle_epochs": 10.0, "proportion": 0.45, "restart": 0.1}
    assert beta(
        1300 * epoch, steps_per_epoch=1300, total_steps=52_000, **settings
    ) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("epoch", "expected"), [(1, 0.2), (5, 0.6), (9, 1.0), (11, 0.2)])
def test_a_warm_up_of_ten_epochs_in_cycles_of_ten(epoch, expected):
    settings = {"cycle_epochs": 10.0, "proportion": 0.9, "restart": 0.1}
    assert beta(700 * epoch, steps_per_epoch=700, **settings) == pytest.approx(expected, abs=1e-12)


def authors_curve(shape, n_iter, cycles, ratio):
    """The notebook's helper, with a bounds check on every shape."""
    curve, period = np.ones(n_iter), n_iter / cycles
    step = 1 / (period * ratio)
    for cycle in range(cycles):
        v, i = 0.0, 0
        while v <= 1 and int(i + cycle * period) < n_iter:
            rise = {
                "linear": v,
                "sigmoid": 1 / (1 + np.exp(-(v * 12.0 - 6.0))),
                "cosine": 0.5 - 0.5 * math.cos(v * math.pi),
            }
            curve[int(i + cycle * period)] = rise[shape]
            v, i = v + step, i + 1
    return curve


@pytest.mark.parametrize("shape", ["linear", "sigmoid", "cosine"])
def test_the_shapes_of_the_authors_notebook(shape):
    due = authors_curve(shape, 1000, 4, 0.5)
    found = [beta(index, total_steps=1000, shape=shape) for index in range(1000)]
    late = np.arange(1000) % 250 == 125  # v reaches 1: the notebook stores f(1), we store 1
    np.testing.assert_allclose(np.array(found)[~late], due[~late], atol=1e-9)
    assert all(value == 1 for value in np.array(found)[late])


@pytest.mark.parametrize(
    ("shape", "first", "quarter", "middle"),
    [("sigmoid", 1 / (1 + math.e**6), 1 / (1 + math.e**3), 0.5)],
)
def test_the_sigmoid_by_hand(shape, first, quarter, middle):
    found = [beta(index, shape=shape) for index in (0, 1250, 2500)]
    assert found == pytest.approx([first, quarter, middle], abs=1e-12)


def test_the_cosine_by_hand():
    found = [beta(index, shape="cosine", restart=0.2) for index in (0, 1250, 2500, 3750, 5000)]
    half = math.sqrt(0.5)
    assert found == pytest.approx(
        [0.2, 0.2 + 0.4 * (1 - half), 0.6, 0.2 + 0.4 * (1 + half), 1], abs=1e-12
    )


def test_one_cycle_is_a_monotone_schedule():
    # the paper's monotone baseline: M = 1, R = 0.25
    found = [beta(index, cycles=1, proportion=0.25) for index in (0, 5000, 9999, 10_000, 39_999)]
    assert found == pytest.approx([0, 0.5, 0.9999, 1, 1], abs=1e-12)


@given(
    total=st.integers(8, 3000),
    cycles=st.integers(1, 6),
    proportion=st.floats(0.05, 1),
    restart=st.floats(0, 1),
    shape=st.sampled_from(["linear", "sigmoid", "cosine"]),
)
def test_beta_falls_only_where_a_cycle_begins(total, cycles, proportion, restart, shape):
    settings = {"cycles": cycles, "proportion": proportion, "restart": restart, "shape": shape}
    found = [beta(index, total_steps=total, **settings) for index in range(total)]
    assert all(restart <= value <= 1 for value in found)
    begins = {math.ceil(number * total / cycles) for number in range(1, cycles)}
    assert {index for index in range(1, total) if found[index] < found[index - 1]} <= begins


def warned(total_steps, **settings):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plugin = schedule(**settings)
        for index in range(3):
            plugin.beta_schedule(index=index, epoch=index / 100, total_steps=total_steps)
    return [str(warning.message) for warning in caught]


def test_a_cycle_longer_than_the_run_is_warned_of_once():
    (found,) = warned(400, cycle_epochs=10.0)
    assert found.startswith(
        "cyclical: training ends at 40% of the first cycle, so beta never starts again"
    )
    assert len(warned(400, cycle_steps=500)) == 1


def test_a_cycle_of_a_step_or_so_is_warned_of():
    (found,) = warned(5, cycles=4)
    assert found.startswith("cyclical: a cycle is 1.2 steps, too short for beta to rise")


@pytest.mark.parametrize(
    "settings", [{}, {"cycles": 1}, {"cycle_epochs": 4.0}, {"cycle_steps": 400}]
)
def test_a_cycle_that_fits_is_not_warned_of(settings):
    assert warned(400, **settings) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"cycles": 0},
        {"proportion": 0.0},
        {"proportion": 1.1},
        {"restart": -0.1},
        {"restart": 1.5},
        {"shape": "logistic"},
        {"cycle_epochs": 0.0},
        {"cycle_steps": 1},
        {"cycle_epochs": 2.0, "cycle_steps": 7},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="validation error"):
        Cyclical.Config(**settings)


@parametrize_with_checks("cyclical")
def test_conformance(subject, check):
    check(subject)
