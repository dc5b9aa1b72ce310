"""``aecore`` and ``python -m aecore_cli``."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

_ALONE = (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
)
if _ALONE:  # Ctrl-C while the program is still being read: nothing has begun, and nobody to say so
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import typer  # noqa: E402

from aecore_cli.app import app  # noqa: E402
from aecore_cli.failures import guarded, one_line_warnings  # noqa: E402
from aecore_cli.show import terminals  # noqa: E402

if _ALONE:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: What completion scripts set.
COMPLETE = "_AECORE_COMPLETE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, without the program's name; the exit code."""
    words, debug = _take_debug(sys.argv[1:] if arguments is None else arguments)
    with terminals(), one_line_warnings(), _first_speaks():
        _print_anything()
        return guarded(lambda: _invoke(words), debug)


@contextmanager
def _first_speaks() -> Iterator[None]:
    """Of the processes that torchrun started, the first alone prints results."""
    if os.environ.get("RANK", "0") == "0":
        yield
        return
    warnings.showwarning = lambda *_, **__: None  # given back by `one_line_warnings`
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield


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
