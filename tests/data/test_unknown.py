"""Unknown words: counted, said at the start of a run, and beside its figures."""

import pytest

import aecore
from aecore.progress import Silent

TINY = {"model.embedding": 4, "model.hidden": 6, "model.latent": 3, "train.device": "cpu"}


class Notes(Silent):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


def trained(tmp_path, test, **settings):
    known = "a b c d e\n" * 40
    for name, text in {"train": known + "f g\n", "valid": known, "test": test}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    notes = Notes()
    run = aecore.train(
        [], str(tmp_path), TINY | settings, max_steps=1, out=tmp_path / "run", progress=notes
    )
    return run.summary, "\n".join(notes.said)


def test_words_that_training_lacks_are_counted_and_said(tmp_path):
    summary, said = trained(tmp_path, "a b x y\n" * 10)
    assert (summary["unknown"], summary["tokens"]) == (20, 50)
    assert "unknown words: 0.0% of train, 0.0% of valid, 50.0% of test" in said
    assert "try: --set data.min_count=2" in said


def test_many_unknown_words_in_all_splits_read_low(tmp_path):
    summary, said = trained(tmp_path, "a b c d e\n" * 10, **{"data.vocabulary_size": 6})
    assert summary["unknown"] == 30
    assert "try: --set data.vocabulary=bpe" in said
    assert "perplexities read low" in said


@pytest.mark.parametrize("vocabulary", ["word", "bpe"])
def test_none_is_not_worth_a_word(tmp_path, vocabulary):
    summary, said = trained(tmp_path, "a b c\n" * 10, **{"data.vocabulary": vocabulary})
    assert summary["unknown"] == 0
    assert "unknown" not in said
