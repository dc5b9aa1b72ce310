"""Printing: results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

#: Seconds between two lines of `telling` where there is no terminal.
INTERVAL = 10.0
#: Words that a terminal shows in colour.
STYLES = {
    "ok": "green",
    "broken": "red",
    "duplicate": "red",
    "incompatible": "yellow",
    "not installed": "dim",
} | {
    "passed": "green",
    "failed": "red",
    "excepted": "yellow",
}


#: What a terminal would obey rather than show; a tab and a line's end are text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BOLD = re.compile(r"(\033\[[01]m)")


def visible(text: str) -> str:
    r"""Control characters as ``\x1b``: others' text may not title, clear or colour a terminal."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class Terminal:
    """A stream to a terminal, which makes control characters visible, all but those of `title`."""

    def __init__(self, stream: Any) -> None:
        self.raw = stream

    def write(self, text: str) -> int:
        """Write what can be shown."""
        pieces = _BOLD.split(text)  # every second one is bold, or its end
        shown = [piece if n % 2 else visible(piece) for n, piece in enumerate(pieces)]
        self.raw.write("".join(shown))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def raw(stream: Any) -> Any:
    """The stream itself, for what draws with control characters of its own."""
    return stream.raw if isinstance(stream, Terminal) else stream


@contextmanager
def terminals() -> Iterator[None]:
    """Both outputs in the block: there, if closed to nobody; and safe, where they are terminals."""
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nowhere:
        found = [nowhere if stream is None else stream for stream in before]
        safe: list[Any] = [Terminal(one) if one.isatty() else one for one in found]
        sys.stdout, sys.stderr = safe
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


@contextmanager
def working() -> Iterator[None]:
    """Keep stdout for results: what plugins print meanwhile goes to stderr."""
    with redirect_stdout(sys.stderr):
        yield


def print_json(value: Any) -> None:
    """One JSON document; numbers that JSON cannot hold become null."""
    print(json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = (), indent: str = ""
) -> None:
    """A table: folded to the width of a terminal, aligned and never cut elsewhere.

    Args:
        right: the heads of the columns that are aligned to the right.
    """
    if sys.stdout.isatty():
        _print_rich(heads, rows, right, indent)
        return
    sides = [head in right for head in heads]
    for line in aligned([heads, *rows], sides):
        print(f"{indent}{line}")


def aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Rows as lines of equal columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(_pad(*cell) for cell in zip(row, widths, right, strict=True)).rstrip()
        for row in rows
    ]


def _pad(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _print_rich(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str], indent: str
) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in heads:
        table.add_column(Text(head), justify="right" if head in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell), style=STYLES.get(cell, "")) for cell in row))
    Console(file=raw(sys.stdout), highlight=False).print(
        Padding(table, (0, 0, 0, len(indent)), expand=False)
    )


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """``name  value`` lines, aligned; lines of a value stand under each other."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        first, *others = value.split("\n")
        print(f"{name:<{width}}  {first}".rstrip())
        for line in others:
            print(f"{'':<{width}}  {line}")


def title(text: str) -> str:
    """Bold on a terminal."""
    return f"\033[1m{text}\033[0m" if _coloured() else text


def _coloured() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def shortened(text: str, indent: int) -> str:
    """A sentence cut to what fits on a line behind ``indent`` characters."""
    width = shutil.get_terminal_size((100, 24)).columns - indent
    return text if len(text) <= width else f"{text[: width - 3].rstrip()}..."


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """One line that is rewritten on a terminal; a line now and then elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console

        with Console(file=raw(sys.stderr), highlight=False).status("") as status:
            yield status.update
        return
    due = time.monotonic() + INTERVAL

    def sometimes(text: str) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + INTERVAL
            note(text)

    yield sometimes


def note(text: str) -> None:
    """A sentence on stderr."""
    print(text, file=sys.stderr)
