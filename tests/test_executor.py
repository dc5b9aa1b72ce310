"""Jobs on worker processes: results, errors, workers that die, a parent that is killed."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

HEAD = """
import os, signal, sys, time
from pathlib import Path

def double(x):
    return 2 * x

def fail(x):
    raise ValueError(f"not {x}")

def die_once(path):
    path = Path(path)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"

def die(_):
    os.kill(os.getpid(), signal.SIGKILL)

def die_later(_):
    import subprocess
    subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {os.getpid()}"])

def threads(_):
    import torch
    return torch.get_num_threads()

def refuse():
    from aecore.errors import PluginError
    raise PluginError("it broke", "so it did", plugin="x")

def sleep(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)
"""


def heed_ctrl_c():
    """In a new process: a shell that runs tests in the background has it ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def script(tmp_path):
    """Run a main program in a process of its own; its lines."""

    def run(body, wait=True):
        (tmp_path / "jobs.py").write_text(HEAD)
        file = tmp_path / "main.py"  # without a guard: workers are not to run it
        file.write_text(
            "from jobs import *\nfrom aecore.executor import Job, Processes\n"
            + textwrap.dedent(body)
        )
        process = subprocess.Popen(
            [sys.executable, str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_ctrl_c,
        )
        if not wait:
            return process
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert err == ""
        return out.splitlines()

    return run


def test_values_errors_and_deaths_are_outcomes(script, tmp_path):
    lines = script(f"""
    jobs = [Job("two", double, (1,)), Job("bad", fail, (3,)), Job("dead", die, (0,))]
    jobs += [Job("again", die_once, ({str(tmp_path / "flag")!r},)), Job("one", threads, (0,))]
    for found in sorted(Processes(2, retries=2).run(jobs), key=lambda found: found.job.name):
        print(found.job.name, found.value, str(found.error).split('\\n')[0], found.attempts)
    """)
    assert lines == [
        "again alive None 2",
        "bad None ValueError: not 3 1",
        "dead None the worker of 'dead' died, 3 times 3",
        "one 1 None 1",
        "two 2 None 1",
    ]


@pytest.mark.verify
def test_a_local_ray_of_two_workers_gives_the_same_outcomes(script, tmp_path):
    pytest.importorskip("ray")
    lines = script(f"""
    from aecore.executor import RayCluster
    jobs = [Job("two", double, (1,)), Job("bad", fail, (3,)), Job("dead", die, (0,))]
    jobs += [Job("again", die_once, ({str(tmp_path / "flag")!r},)), Job("one", threads, (0,))]
    for found in sorted(RayCluster(2, retries=2).run(jobs), key=lambda found: found.job.name):
        print(found.job.name, found.value, str(found.error).split('\\n')[0], found.attempts)
    """)
    told = [line for line in lines if "(raylet)" not in line]  # Ray speaks of the deaths itself
    assert told == [
        "again alive None 2",
        "bad None ValueError: not 3 1",
        "dead None the worker of 'dead' died, 3 times 3",
        "one 1 None 1",
        "two 2 None 1",
    ]


def test_errors_keep_their_evidence(script):
    lines = script("""
    (found,) = Processes(1).run([Job("x", refuse, ())])
    print(found.error.kind, found.error.what, found.error.evidence)
    """)
    assert lines == ["PluginError it broke ('so it did',)"]


def test_a_worker_that_dies_between_two_jobs_is_replaced(script):
    lines = script("""
    for found in Processes(1).run([Job("later", die_later, (0,)), Job("two", double, (1,))]):
        print(found.job.name, found.value, found.error, found.attempts)
        time.sleep(1)
    """)
    assert lines == ["later None None 1", "two 2 None 1"]


def test_no_jobs_need_no_worker(script):
    assert script("print(list(Processes(2).run([])))") == ["[]"]


def _ends(pid, seconds=20.0):
    due = time.monotonic() + seconds
    while time.monotonic() < due:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(script, tmp_path, number):
    flag = tmp_path / "pid"
    process = script(f"list(Processes(1).run([Job('long', sleep, ({str(flag)!r},))]))", wait=False)
    due = time.monotonic() + 60
    while not (flag.exists() and flag.read_text()) and time.monotonic() < due:
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(20) != 0
    assert _ends(int(flag.read_text()))
