"""The settings of the vocabulary, from ``--set`` to the run's corpus."""

import pytest

import aecore
from aecore.data.recipe import Recipe
from aecore.errors import ConfigError
from aecore.runs.config import build_config


def recipe(**settings):
    return build_config(
        None, {}, {f"data.{key}": value for key, value in settings.items()}, []
    ).data.recipe


@pytest.mark.parametrize(
    ("settings", "made"),
    [
        ({}, Recipe("word", 0, 1)),
        ({"vocabulary_size": 100, "min_count": 3}, Recipe("word", 100, 3)),
        ({"vocabulary": "bpe"}, Recipe("bpe", 8000)),
        ({"vocabulary": "char", "min_count": 2}, Recipe("char", 0, 2)),
        ({"vocabulary": "bpe", "vocabulary_size": 0}, Recipe("bpe", 8000)),
        ({"vocabulary": "bpe", "vocabulary_size": 300}, Recipe("bpe", 300)),
    ],
)
def test_settings_to_recipe(settings, made):
    assert recipe(**settings) == made


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"vocabulary": "sentencepiece"}, "'word', 'char' or 'bpe'"),
        (
            {"vocabulary": "bpe", "vocabulary_size": 200},
            "a bpe vocabulary has 260 entries at least",
        ),
        ({"vocabulary_size": 4}, "a word vocabulary has 5 entries at least"),
        ({"vocabulary": "bpe", "min_count": 2}, "min_count is for words and characters"),
        ({"vocabulary": "char", "vocabulary_size": 4}, "a char vocabulary has 5 entries at least"),
        ({"min_count": 0}, "greater than or equal to 1"),
        ({"vocabulary_size": -1}, "greater than or equal to 0"),
    ],
)
def test_settings_that_are_refused(settings, why):
    with pytest.raises(ConfigError, match=why):
        recipe(**settings)


def test_a_run_on_byte_pairs_keeps_its_vocabulary(tmp_path):
    lines = ["the waiter smiled in the hotel"] * 5 + ["the old nurse cried in the castle"]
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("\n".join(lines))
    settings = {
        "data.vocabulary": "bpe",
        "data.vocabulary_size": 300,
        "train.max_steps": 2,
        "train.device": "cpu",
    }
    settings |= {"model.sizes": "toy", "train.batch_size": 2}
    run = aecore.train([], str(tmp_path), settings, out=tmp_path / "run")
    assert run.config.data.recipe == Recipe("bpe", 300)
    again = aecore.load(tmp_path / "run", "cpu")
    assert 260 < len(again.vocabulary) <= 300
    assert again.split("train").tokens == sum(
        len(again.vocabulary.encode([line])[0]) + 1 for line in lines
    )
    assert len(again.reconstruct(lines[:1])) == 1
    assert aecore.resume(tmp_path / "run", max_steps=3, device="cpu").summary["steps"] == 3
