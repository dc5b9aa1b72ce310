"""``aecore`` and ``python -m aecore_cli``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from aecore_cli.app import app
from aecore_cli.failures import guarded, one_line_warnings

#: What completion scripts set.
COMPLETE = "_AECORE_COMPLETE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, without the program's name; the exit code."""
    words, debug = _take_debug(sys.argv[1:] if arguments is None else arguments)
    _print_anything()
    with one_line_warnings():
        return guarded(lambda: _invoke(words), debug)


def _invoke(words: list[str]) -> None:
    command = typer.main.get_command(app)
    if COMPLETE in os.environ:  # a shell asks how a word may go on
        try:
            command.main(words, prog_name="aecore")
        except SystemExit as end:
            raise typer.Exit(int(end.code or 0)) from None
    with command.make_context("aecore", words) as context:
        command.invoke(context)


def _take_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The words without ``--debug``, wherever it stood, and whether it was there."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    options = [word for word in arguments[:end] if word != "--debug"]
    return [*options, *arguments[end:]], len(options) < end


def _print_anything() -> None:
    """Let a terminal or pipe that is not UTF-8 show what it can instead of failing."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
