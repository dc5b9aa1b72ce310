"""Everything wrong that a person can type: exit code 2, what and why on stderr, no traceback,
nothing written.
"""

from __future__ import annotations

import io

import pytest

TRAIN = {
    "plugin": (
        ["--plugin", "control-va"],
        ["no plugin is called 'control_va'", "Did you mean 'controlvae'?", "installed:"],
    ),
    "float": (["--set", "train.epochs=1.5"], ["train.epochs = 1.5", "integer"]),
    "type": (
        ["--plugin", "betavae", "--set", "betavae.beta=big"],
        ["betavae.beta = 'big'", "aecore plugins info betavae"],
    ),
    "range": (["--epochs", "0"], ["train.epochs = 0", "greater than or equal to 1"]),
    "unknown key": (["--set", "train.epoch=3"], ["train.epoch", "Did you mean 'epochs'?"]),
    "unknown plugin key": (
        ["--plugin", "betavae", "--set", "betavae.bet=3"],
        ["Did you mean 'beta'?"],
    ),
    "inactive plugin": (["--set", "betavae.beta=2"], ["no active plugin", "--plugin betavae"]),
    "no value": (["--set", "train.epochs"], ["'train.epochs' is no setting", "KEY=VALUE"]),
    "empty key": (["--set", "=3"], ["is no setting"]),
    "data": (["--data", "no/where"], ["there is no folder 'no/where'"]),
    "slice": (["--data", "toy[:120%]"], ["toy[:120%]"]),
    "config": (["--config", "none.toml"], ["there is no file 'none.toml'"]),
    "device": (["--device", "gpu"], ["'--device'", "auto, cpu, cuda"]),
    "markup": (["--plugin", "[red]x[/red]"], ["[red]x[/red]"]),
    "two owners": (
        ["--plugin", "betavae", "--plugin", "controlvae"],
        ["'betavae' and 'controlvae' both own beta_schedule"],
    ),
}


@pytest.mark.parametrize("case", TRAIN)
def test_train_refuses(cli, tmp_path, case):
    words, due = TRAIN[case]
    said = cli("train", *words, "--out", "r")
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    for text in due:
        assert text in said.err
    assert list(tmp_path.iterdir()) == []


def test_train_refuses_a_gpu_that_is_not_there(cli, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    said = cli("train", "--device", "cuda", "--out", "r")
    assert said.code == 2
    assert "the device 'cuda' is not there" in said.err
    assert "--device cpu" in said.err


def test_train_never_overwrites_unasked(cli, run):
    before = (run / "model.safetensors").read_bytes()
    said = cli("train", "--out", run)
    assert said.code == 2
    assert "there is a run" in said.err
    assert "--overwrite" in said.err
    assert (run / "model.safetensors").read_bytes() == before


def test_train_leaves_a_folder_of_other_files_alone(cli, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert cli("train", "--out", tmp_path, "--overwrite").code == 2
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_train_names_a_bad_configuration_file(cli, tmp_path):
    (tmp_path / "c.toml").write_text("[train]\nepochs = 'many'\n")
    said = cli("train", "--config", "c.toml")
    assert said.code == 2
    assert "train.epochs = 'many'" in said.err
    assert "c.toml" in said.err


@pytest.mark.parametrize("verb", ["resume", "evaluate", "sample", "reconstruct"])
def test_no_such_run(cli, verb):
    said = cli(verb, "nowhere")
    assert said.code == 2
    assert said.out == ""
    assert "there is no run 'nowhere'" in said.err


@pytest.mark.parametrize("verb", ["resume", "evaluate", "sample", "reconstruct"])
def test_a_folder_that_is_no_run(cli, tmp_path, verb):
    said = cli(verb, tmp_path)
    assert said.code == 2
    assert "is no run" in said.err


BAD_OPTIONS = [
    ("sample", "-n", "0"),
    ("sample", "-n", "many"),
    ("sample", "--temperature", "nan"),
    ("sample", "--temperature", "-1"),
    ("sample", "--temperature", "1e-30"),
    ("sample", "--device", "tpu"),
    ("sample", "--seed", "-1"),
    ("evaluate", "--limit", "0"),
    ("evaluate", "--iw-samples", "-1"),
    ("evaluate", "--split", "tset"),
    ("reconstruct", "-n", "0"),
    ("resume", "--max-steps", "1"),
    ("resume", "--epochs", "0"),
]


@pytest.mark.parametrize("words", BAD_OPTIONS, ids=" ".join)
def test_bad_options_of_the_other_verbs(cli, run, words):
    verb, *options = words
    said = cli(verb, run, *options)
    assert said.code == 2, said
    assert said.out == ""
    assert said.err.startswith("error: ")


BINARY = b"\x7fELF\x00\x01\x02\n\x00\x00"
FILES = {
    "binary": BINARY,
    "utf-16": "a cat sat\n".encode("utf-16"),
    "latin-1": "été\n".encode("latin-1") * 20,
    "empty": b"",
    "blank": b"\n\n",
}


@pytest.mark.parametrize("kind", FILES)
def test_reconstruct_refuses_a_file_that_is_no_text(cli, run, tmp_path, kind):
    (tmp_path / "f.txt").write_bytes(FILES[kind])
    said = cli("reconstruct", run, "f.txt")
    assert said.code == 2
    assert said.out == ""
    assert "f.txt" in said.err


@pytest.mark.parametrize("kind", FILES)
def test_reconstruct_refuses_standard_input_that_is_no_text(cli, run, monkeypatch, kind):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(FILES[kind])))
    said = cli("reconstruct", run, "-")
    assert said.code == 2
    assert said.out == ""
    assert "standard input" in said.err


def test_reconstruct_with_standard_input_closed(cli, run):
    said = cli("reconstruct", run, "-")
    assert said.code == 2
    assert "standard input" in said.err


@pytest.mark.parametrize("file", ["missing.txt", "."])
def test_reconstruct_refuses_what_is_no_file(cli, run, file):
    said = cli("reconstruct", run, file)
    assert said.code == 2
    assert "error: '" in said.err
