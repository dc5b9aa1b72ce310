"""SIGKILL, SIGTERM, Ctrl-C and a full disk, done to real processes."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from aecore.runs.checkpoint import load_tensors

pytestmark = pytest.mark.verify

TRAIN = [
    "train",
    "--plugin",
    "controlvae",
    "--data",
    "toy[:2000]",
    "--epochs",
    "6",
    "--set",
    "train.checkpoint_seconds=0.3",
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def aecore(*arguments, **options):
    command = [sys.executable, "-m", "aecore_cli", *map(str, arguments)]
    return subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finished(*arguments, **options):
    process = aecore(*arguments, **options)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def wait_for_steps(path, process):
    """Until the run has taken steps: the first line of metrics.jsonl."""
    for _ in range(600):
        if process.poll() is not None or (path.is_file() and path.stat().st_size > 0):
            return
        time.sleep(0.1)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("kills") / "reference"
    code, _, err = finished(*TRAIN, "--out", path)
    assert code == 0, err
    return path


def test_ten_kills_at_random_moments_change_no_byte(reference, tmp_path):
    path, draw = tmp_path / "run", random.Random(os.getpid())
    arguments, kills = [*TRAIN, "--out", path], 0
    while kills < 10:
        process = aecore(*arguments)
        try:
            process.communicate(timeout=draw.uniform(1.0, 5.0))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
        if (path / "config.toml").is_file():
            arguments = ["resume", path]
    # on a slow machine every kill may come before the run exists
    code, _, err = finished(*arguments)
    assert code == 0, err
    assert kills >= 3, "the run ended before it could be killed"
    assert (path / "model.safetensors").read_bytes() == (
        reference / "model.safetensors"
    ).read_bytes()
    assert (path / "summary.json").read_bytes() == (reference / "summary.json").read_bytes()
    assert not list(path.glob(".*")), "a killed writer's temporary was left behind"


PRETRAIN = [
    *("train", "--plugin", "ae_pretrain", "--plugin", "annealing", "--plugin", "free_bits"),
    *(
        "--data",
        "toy[:2000]",
        "--epochs",
        "2",
        "--set",
        "ae_pretrain.epochs=10",
        "--set",
        "ae_pretrain.patience=10",
    ),
    *("--set", "annealing.warmup_epochs=1", "--set", "train.checkpoint_seconds=0.2"),
]


def where(path):
    """(number of the phase, steps done in it) of the checkpoint; none before there is one."""
    found = path / "checkpoint.safetensors"
    if not found.is_file():
        return (-1, 0)
    state = load_tensors(found)[1]["state"]
    return (state["loop"]["phase"], state["loop"]["step"])


def kill_behind(path, place, arguments):
    """Run until the checkpoint is at or behind a place, and a moment longer; where it stood when
    SIGKILL came.
    """
    process = aecore(*arguments)
    for _ in range(2400):
        if process.poll() is not None or where(path) >= place:
            break
        time.sleep(0.05)
    time.sleep(random.Random(str(place)).uniform(0, 0.1))
    process.kill()
    process.communicate()
    return where(path)


def test_kills_inside_the_pretraining_change_no_byte(tmp_path):
    reference, path = tmp_path / "reference", tmp_path / "run"
    code, _, err = finished(*PRETRAIN, "--out", reference)
    assert code == 0, err
    arguments, killed = [*PRETRAIN, "--out", path], []
    for place in ((0, 10), (0, 150), (0, 350), (1, 5), (1, 70)):
        killed.append(kill_behind(path, place, arguments))
        arguments = ["resume", path]
    assert sum(phase == 0 and step > 0 for phase, step in killed) >= 2, killed
    code, _, err = finished(*arguments)
    assert code == 0, err
    for name in ("model.safetensors", "summary.json"):
        assert (path / name).read_bytes() == (reference / name).read_bytes(), name
    assert without_speed(path) == without_speed(reference)
    assert {row["stage"] for row in without_speed(path)} == {"autoencoder", "joint"}


def without_speed(path):
    """The lines of metrics.jsonl but for what the clock decides."""
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "tokens_per_s"} for row in rows]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_polite_stop_says_how_to_go_on(reference, tmp_path, number, code):
    path = tmp_path / "run"
    process = aecore(*TRAIN, "--out", path)
    wait_for_steps(path / "metrics.jsonl", process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"aecore resume {path}" in err
    assert "Traceback" not in err
    assert finished("resume", path)[0] == 0
    assert (path / "model.safetensors").read_bytes() == (
        reference / "model.safetensors"
    ).read_bytes()


def test_a_write_that_fails_half_way_keeps_the_last_checkpoint(reference, tmp_path):
    import resource

    path = tmp_path / "run"
    size = (reference / "checkpoint.safetensors").stat().st_size
    process = aecore(*TRAIN, "--out", path, "--max-steps", "100")
    process.communicate(timeout=300)
    before = (path / "checkpoint.safetensors").read_bytes()
    limit = (size // 2, size // 2)
    code, _, err = finished(
        "resume",
        path,
        "--max-steps",
        "150",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert code == 2
    assert "could not be written" in err
    assert "Traceback" not in err
    assert (path / "checkpoint.safetensors").read_bytes() == before
    assert not list(path.glob(".*"))
    code, _, err = finished("resume", path, "--max-steps", "150")
    assert code == 0, err
    assert json.loads((path / "summary.json").read_text())["steps"] == 150


def test_a_second_writer_is_refused(tmp_path):
    path = tmp_path / "run"
    process = aecore(*TRAIN, "--out", path)
    wait_for_steps(path / "metrics.jsonl", process)
    code, _, err = finished("resume", path)
    process.terminate()
    process.communicate(timeout=60)
    assert code == 2
    assert "another process is writing" in err
