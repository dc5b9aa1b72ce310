"""Exit codes and messages of every kind of failure."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from aecore.errors import ConfigError, Stopped
from aecore_cli.failures import explain, guarded, one_line_warnings


class OutOfMemoryError(RuntimeError):
    """Called as torch's is."""


CASES = [
    (ConfigError("what", "evidence"), 2, "error: what\n  evidence"),
    (
        Stopped("stopped at step 3", "to go on", signal_number=signal.SIGTERM),
        143,
        "stopped at step 3\n  to go on",
    ),
    (KeyboardInterrupt(), 130, "interrupted"),
    (
        OSError(28, "No space left on device", "runs/a"),
        2,
        "error: 'runs/a': No space left on device",
    ),
    (OSError("odd"), 2, "error: odd"),
    (KeyError("x"), 1, "bug: KeyError: 'x' (not your mistake; --debug shows the traceback)"),
    (
        ValueError("one\n  two"),
        1,
        "bug: ValueError: one (not your mistake; --debug shows the traceback)",
    ),
    (
        AssertionError(),
        1,
        "bug: AssertionError: no message (not your mistake; --debug shows the traceback)",
    ),
]


@pytest.mark.parametrize(("error", "code", "text"), CASES, ids=lambda case: type(case).__name__)
def test_explained(error, code, text):
    assert explain(error) == (code, text)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory.\nTried"),
        RuntimeError("[enforce] DefaultCPUAllocator: no"),
    ],
)
def test_out_of_memory_says_what_to_make_smaller(error):
    code, text = explain(error)
    assert code == 2
    assert text.startswith("error: out of memory")
    assert "train.batch_size" in text


def boom():
    raise ConfigError("what")


def test_debug_shows_the_traceback_before_the_message(capsys):
    assert guarded(boom, debug=True) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("error: what\n")


def test_without_debug_there_is_none(capsys):
    assert guarded(boom, debug=False) == 2
    assert capsys.readouterr().err == "error: what\n"


@pytest.mark.parametrize(
    "words",
    [
        ("--debug", "evaluate", "nowhere"),
        ("evaluate", "nowhere", "--debug"),
        ("evaluate", "--debug", "nowhere"),
    ],
)
def test_debug_stands_anywhere(cli, words):
    said = cli(*words)
    assert said.code == 2
    assert "Traceback" in said.err
    assert "there is no run 'nowhere'" in said.err


def test_a_bug_is_called_one(cli, monkeypatch, run):
    monkeypatch.setattr("aecore.run.Run.sample", lambda *_, **__: {}["lost"])
    said = cli("sample", run)
    assert said.code == 1
    assert said.out == ""
    assert said.err == "bug: KeyError: 'lost' (not your mistake; --debug shows the traceback)\n"


def test_warnings_are_one_line(capsys):
    with one_line_warnings():
        warnings.warn("beta is\n  large", stacklevel=1)
    assert capsys.readouterr().err == "warning: beta is large\n"


def test_what_plugins_print_stays_off_stdout(cli, monkeypatch, run):
    monkeypatch.setattr(
        "aecore.run.Run.sample", lambda *_, **__: print("chatter") or ["a sentence"]
    )
    said = cli("sample", run, "--json")
    assert said.out == '[\n  "a sentence"\n]\n'
    assert "chatter" in said.err


def test_a_reader_that_leaves_is_no_error():
    program = (
        "import sys; from aecore_cli.__main__ import main; sys.stdin.read(); "
        "sys.exit(main(['plugins', 'list']))"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, stderr=-1)
    child.stdout.close()
    child.stdin.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait() == 141


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="a device that is always full is a thing of Linux"
)
def test_a_full_disk_under_stdout_is_said_in_one_line():
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "aecore_cli", "plugins", "list"]
        done = subprocess.run(words, stdout=full, stderr=-1, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: No space left on device\n"


@pytest.fixture
def training(tmp_path):
    """Starts trainings that would last for long, each in its own process and folder."""
    children = []

    def start(name):
        words = [
            "train",
            "--epochs",
            "500",
            "--set",
            "train.log_every=1",
            "--device",
            "cpu",
            "--out",
            str(tmp_path / name),
        ]
        children.append(
            subprocess.Popen(
                [sys.executable, "-m", "aecore_cli", *words], stdout=-1, stderr=-1, text=True
            )
        )
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()


@pytest.mark.verify
def test_a_signal_stops_the_training_with_a_checkpoint(tmp_path, training):
    expected = {"int": (signal.SIGINT, 130), "term": (signal.SIGTERM, 143)}
    children = {name: training(name) for name in expected}
    for name, (number, code) in expected.items():
        _wait_for_lines(tmp_path / name / "metrics.jsonl")
        children[name].send_signal(number)
        out, err = children[name].communicate(timeout=60)
        assert children[name].returncode == code
        assert out == ""
        assert f"to go on: aecore resume {tmp_path / name}" in err
        assert "Traceback" not in err


def _wait_for_lines(path):
    deadline = time.monotonic() + 60
    while not (path.is_file() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
