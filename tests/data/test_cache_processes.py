"""The cache between processes: two that start at once, and one that is killed while it builds."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.verify
LOAD = """
import json, sys
from aecore.data.corpus import load_corpus
corpus = load_corpus(sys.argv[1], tell=lambda note: print(note, file=sys.stderr, flush=True))
print(json.dumps([corpus.fingerprint, corpus.train.tokens]))
"""


@pytest.fixture
def text(tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    lines = [
        " ".join(str(number * 7919 % 5003 + step) for step in range(12)) for number in range(1000)
    ]
    (folder / "train.txt").write_text("\n".join(lines * 300))
    for name in ("valid", "test"):
        (folder / f"{name}.txt").write_text("\n".join(lines[:10]))
    return folder


def start(text, tmp_path):
    environment = {**os.environ, "AECORE_CACHE": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LOAD, str(text)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def bytes_in_the_making(home):
    """How much the unfinished entries hold; a folder may get its name, and go, while one looks."""
    try:
        return sum(path.stat().st_size for path in home.glob(".*/*"))
    except FileNotFoundError:
        return 0


def test_two_that_start_at_once_build_once_and_agree(text, tmp_path):
    running = [start(text, tmp_path) for _ in range(3)]
    ended = [process.communicate(timeout=300) for process in running]
    assert {out for out, _ in ended} == {ended[0][0]}
    assert json.loads(ended[0][0])[1] == 300_000 * 13
    assert sum(" of text into the cache" in notes for _, notes in ended) <= 1
    assert len([path for path in (tmp_path / "home" / "data").iterdir() if path.is_dir()]) == 1


def test_a_build_that_is_killed_anywhere_is_done_again(text, tmp_path):
    home = tmp_path / "home" / "data"
    for written in (0, 1, 3_000_000):
        process = start(text, tmp_path)
        while process.poll() is None and bytes_in_the_making(home) < written:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    out, notes = start(text, tmp_path).communicate(timeout=300)
    assert json.loads(out)[1] == 300_000 * 13, notes
    assert "damaged" not in notes
    names = [path.name for path in home.iterdir()]
    assert not [name for name in names if name.startswith(".")]
    assert len(names) == 3  # the entry, its pointer, the lock
