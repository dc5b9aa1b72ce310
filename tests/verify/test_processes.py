"""Two processes that torchrun starts: they are one, they stop together, and go on in any number."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from aecore.catalogue import Catalogue
from aecore.runs.checkpoint import load_tensors
from aecore.testing import Subject
from aecore.testing.halves import TOLERANCE, steps_of
from aecore.testing.lab import double, laboratory

pytestmark = pytest.mark.verify

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
TRAIN = [
    *("train", "--plugin", "controlvae", "--data", "toy[:2000]", "--epochs", "5"),
    *("--set", "train.checkpoint_seconds=0.3"),
]


def started(processes, *words, cwd):
    """A command line in so many processes."""
    several = [*TORCHRUN, str(processes), "-m", "aecore_cli"]
    command = several if processes > 1 else [sys.executable, "-m", "aecore_cli"]
    return subprocess.Popen(
        [*command, *map(str, words)],
        env=ENVIRONMENT,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(processes, *words, cwd):
    process = started(processes, *words, cwd=cwd)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out, err


def children(process):
    """The numbers of the processes that torchrun started, by rank."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(re.search(r"PPid:\s*(\d+)", (entry / "status").read_text())[1])
            variables = (entry / "environ").read_bytes().split(b"\0")
        except (OSError, TypeError):
            continue
        ranks = [one for one in variables if one.startswith(b"RANK=")]
        if parent == process.pid and ranks:
            found[int(ranks[0][5:])] = int(entry.name)
    return found


def wait_for_checkpoint(path, process, steps=20):
    for _ in range(1200):
        if process.poll() is not None:
            return
        metrics = path / "metrics.jsonl"
        if metrics.is_file() and metrics.read_text().count("\n") >= 2:
            return
        time.sleep(0.05)


STEPS = """
import sys
import torch
from aecore.catalogue import Catalogue
from aecore.distributed import joined
from aecore.testing import Subject
from aecore.testing.halves import steps_of
from aecore.testing.lab import double, laboratory

names = [name for name in Catalogue.discover().entries]
found = {}
with joined(torch.device("cpu")):
    for name in names:
        subject = Subject.defaults() if name == "vae" else Subject.installed(name)
        with laboratory("halves"), double():
            found[name] = steps_of(subject)
    from aecore import ranks
    torch.save(found, f"{sys.argv[1]}/rank{ranks.rank()}.pt")
"""


def test_two_processes_are_one_for_every_plugin(tmp_path):
    script = tmp_path / "steps.py"
    script.write_text(textwrap.dedent(STEPS))
    command = [*TORCHRUN, "2", str(script), str(tmp_path)]
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, timeout=400)
    halves = [torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1)]
    names = list(Catalogue.discover().entries)
    assert list(halves[0]) == names
    for name in names:
        subject = Subject.defaults() if name == "vae" else Subject.installed(name)
        with laboratory("halves"), double():
            whole = steps_of(subject)
        for half in halves:
            assert len(half[name]) == len(whole) > 0
            for (where, loss, gradients), (_, other, others) in zip(whole, half[name], strict=True):
                assert abs(loss - other) <= TOLERANCE * max(1.0, abs(loss)), (name, where)
                norm = max(1.0, float(torch.stack([g.norm() for g in gradients.values()]).norm()))
                assert gradients.keys() == others.keys(), (name, where)
                for key, value in gradients.items():
                    assert float((value - others[key]).norm()) <= TOLERANCE * norm, (name, key)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two processes that nobody disturbed."""
    path = tmp_path_factory.mktemp("whole")
    out, err = finished(2, *TRAIN, "--out", "run", cwd=path)
    assert out.count("split  sentences") == 1  # the first process alone prints
    assert "2 processes share each batch" in err
    return path / "run"


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_is_killed_stops_all_and_all_go_on(whole, tmp_path, rank):
    path = tmp_path / "run"
    process = started(2, *TRAIN, "--out", path, cwd=tmp_path)
    wait_for_checkpoint(path, process)
    os.kill(children(process)[rank], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert err.count("another process of this run has ended, so this one stops") == 1
    _, meta = load_tensors(path / "checkpoint.safetensors")  # it is whole
    assert 0 < meta["state"]["loop"]["step"] < 5 * 63
    out, err = finished(2, "resume", path, cwd=tmp_path)
    assert "not bit for bit" not in err
    for name in ("model.safetensors", "tokenizer.json"):
        assert (path / name).read_bytes() == (whole / name).read_bytes(), name
    assert out.count("split  sentences") == 1


def test_sigterm_stops_all_after_the_same_step_and_one_goes_on(whole, tmp_path):
    path = tmp_path / "run"
    process = started(2, *TRAIN, "--out", path, cwd=tmp_path)
    wait_for_checkpoint(path, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert err.count("the checkpoint is written") == 1
    _, err = finished(1, "resume", path, cwd=tmp_path)
    assert "not bit for bit (processes: 2 then, 1 now)" in err
    kept, other = (load_tensors(one / "model.safetensors")[0] for one in (path, whole))
    assert kept.keys() == other.keys()
    assert any(not torch.equal(kept[name], other[name]) for name in kept)


def test_a_mistake_is_told_once(tmp_path):
    process = started(2, "train", "--plugin", "controlva", cwd=tmp_path)
    _, err = process.communicate(timeout=120)
    assert err.count("error: no plugin is called 'controlva'") == 1
    assert "ProcessGone" not in err
