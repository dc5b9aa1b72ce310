"""Encoding, decoding, interpolating and the ways of choosing words, on a real run."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

import aecore

SENTENCES = (
    "the old teacher smiled in the school\nthis nurse cried in the castle\n"
    "the farmers will be patient near the hotel\n"
)


@pytest.fixture
def file(cli, tmp_path):
    (tmp_path / "f.txt").write_text(SENTENCES)
    return "f.txt"


@pytest.mark.verify
def test_encode_and_decode_in_a_pipe_are_reconstruct(run, tmp_path):
    (tmp_path / "f.txt").write_text(SENTENCES)
    command = f"{sys.executable} -m aecore_cli"
    script = f"{command} encode '{run}' f.txt --device cpu | {command} decode '{run}' --device cpu"
    piped = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert piped.stdout.splitlines() == aecore.load(run, "cpu").reconstruct(SENTENCES.splitlines())


def test_codes_are_a_line_each_that_brings_every_float_back(cli, run, file):
    said = cli("encode", run, file, "--device", "cpu")
    codes = aecore.load(run, "cpu").encode(SENTENCES.splitlines())
    lines = [[float(number) for number in line.split("\t")] for line in said.out.splitlines()]
    assert torch.equal(torch.tensor(lines), codes)
    assert json.loads(cli("encode", run, file, "--json").out) == codes.tolist()


@pytest.mark.parametrize("name", ["c.npy", "c.safetensors", "c.tsv"])
def test_codes_go_through_files(cli, run, file, name):
    said = cli("encode", run, file, "--out", name)
    assert said.out == ""
    assert said.err == f"{name}: 3 codes of 8 numbers\n"
    pairs = json.loads(cli("reconstruct", run, file, "--json").out)
    assert json.loads(cli("decode", run, name, "--json").out) == [
        pair["reconstruction"] for pair in pairs
    ]


def test_encode_takes_the_test_split_unless_told(cli, run):
    assert len(cli("encode", run, "-n", "2").out.splitlines()) == 2


def test_codes_of_another_size_are_refused(cli, run, tmp_path):
    (tmp_path / "c.tsv").write_text("1\t2\n")
    said = cli("decode", run, "c.tsv")
    assert said.code == 2
    assert (
        said.err
        == "error: the codes have the shape (1, 2)\n  due: (N, 8), the latent size of the run\n"
    )


def test_decode_needs_codes(cli, run):
    said = cli("decode", run)
    assert said.code == 2
    assert "aecore encode RUN | aecore decode RUN" in said.err


def test_an_unknown_format_is_refused_before_any_work(cli, tmp_path):
    said = cli("encode", tmp_path / "no run", "--out", "c.pkl")
    assert said.code == 2
    assert said.err.startswith("error: 'c.pkl' has no known format")


def test_interpolate_goes_from_one_reconstruction_to_the_other(cli, run):
    ends = ["the old teacher smiled in the school", "this nurse cried in the castle"]
    lines = cli("interpolate", run, *ends, "--steps", "4").out.splitlines()
    assert len(lines) == 4
    assert [lines[0], lines[-1]] == aecore.load(run, "cpu").reconstruct(ends)
    said = cli("interpolate", run, *ends, "--steps", "1")
    assert said.code == 2
    assert "--steps" in said.err


def test_an_empty_sentence_is_refused(cli, run):
    said = cli("interpolate", run, "the nurse smiled in the school", " ")
    assert said.code == 2
    assert "sentence 2 is empty" in said.err


@pytest.mark.parametrize(
    "verb", [("sample",), ("reconstruct",), ("interpolate", "a", "the school"), ("decode", "c.tsv")]
)
def test_the_verbs_that_decode_choose_words_alike(cli, run, tmp_path, verb):
    (tmp_path / "c.tsv").write_text("\t".join("12345678") + "\n")
    verb, *words = verb
    drawn = [
        cli(verb, run, *words, "--top-p", "0.95", "--seed", seed, "--max-length", "9").out
        for seed in "011"
    ]
    assert drawn[1] == drawn[2] != drawn[0]
    assert cli(verb, run, *words, "--beam", "3", "--max-length", "4").code == 0
    said = cli(verb, run, *words, "--beam", "3", "--temperature", "0.5")
    assert said.code == 2
    assert said.err.startswith("error: beam = 3 and temperature = 0.5 exclude each other")


def test_the_flags_are_checked_before_the_run_is_looked_for(cli, tmp_path):
    said = cli("sample", tmp_path / "no run", "--top-p", "1.5")
    assert said.code == 2
    assert said.err == "error: top_p = 1.5 is out of range\n  due: above 0, at most 1\n"


def test_python_takes_the_same_settings(run):
    found = aecore.load(run, "cpu")
    assert found.sample(4, temperature=0.9, top_k=20, seed=3) == found.sample(4, 0.9, 3, top_k=20)
    assert found.sample(4, 0.9, 3, top_k=20, max_length=2) != found.sample(
        4, 0.9, 4, top_k=20, max_length=2
    )
    assert (
        len(
            found.interpolate(
                "the nurse smiled in the school", "these women are calm in the museum", 3, beam=2
            )
        )
        == 3
    )


def test_codes_answer_to_lines_or_are_refused(cli, run, tmp_path):
    file = tmp_path / "sentences.txt"
    file.write_text("the old teacher smiled\n\nthis nurse cried\n")
    said = cli("encode", run, file)
    assert (said.code, said.out) == (2, "")
    assert "a code is due for every line" in said.err
    assert "1 empty line dropped (line 2)" in said.err
    assert cli("reconstruct", run, file).code == 0


def test_json_is_no_sentence(cli, run, tmp_path):
    file = tmp_path / "sentences.jsonl"
    file.write_text('{"text": "the old teacher smiled"}\n')
    for verb in ("encode", "reconstruct"):
        said = cli(verb, run, file)
        assert said.code == 2
        assert "is JSON, and a sentence a line is due" in said.err


def test_sentences_are_any_iterable_but_no_string(run):
    import aecore
    from aecore.errors import DataError

    found = aecore.load(run)
    lines = ["the old teacher smiled", "this nurse cried"]
    assert found.encode(line for line in lines).equal(found.encode(lines))
    with pytest.raises(DataError, match="a string came"):
        found.encode("hello")


def test_sentences_are_cut_where_the_corpus_was(run, monkeypatch):
    found = aecore.load(run, "cpu")
    limits = []
    monkeypatch.setattr(
        "aecore.run.decode", lambda model, vocabulary, z, strategy: limits.append(strategy)
    )
    found.sample(2)
    found.sample(2, max_length=7)
    assert [strategy.max_length for strategy in limits] == [200, 7]
