"""The schedules against their formulas."""

import math
import warnings

import pytest
from aecore_annealing import Annealing

from aecore import Sizes
from aecore.testing import parametrize_with_checks


def beta(index, *, steps_per_epoch=100, total_steps=2000, **settings):
    plugin = Annealing(Annealing.Config(**settings), Sizes(9, 2, 3, 2))
    return plugin.beta_schedule(index=index, epoch=index / steps_per_epoch, total_steps=total_steps)


@pytest.mark.parametrize(
    ("index", "expected"),
    [(0, 0.0), (1, 0.001), (500, 0.5), (999, 0.999), (1000, 1.0), (1999, 1.0)],
)
def test_linear_over_ten_epochs(index, expected):
    assert beta(index) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("index", "expected"), [(0, 0.1), (500, 0.55), (1000, 1.0)])
def test_linear_from_a_start_value(index, expected):
    # He et al.: kl_start 0.1, warm_up 10
    assert beta(index, start=0.1) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("index", "expected"),
    [(0, 0.0066929), (2500, 0.0758582), (5000, 0.5), (9999, 0.993300), (10_000, 1.0)],
)
def test_logistic_over_ten_thousand_steps(index, expected):
    # Shao et al., cost annealing: sigma((t - a/2) / (a/10)) for t < a = 10000, then 1
    assert beta(index, shape="logistic", warmup_steps=10_000, total_steps=20_000) == pytest.approx(
        expected, abs=1e-6
    )


def test_logistic_is_monotone():
    values = [beta(index, shape="logistic", warmup_epochs=3.0) for index in range(0, 400, 5)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(1 / (1 + math.exp(5)))


def test_a_warm_up_longer_than_the_run_is_warned_of_once():
    with pytest.warns(
        UserWarning, match=r"training ends at 50% of the warm-up, so beta will not reach 1"
    ):
        beta(1, warmup_epochs=10.0, total_steps=500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        beta(0, warmup_epochs=10.0, total_steps=500)
        beta(2, warmup_epochs=10.0, total_steps=500)
        beta(1, warmup_epochs=10.0, total_steps=1000)


def test_the_warm_up_is_half_of_a_short_run_and_ten_epochs_of_a_long_one():
    assert beta(125, total_steps=500) == pytest.approx(0.5)
    assert beta(250, total_steps=500) == 1.0
    assert beta(500, total_steps=50_000) == pytest.approx(0.5)  # ten epochs of a hundred steps
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        beta(1, total_steps=50)


@pytest.mark.parametrize(
    "settings", [{"start": 1.5}, {"warmup_epochs": 0.0}, {"warmup_steps": 0}, {"shape": "cosine"}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="validation error"):
        Annealing.Config(**settings)


@parametrize_with_checks("annealing")
def test_conformance(subject, check):
    check(subject)


def test_a_warm_up_to_another_weight_than_one():
    # Fang et al., EMNLP 2019, their beta-VAE on the Penn Treebank: from 0.1 to 0.5 over 10 epochs
    weights = [beta(index, start=0.1, end=0.5) for index in (0, 500, 1000, 5000)]
    assert weights == pytest.approx([0.1, 0.3, 0.5, 0.5])
    middle = beta(500, shape="logistic", end=0.5)
    assert middle == pytest.approx(0.25)
