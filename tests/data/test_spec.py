"""What ``--data`` may say."""

import doctest

import pytest

from aecore.data import spec
from aecore.data.spec import DataSpec
from aecore.errors import ConfigError, DataError


def test_the_examples_in_the_docstrings_are_true():
    found = doctest.testmod(spec)
    assert found.attempted == 1
    assert found.failed == 0


@pytest.mark.parametrize(
    ("text", "source", "available", "used"),
    [
        ("toy", "toy", 8000, 8000),
        ("data/ptb", "data/ptb", 7, 7),
        ("data/ptb[:20%]", "data/ptb", 8000, 1600),
        ("ptb[:12.5%]", "ptb", 1000, 125),
        ("ptb[:29%]", "ptb", 100, 29),  # 0.29 * 100 is 28.999... in floating point
        ("ptb[:1%]", "ptb", 3, 1),  # never nothing
        ("ptb[:100%]", "ptb", 3, 3),
        ("ptb[:500]", "ptb", 42068, 500),
        ("ptb[:3]", "ptb", 3, 3),
        ("C:/with space/a:b[:2]", "C:/with space/a:b", 3, 2),
    ],
)
def test_source_and_share_of_the_training_split(text, source, available, used):
    parsed = DataSpec.parse(text)
    assert parsed.source == source
    assert parsed.size(available) == used
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "[:20%]",
        "ptb[20%]",
        "ptb[:20",
        "ptb[:]",
        "ptb[]",
        "ptb[5:]",
        "ptb[:-5]",
        "ptb[:1.5]",
        "ptb:20%]",
        "ptb[:5][:5]",
        "ptb[:٣]",
    ],
)
def test_other_forms_are_refused_with_the_good_ones(text):
    with pytest.raises(ConfigError) as caught:
        DataSpec.parse(text)
    assert str(caught.value).startswith(f"--data '{text}' cannot be read.\n  toy ")
    assert "FOLDER[:20%]" in str(caught.value)
    assert "FOLDER[:500]" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ptb[:0%]", "0% is not above 0% and at most 100%"),
        ("ptb[:120%]", "120% is not above 0% and at most 100%"),
        ("ptb[:0]", "no training sentence would be left"),
    ],
)
def test_a_size_out_of_range_says_why(text, why):
    with pytest.raises(ConfigError, match=why):
        DataSpec.parse(text)


def test_more_sentences_than_there_are():
    with pytest.raises(DataError) as caught:
        DataSpec.parse("ptb[:500]").size(100)
    assert (
        str(caught.value)
        == "'ptb[:500]' asks for 500 training sentences; there are 100.\n  for all of them: ptb"
    )
