"""Settings that exclude each other, or are out of range, are refused in words."""

import math

import pytest

from aecore.errors import ConfigError
from aecore.generation.strategy import Choice, Strategy


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"top_p": 0.0}, "top_p = 0.0 is out of range"),
        ({"top_p": 1.5}, "top_p = 1.5 is out of range\n  due: above 0, at most 1"),
        ({"top_p": math.nan}, "top_p = nan is out of range"),
        ({"top_k": -1}, "top_k = -1 is out of range"),
        ({"top_k": 2.5}, "top_k = 2.5 is out of range"),
        ({"beam": 0}, "beam = 0 is out of range"),
        ({"max_length": 0}, "max_length = 0 is out of range"),
        ({"temperature": -1.0}, "temperature = -1.0 is out of range"),
        ({"temperature": math.inf}, "temperature = inf is out of range"),
        ({"temperature": 1e-30}, "temperature = 1e-30 is out of range"),
        ({"beam": 4, "temperature": 0.5}, "beam = 4 and temperature = 0.5 exclude each other"),
        ({"beam": 4, "top_p": 0.5}, "beam = 4 and top_p = 0.5 exclude each other"),
        ({"temperature": 0.0, "top_k": 5}, "temperature = 0 and top_k = 5 exclude each other"),
    ],
)
def test_refused(settings, what):
    with pytest.raises(ConfigError) as caught:
        Strategy(**settings)
    assert str(caught.value).startswith(what)


@pytest.mark.parametrize(
    ("settings", "heat"),
    [
        ({}, 0),
        ({"temperature": 0.0, "beam": 5}, 0),
        ({"top_k": 5}, 1),
        ({"top_p": 0.9}, 1),
        ({"temperature": 2}, 2),
    ],
)
def test_the_temperature_that_holds(settings, heat):
    assert Strategy(**settings).heat == heat


def test_the_keywords_of_the_verbs_are_the_settings():
    assert {"temperature", *Choice.__annotations__} == set(Strategy.__dataclass_fields__)
