"""The verbs on a run without a posterior."""

from __future__ import annotations

import pytest


def test_training_ends_without_reconstructions(trained_lm):
    _, said = trained_lm
    assert said.code == 0, said.err
    assert "samples from the prior" in said.out
    assert "reconstruct" not in said.out
    assert "exact: the decoder reads no latent" in said.out
    assert "collapsed" not in said.err
    assert "zero-element" not in said.err


@pytest.mark.parametrize("words", [("encode",), ("reconstruct",), ("interpolate", "a", "b"), ("decode", "codes.tsv")])
def test_verbs_that_need_codes_are_refused(cli, lm, tmp_path, words):
    (tmp_path / "codes.tsv").write_text("\t".join(["0"] * 8) + "\n")
    verb, *rest = words
    said = cli(verb, lm, *rest)
    assert said.code == 2
    assert said.out == ""
    assert f"error: the sentences of '{lm}' have no codes: 'lstm_lm' has no posterior" in said.err


def test_samples_are_drawn_unless_told_otherwise(cli, lm):
    drawn = cli("sample", lm, "-n", "5").out
    assert len(set(drawn.splitlines())) > 1
    assert drawn == cli("sample", lm, "-n", "5", "--temperature", "1").out
    assert len(set(cli("sample", lm, "-n", "5", "--temperature", "0").out.splitlines())) == 1
    assert len(set(cli("sample", lm, "-n", "5", "--beam", "2").out.splitlines())) == 1
