"""What a person sees when a command fails, and its exit code; all failures come here."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import typer
from typer.exceptions import TyperException

from aecore.errors import AecoreError, Stopped

#: As a shell reports a process that the signal ended.
PIPE_CLOSED = 128 + signal.SIGPIPE
INTERRUPTED = 128 + signal.SIGINT


def guarded(action: Callable[[], None], debug: bool) -> int:
    """Do it, and turn whatever it raises into a message on stderr and an exit code."""
    try:
        action()
        sys.stdout.flush()
    except typer.Exit as stop:
        return stop.exit_code
    except BrokenPipeError:
        _abandon_output()
        return PIPE_CLOSED
    except (Exception, KeyboardInterrupt) as error:
        if debug and not isinstance(error, TyperException):
            traceback.print_exc()
        code, message = explain(error)
        if "RANK" in os.environ and not _tells(error):
            return code
        with suppress(BrokenPipeError):
            print(message, file=sys.stderr, flush=True)
        _flush_or_drop()
        return code
    return 0


def _tells(error: BaseException) -> bool:
    """Of processes that torchrun started, one says what went wrong."""
    from aecore.distributed import tells

    return tells(error)


def _flush_or_drop() -> None:
    """Write out what was printed before the failure, unless that cannot be written either."""
    try:
        sys.stdout.flush()
    except OSError:
        _abandon_output()


def explain(error: BaseException) -> tuple[int, str]:
    """The exit code and the text for a failure."""
    match error:
        case Stopped():
            return error.exit_code, str(error)
        case AecoreError():
            return error.exit_code, f"error: {error}"
        case TyperException():
            return 2, _misuse(error)
        case KeyboardInterrupt():
            return INTERRUPTED, "interrupted"
        case OSError():
            return 2, f"error: {_system_reason(error)}"
    if _is_memory(error):
        return (
            2,
            f"error: out of memory: {_first_line(error)}\n"
            f"  try: a smaller train.batch_size or evaluate.batch_size",
        )
    shown = f"{type(error).__name__}: {_first_line(error)}"
    return 1, f"bug: {shown} (not your mistake; --debug shows the traceback)"


def _misuse(error: TyperException) -> str:
    """A word on the command line that no command knows or takes."""
    text = error.format_message()
    context = getattr(error, "ctx", None)
    where = f"\n  see: {context.command_path} --help" if context is not None else ""
    return f"error: {text[:1].lower()}{text[1:]}{where}"


def _system_reason(error: OSError) -> str:
    names = [f"'{name}'" for name in (error.filename, error.filename2) if name is not None]
    return (
        f"{' and '.join(names)}: {error.strerror or error}"
        if names
        else str(error.strerror or error)
    )


def _is_memory(error: BaseException) -> bool:
    """Python's MemoryError, torch's on a GPU, and its plain RuntimeError on a CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else "no message"


def _abandon_output() -> None:
    """Point both outputs at nothing, so that Python's last flush has nobody to disappoint."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Show Python's warnings as ``warning: text``, without source lines."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
