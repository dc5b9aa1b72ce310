"""Which weights are kept: the rules one by one, and a run whose early collapse has the better
bound.
"""

from types import SimpleNamespace

import pytest
from support import DEFAULTS, part

from aecore.composition import compose
from aecore.runs.config import TrainConfig
from aecore.training.selection import Candidate, Selection

BEST = TrainConfig.model_validate({"schedule": "constant"})


def selection(config=BEST, *parts):
    return Selection(SimpleNamespace(composition=compose(list(parts), DEFAULTS)), config)


def candidate(value=10.0, beta=1.0, moving=False, collapsed=False):
    return Candidate(value, beta, moving, collapsed)


def test_rates_that_fall_to_zero_keep_the_last():
    for schedule, metric in (
        ("linear", "last"),
        ("cosine", "last"),
        ("constant", "objective"),
        ("plateau", "objective"),
    ):
        assert selection(TrainConfig.model_validate({"schedule": schedule})).metric == metric
    assert (
        selection(TrainConfig.model_validate({"schedule": "constant", "select": "last"})).metric
        == "last"
    )


@pytest.mark.parametrize(
    ("provides", "metric"),
    [
        (
            {"kl": "penalty", "kl_estimator": "penalty", "kl_gradient": []},
            "objective",
        ),  # a plain autoencoder: its objective is rec
        ({"kl": "penalty", "kl_estimator": "penalty", "kl_gradient": ["encoder"]}, "last"),
        ({"kl": "batch", "kl_estimator": "dual", "kl_gradient": ["encoder"]}, "last"),
        ({"kl": "sentence", "kl_estimator": "analytic", "kl_gradient": ["encoder"]}, "objective"),
    ],
)
def test_values_that_do_not_compare_keep_the_last(provides, metric):
    assert selection(BEST, part("priced", ["kl_term"], provides=provides)).metric == metric


def test_the_lower_value_of_one_objective_is_kept():
    rule = selection()
    assert rule.prefers(candidate(10), None)
    assert rule.prefers(candidate(9), candidate(10))
    assert not rule.prefers(candidate(10), candidate(10))
    assert not rule.prefers(candidate(11), candidate(10))


def test_until_the_weight_has_arrived_the_latest_is_kept():
    rule = selection()
    assert rule.prefers(candidate(30, moving=True), candidate(10, moving=True))
    assert rule.prefers(candidate(30), candidate(10, moving=True))
    assert not rule.prefers(candidate(5, moving=True), candidate(10))


def test_another_weight_is_another_objective():
    assert selection().prefers(candidate(30, beta=1.0), candidate(10, beta=0.5))


def test_a_step_that_is_alive_takes_the_place_of_a_collapsed_one():
    rule = selection()
    assert rule.prefers(candidate(30), candidate(10, collapsed=True))
    assert rule.prefers(candidate(30, moving=True), candidate(10, collapsed=True))
    assert rule.prefers(candidate(9, collapsed=True), candidate(10))


def test_any_later_step_takes_the_place_where_the_last_is_kept():
    rule = selection(TrainConfig.model_validate({"schedule": "linear"}))
    assert rule.prefers(candidate(30, collapsed=True), candidate(10))
