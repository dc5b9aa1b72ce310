"""What a corpus does to figures, said at the start of a run: unknown words, marks, size."""

import subprocess

import pytest

import aecore
from aecore.data import remarks
from aecore.progress import Silent

TINY = {"model.embedding": 4, "model.hidden": 6, "model.latent": 3, "train.device": "cpu"}


class Notes(Silent):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


def trained(tmp_path, test, known="a b c d e\n" * 40, **settings):
    for name, text in {"train": known + "f g\n", "valid": known, "test": test}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    notes = Notes()
    run = aecore.train(
        [],
        str(tmp_path),
        TINY | settings,
        max_steps=1,
        out=tmp_path / "run",
        overwrite=True,
        progress=notes,
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


@pytest.mark.parametrize("vocabulary", ["word", "char", "bpe"])
def test_none_is_not_worth_a_word(tmp_path, vocabulary):
    summary, said = trained(tmp_path, "a b c\n" * 10, **{"data.vocabulary": vocabulary})
    assert summary["unknown"] == 0
    assert "unknown" not in said


def test_text_without_spaces_is_shown_the_way_to_characters(tmp_path):
    known, test = "春眠不覺曉\n處處聞啼鳥\n" * 20, "夜來風雨聲\n花落知多少\n不覺聞鳥\n"
    summary, said = trained(tmp_path, test, known)
    assert summary["unknown"] == 3
    assert "for text without spaces between words: --set data.vocabulary=char" in said
    summary, said = trained(tmp_path, test, known, **{"data.vocabulary": "char"})
    assert (summary["unknown"], summary["tokens"]) == (10, 14 + 3)
    assert "unknown characters: 0.0% of train, 0.0% of valid, 71.4% of test" in said
    assert "data.vocabulary=char" not in said


def test_marks_of_other_tools_are_said_with_a_way_out_that_works(tmp_path):
    known = "<s> a b </s>\n[CLS] c d <|endoftext|>\n" * 20
    _, said = trained(tmp_path, "<s> a d </s>\n", known)
    assert "'</s>' in 100%" in said
    assert "'[CLS]' in 50%" in said
    command = next(line for line in said.splitlines() if line.startswith("  try: sed")).strip()
    subprocess.run(command.removeprefix("try: "), shell=True, check=True, cwd=tmp_path)
    lines = (tmp_path / "train.txt").read_text().splitlines()
    assert {line.strip() for line in lines} == {"a b", "c d", "f g"}


def test_a_mark_in_one_sentence_of_many_is_text(tmp_path):
    _, said = trained(tmp_path, "a b\n" * 200 + "the [CLS] token\n")
    assert "marks" not in said


def test_a_large_vocabulary_is_said_before_it_costs(monkeypatch, tmp_path):
    monkeypatch.setattr(remarks, "LARGE", 8)
    _, said = trained(tmp_path, "a b\n")
    assert "warning: each of 11 words has a row of embeddings" in said
    _, said = trained(tmp_path, "a b\n", **{"data.vocabulary_size": 8})
    assert "embeddings" not in said
