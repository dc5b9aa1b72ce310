"""Whole files or none, one writer at a time, and folders that are never overwritten by mistake."""

import os
import subprocess
import sys
import textwrap

import pytest

from aecore.errors import RunError
from aecore.runs.config import build_config
from aecore.runs.files import append, lock, truncate, write_atomic
from aecore.runs.folder import RunFolder


def python(code, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


# write_atomic


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "a.bin"
    for data in (b"one", b"", b"three" * 1000):
        write_atomic(path, data)
        assert path.read_bytes() == data
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]
    assert path.stat().st_mode & 0o777 == 0o644


LIMITED = """
    import resource, sys
    from pathlib import Path
    from aecore.errors import RunError
    from aecore.runs.files import write_atomic
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    try:
        write_atomic(Path(sys.argv[1]), b"new" * 1000)
    except RunError as error:
        print(error)
        sys.exit(3)
"""


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    done = python(LIMITED, path)
    assert done.returncode == 3, done.stderr
    assert done.stdout == (
        f"'{path}' could not be written\n  reason: File too large\n"
        f"  the file that was there before is unchanged\n"
    )
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


def test_a_full_disk_leaves_nothing_where_nothing_was(tmp_path):
    done = python(LIMITED, tmp_path / "a.bin")
    assert done.returncode == 3, done.stderr
    assert "nothing was written" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(RunError, match="could not be written") as caught:
        write_atomic(tmp_path / "none" / "a", b"x")
    assert "reason: No such file or directory" in str(caught.value)


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"old")
    code = """
        import os, sys
        from pathlib import Path
        from aecore.runs import files
        files.os.replace = lambda *names: os.kill(os.getpid(), 9)
        files.write_atomic(Path(sys.argv[1]), b"new")
    """
    assert python(code, path).returncode == -9
    assert path.read_bytes() == b"old"
    left = [entry.name for entry in tmp_path.iterdir() if entry != path]
    assert len(left) == 1
    RunFolder(tmp_path).check_free(overwrite=True)
    RunFolder(tmp_path).sweep()
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.toml"]


def test_the_contents_are_on_the_disk_before_the_name(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, _n=name, _o=original: (calls.append(_n), _o(*a))[1]
        )
    write_atomic(tmp_path / "a", b"x")
    assert calls[:2] == ["fsync", "replace"]


# append and truncate


def test_lines_are_appended_and_cut_off_again(tmp_path):
    path = tmp_path / "m.jsonl"
    append(path, "ä\n")
    append(path, "two\n")
    assert path.read_text(encoding="utf-8") == "ä\ntwo\n"
    assert truncate(path, 3) == 3
    assert path.read_text(encoding="utf-8") == "ä\n"
    with pytest.raises(RunError, match="could not be written"):
        append(tmp_path / "none" / "m", "x")


def test_a_file_that_is_too_short_is_not_filled_with_zeros(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text("one\n")
    assert truncate(path, 100) == 4
    assert path.read_bytes() == b"one\n"


# lock


HOLD = """
    import sys
    from pathlib import Path
    from aecore.runs.files import lock
    with lock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
"""


def test_a_lock_is_held_against_other_processes_and_dies_with_its_own(tmp_path):
    code = [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path)]
    with subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError) as caught, lock(tmp_path):
            raise AssertionError("the lock was given twice")
        assert str(caught.value) == (
            f"another process is writing to the run '{tmp_path}'\n  wait for it, or stop it first"
        )
        holder.kill()
    with lock(tmp_path):
        pass


def test_a_lock_is_given_back(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), lock(tmp_path):
            raise ZeroDivisionError
    with lock(tmp_path), pytest.raises(RunError), lock(tmp_path):
        pass


# RunFolder


def test_a_new_folder_is_made_with_its_parents(tmp_path):
    assert RunFolder.create(tmp_path / "a" / "b", overwrite=False).path.is_dir()
    assert RunFolder.create(tmp_path / "a" / "b", overwrite=False)  # an empty folder may be used


def test_a_run_is_not_overwritten_unless_asked(tmp_path):
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(RunError) as caught:
        RunFolder.create(tmp_path, overwrite=False)
    assert str(caught.value) == (
        f"there is a run in '{tmp_path}' already\n"
        f"  to go on with it:  aecore resume {tmp_path}\n"
        "  to replace it:     --overwrite"
    )
    RunFolder.create(tmp_path, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_run_is_left_alone(tmp_path, overwrite):
    for name in "edcba":
        (tmp_path / f"{name}.txt").write_text("mine")
    with pytest.raises(RunError) as caught:
        RunFolder.create(tmp_path, overwrite)
    assert str(caught.value) == (
        f"'{tmp_path}' holds files but no run, and is left alone\n"
        "  found: a.txt, b.txt, c.txt, d.txt, ...\n"
        "  choose another --out"
    )
    with pytest.raises(RunError, match="is a file; a run is a folder"):
        RunFolder.create(tmp_path / "a.txt", overwrite)


def test_a_folder_under_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        RunFolder.create(tmp_path / "file" / "run", overwrite=False)


def test_leftovers_of_killed_writers_are_no_run_and_nobodys_files(tmp_path):
    (tmp_path / ".config.toml.abc123.part").write_text("")
    RunFolder.create(tmp_path, overwrite=False)


def test_clearing_removes_the_run_and_nothing_else(tmp_path):
    folder = RunFolder(tmp_path)
    for file in folder.files:
        file.write_text("x")
    (tmp_path / ".checkpoint.safetensors.ab.part").write_text("x")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".config.toml.swp").write_text("an editor's")
    folder.clear()
    assert {entry.name for entry in tmp_path.iterdir()} == {"notes.txt", ".config.toml.swp"}


def test_opening_what_is_no_run(tmp_path):
    with pytest.raises(RunError) as caught:
        RunFolder.open(tmp_path / "none")
    assert caught.value.what == f"there is no run '{tmp_path / 'none'}'"
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"is no run: it has no config\.toml"):
        RunFolder.open(tmp_path / "empty")
    runs = []
    for age, name in enumerate(["old", "mid", "new", "newest"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").write_text("")
        os.utime(tmp_path / name / "config.toml", (age + 1, age + 1))
        runs.append(str(tmp_path / name))
    with pytest.raises(RunError) as caught:
        RunFolder.open(tmp_path / "none")
    assert caught.value.evidence == (f"runs here: {', '.join([runs[3], runs[2], runs[1]])}",)


def test_a_configuration_is_written_and_read(tmp_path):
    folder, config = RunFolder(tmp_path), build_config(None, {}, {"betavae.beta": 0.1}, ["betavae"])
    folder.write_config(config)
    assert RunFolder.open(tmp_path).read_config() == config


@pytest.mark.parametrize("text", ["[train", "[train]\nepochs = 0", "data = 1", "[plugins]\nx = 1"])
def test_a_configuration_that_was_spoilt(tmp_path, text):
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(RunError, match=r"config\.toml"):
        RunFolder.open(tmp_path).read_config()
