"""A sweep leaves what is finished, goes on with what was begun, and tells what failed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import aecore
from aecore.errors import RunError
from aecore.executor import Outcome, RayCluster, called, outcome_of
from aecore.sweep.sweeping import groups, sweep

FILE = """
plugins = ["vae", "annealing"]
seeds = [0, 1]

[settings]
"train.max_steps" = {steps}
"train.batch_size" = 8
"train.device" = "cpu"
"model.embedding" = 4
"model.hidden" = 6
"model.latent" = 3
"evaluate.batch_size" = 500
"annealing.warmup_steps" = 2
"""


class Here:
    """An executor of this process."""

    def __init__(self):
        self.done = []

    def run(self, jobs):
        for job in jobs:
            self.done.append(job.name)
            yield outcome_of(job, called(job.function, job.arguments), 1)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(FILE.format(steps=3))
    return path


def test_what_is_finished_is_left_and_what_was_begun_goes_on(file, tmp_path):
    out, first, told = tmp_path / "runs", Here(), []
    results = sweep(file, first, out, lambda *found: told.append(found[1:]))
    names = ["vae-s0", "vae-s1", "annealing-s0", "annealing-s1"]
    assert [result.point.name for result in results] == first.done == names
    assert {result.state for result in results} == {"finished"}
    assert told == [(n, 4) for n in (1, 2, 3, 4)]
    assert [len(group) for group in groups(results).values()] == [2, 2]
    # the same run as by hand
    by_hand = dict(results[0].point.settings)
    alone = aecore.train([], "toy", by_hand, seed=0, out=tmp_path / "alone")
    files = [path / "model.safetensors" for path in (alone.path, out / "vae-s0")]
    assert files[0].read_bytes() == files[1].read_bytes()

    weights = (out / "annealing-s1" / "model.safetensors").read_bytes()
    (out / "annealing-s1" / "summary.json").unlink()
    (out / "annealing-s1" / "model.safetensors").unlink()
    for left in (out / "vae-s1").iterdir():
        left.unlink()
    (out / "vae-s1").rmdir()
    again = Here()
    results = sweep(file, again, out)
    assert again.done == ["vae-s1", "annealing-s1"]
    assert [result.attempts for result in results] == [0, 1, 0, 1]
    assert weights


def test_a_run_of_other_settings_is_not_taken_for_ones_own(file, tmp_path):
    out = tmp_path / "runs"
    sweep(file, Here(), out)
    file.write_text(FILE.format(steps=4))
    executor = Here()
    with pytest.raises(RunError, match="holds a run of other settings") as caught:
        sweep(file, executor, out)
    assert caught.value.evidence[0] == "train.max_steps: 3 there, 4 in the sweep"
    assert executor.done == []
    (tmp_path / "mine" / "vae-s0").mkdir(parents=True)
    (tmp_path / "mine" / "vae-s0" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds files but no run"):
        sweep(file, executor, tmp_path / "mine")


def test_what_fails_costs_no_other(file, tmp_path):
    class Broken(Here):
        def run(self, jobs):
            for outcome in super().run(jobs):
                if outcome.job.name == "vae-s1":
                    yield Outcome(outcome.job, error=RunError("it was lost", "so"), attempts=3)
                else:
                    yield outcome

    results = sweep(file, Broken(), tmp_path / "runs")
    assert [result.state for result in results] == ["finished", "failed", "finished", "finished"]
    assert (results[1].problem, results[1].attempts) == ("it was lost\n  so", 3)


@pytest.mark.verify
def test_a_local_ray_trains_what_processes_train(file, tmp_path):
    pytest.importorskip("ray")
    sweep(file, Here(), tmp_path / "here")
    results = sweep(file, RayCluster(2), tmp_path / "ray")
    assert {result.state for result in results} == {"finished"}
    for result in results:
        name = result.point.name
        one, other = (tmp_path / place / name / "model.safetensors" for place in ("here", "ray"))
        assert one.read_bytes() == other.read_bytes(), name


LONG = """
plugins = ["annealing", "betavae"]
[settings]
"train.epochs" = 6
"train.checkpoint_seconds" = 0.3
"""


def _sweeping(folder):
    command = [sys.executable, "-m", "aecore_cli", "sweep", "long.toml", "--workers", "2"]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that runs tests in the background has Ctrl-C ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _workers(process):
    """The processes below, that hold a run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status, line = (entry / name for name in ("status", "cmdline"))
            if f"PPid:\t{process.pid}\n" in status.read_text() and "spawn_main" in line.read_text():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _wait_for_steps(folder, names=("annealing-s0", "betavae-s0")):
    due = time.monotonic() + 60
    files = [folder / "runs" / "long" / name / "metrics.jsonl" for name in names]
    while time.monotonic() < due:
        if all(file.is_file() and file.stat().st_size > 500 for file in files):
            return
        time.sleep(0.1)


@pytest.mark.verify
def test_a_killed_worker_is_replaced_and_a_stopped_sweep_goes_on(tmp_path):
    (tmp_path / "long.toml").write_text(LONG)
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "long.toml").write_text(LONG)
    process = _sweeping(tmp_path / "whole")
    assert process.wait(300) == 0

    process = _sweeping(tmp_path)
    _wait_for_steps(tmp_path)
    os.kill(_workers(process)[0], signal.SIGKILL)  # given to another worker, which resumes it
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "of 2 runs; those under way wrote their checkpoints" in err
    process = _sweeping(tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.count("finished") == 2
    for name in ("annealing-s0", "betavae-s0"):
        one, other = (
            folder / "runs" / "long" / name / "model.safetensors"
            for folder in (tmp_path, tmp_path / "whole")
        )
        assert one.read_bytes() == other.read_bytes(), name
