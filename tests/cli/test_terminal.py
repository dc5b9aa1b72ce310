"""What reaches a terminal, and what happens where an output is closed."""

import io
import subprocess
import sys

import pytest

from aecore_cli.show import Terminal, title, visible

PROGRAM = "import sys; from aecore_cli.__main__ import main; sys.exit(main(['plugins', 'list']))"


def test_control_characters_are_shown_and_not_obeyed():
    assert visible("a\x1b]0;mine\x07b\x9b2J\tc\n") == "a\\x1b]0;mine\\x07b\\x9b2J\tc\n"


def test_a_terminal_gets_its_own_bold_alone():
    stream = io.StringIO()
    Terminal(stream).write("\033[1mhead\033[0m \033[2J\033[31m\r")
    assert stream.getvalue() == "\033[1mhead\033[0m \\x1b[2J\\x1b[31m\\x0d"


def test_a_pipe_gets_the_bytes_as_they_are(capsys):
    print("a\x1b[2J")
    assert capsys.readouterr().out == "a\x1b[2J\n"
    assert title("plain") == "plain"


@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_output_is_no_error(closed):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import os, sys; os.close({closed}); "
            f"os.execv(sys.executable, [sys.executable, '-c', {PROGRAM!r}])",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert ("annealing" in done.stdout) == (closed == 2)
    assert "Traceback" not in done.stderr
