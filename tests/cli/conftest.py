"""The command line in this process, and one tiny run that the tests read."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from aecore_cli.__main__ import main

TINY = (
    "--set",
    "train.max_steps=3",
    "--set",
    "train.batch_size=8",
    "--set",
    "evaluate.iw_samples=5",
    "--device",
    "cpu",
)


@dataclass(frozen=True)
class Said:
    """What a command line did."""

    code: int
    out: str
    err: str


Cli = Callable[..., Said]


def say(*words: str | Path) -> Said:
    """Run a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(word) for word in words])
    return Said(code, out.getvalue(), err.getvalue())


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A command line in an empty folder, with a terminal as standard input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", None)
    return say


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """A finished run of three steps, and what its training printed."""
    path = tmp_path_factory.mktemp("cli") / "a run"
    return path, say("train", "--plugin", "controlvae", *TINY, "--out", path)


@pytest.fixture(scope="session")
def run(trained: tuple[Path, Said]) -> Path:
    """The folder of the finished run."""
    path, said = trained
    assert said.code == 0, said.err
    return path


@pytest.fixture(scope="session")
def trained_lm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """A finished run of a language model, and what its training printed."""
    path = tmp_path_factory.mktemp("cli-lm") / "lm"
    return path, say("train", "--plugin", "lstm_lm", *TINY, "--out", path)


@pytest.fixture(scope="session")
def lm(trained_lm: tuple[Path, Said]) -> Path:
    """The folder of the language model."""
    path, said = trained_lm
    assert said.code == 0, said.err
    return path
