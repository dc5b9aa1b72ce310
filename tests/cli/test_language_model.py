"""The verbs on a run without a posterior, and such a run as the judge of another."""

from __future__ import annotations

import json

import pytest

import aecore


def test_training_ends_without_reconstructions(trained_lm):
    _, said = trained_lm
    assert said.code == 0, said.err
    assert "samples from the prior" in said.out
    assert "reconstruct" not in said.out
    assert "exact: the decoder reads no latent" in said.out
    assert "collapsed" not in said.err
    assert "zero-element" not in said.err


@pytest.mark.parametrize(
    "words", [("encode",), ("reconstruct",), ("interpolate", "a", "b"), ("decode", "codes.tsv")]
)
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


def test_a_judge_prints_its_figures(cli, lm, run):
    words = ("evaluate", run, "--judge", lm, "--limit", "8", "--iw-samples", "0", "--device", "cpu")
    found = json.loads(cli(*words, "--json").out)
    alone = json.loads(
        cli("evaluate", lm, "--limit", "8", "--iw-samples", "0", "--device", "cpu", "--json").out
    )
    # one corpus, one vocabulary
    assert found["judge_nll_sentences"] == pytest.approx(alone["nll_elbo"], abs=1e-5)
    assert found["judge_ppl_sentences"] == pytest.approx(alone["ppl_elbo"], rel=1e-5)
    assert found["judge_unknown_sentences"] == 0
    said = cli(*words)
    assert ["text", "judge_nll", "judge_ppl", "judge_unknown"] in [
        line.split() for line in said.out.splitlines()
    ]
    assert f"judge     exact, by the language model '{lm}'; 8 sentences" in said.out


def test_the_texts_are_as_many_as_asked_for(lm, run):
    texts = aecore.load(run, "cpu").texts("valid", 6)
    assert {name: len(sentences) for name, sentences in texts.items()} == {
        "samples": 6,
        "sentences": 6,
        "reconstructions": 6,
    }
    assert set(aecore.load(lm, "cpu").texts("test", 2)) == {"samples", "sentences"}


def test_a_bound_is_no_judge(cli, lm, run):
    said = cli("evaluate", lm, "--judge", run, "--limit", "2")
    assert said.code == 2
    assert said.out == ""
    assert f"error: '{run}' is no judge: its decoder reads a latent" in said.err
