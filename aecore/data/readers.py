"""Rows from files, streamed; what is dropped is counted and shown, never silently left out."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from aecore.data.recipe import SPLITS
from aecore.data.rows import Bad, JsonLines, Kind, Limit, Lines, Row, TextLines
from aecore.errors import DataError, closest

TOY = "toy"
FORMATS = (".txt", ".jsonl")
#: Of a longer line only so much is held in memory, and it is dropped.
LONGEST_LINE = 2**24
#: What other tools put around sentences.
MARKS = re.compile(r"</?s>|<[bes]os>|\[CLS\]|\[SEP\]|\[PAD\]|<pad>|<\|endoftext\|>", re.IGNORECASE)
_SHOWN_LINES = 5
_SHOWN_FILES = 8


@dataclass
class Fault:
    """The lines of a file dropped for one reason: how many, and the numbers of the first few."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, line: int) -> None:
        """Count one more, of which the first few are told by number."""
        self.count += 1
        if len(self.first) < _SHOWN_LINES:
            self.first.append(line)

    def describe(self, reason: str) -> str:
        """``3 empty lines dropped (lines 4, 9, 12)``."""
        plural = "" if self.count == 1 else "s"
        more = f" and {self.count - len(self.first):,} more" if self.count > len(self.first) else ""
        first = ", ".join(map(str, self.first))
        return f"{self.count:,} {reason} line{plural} dropped (line{plural} {first}{more})"


@dataclass
class Report:
    """What became of the lines of one file: the sentences kept, and the lines dropped by reason.

    Attributes:
        marked: how many of the sentences hold a mark of other tools, such as ``</s>``, by mark.
    """

    file: str
    kept: int = 0
    dropped: dict[str, Fault] = field(default_factory=dict)
    marked: dict[str, int] = field(default_factory=dict)

    def keep(self, text: str) -> None:
        """Count a sentence."""
        self.kept += 1
        if "<" in text or "[" in text:
            for mark in set(MARKS.findall(text)):
                self.marked[mark] = self.marked.get(mark, 0) + 1

    def lines(self) -> list[str]:
        """One readable line per reason; none where every line was kept."""
        return [f"{self.file}: {fault.describe(reason)}" for reason, fault in self.dropped.items()]


@dataclass(frozen=True)
class Text:
    """The sentences of one file, stripped of surrounding space, and the report on it."""

    sentences: list[str]
    report: Report


class Reading:
    """One pass over the good rows of a file; at its end ``report`` and ``lines.kind`` are complete.

    Args:
        path: names the file in the report and in errors.
        raw: its lines.
        lines: reads one of them.
        due: what a good line is, for the error where there is none.

    Raises:
        DataError: while rows are taken, for a file that is no text in UTF-8; at its end, where no
            row was good.
    """

    def __init__(self, path: Path, raw: Iterable[bytes], lines: Lines, due: str) -> None:
        self.report = Report(path.name)
        self.lines = lines
        self._path = path
        self._raw = raw
        self._due = due

    @property
    def kind(self) -> Kind:
        """What the rows are; "text" before the first one has been taken."""
        return self.lines.kind or "text"

    def __iter__(self) -> Iterator[Row]:
        for number, raw in enumerate(self._raw, start=1):
            if b"\0" in raw:
                raise _binary(self._path, f"line {number:,} holds a NUL byte")
            try:
                row = self.lines.read(
                    _decode(raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw)
                )
            except Bad as reason:
                self.report.dropped.setdefault(str(reason), Fault()).add(number)
            else:
                self.report.keep(row.text)
                yield row
        self._require_text()
        if not self.report.kept:
            shown = self.report.lines() or ["it is empty"]
            raise DataError(f"'{self._path}' holds no sentence.", *shown, f"due: {self._due}")

    def _require_text(self) -> None:
        """Refuse a file in another encoding; ten bad lines pass, for the sake of small files."""
        bad = self.report.dropped.get("non-UTF-8", Fault()).count
        total = self.report.kept + sum(fault.count for fault in self.report.dropped.values())
        if bad > min(total // 2, 10 + total // 10):
            raise _binary(self._path, f"{bad:,} of its {total:,} lines cannot be decoded")


def _decode(raw: bytes) -> str:
    if len(raw) >= LONGEST_LINE:
        raise Bad(f"over-long (more than {LONGEST_LINE // 2**20} MiB)")
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        raise Bad("non-UTF-8") from None
    if not text:
        raise Bad("empty")
    return text


def _binary(path: Path, why: str) -> DataError:
    return DataError(
        f"'{path}' is not a text file in UTF-8: {why}.",
        "due:    one sentence a line, in UTF-8",
        "likely: a binary or compressed file, or another encoding (iconv -f latin1 -t utf-8, iconv "
        "-f utf-16 -t utf-8)",
    )


@dataclass(frozen=True)
class Source:
    """One split, ready to be read as often as needed; ``path`` names it in reports and errors."""

    path: Path
    raw: Callable[[], Iterable[bytes]]
    json: bool = False

    @classmethod
    def file(cls, path: Path) -> Source:
        """A ``.txt`` or ``.jsonl`` file."""
        return cls(path, partial(_lines_of, path), path.suffix == ".jsonl")

    def read(self, limit: Limit, known: frozenset[str] | None = None) -> Reading:
        """A pass over the rows; ``known`` are the labels of train, and None lets any pass."""
        lines = JsonLines(limit, known) if self.json else TextLines(limit)
        kinds = 'one {"text"}, {"text", "label"} or {"source", "target"}'
        due = f"{kinds if self.json else 'one sentence'} a line, of 1 to {limit.most} {limit.unit}"
        return Reading(self.path, self.raw(), lines, f"{due}, in UTF-8")


def sift(path: Path, raw: Iterable[bytes], limit: Limit) -> Text:
    """Keep the sentences within ``limit``; ``path`` is the file that errors name."""
    reading = Source(path, lambda: raw).read(limit)
    return Text([row.text for row in reading], reading.report)


def read_file(path: Path, limit: Limit) -> Text:
    """The sentences of one text file; lines end at a newline byte and at nothing else."""
    return sift(path, _lines_of(path), limit)


def _lines_of(path: Path) -> Iterator[bytes]:
    try:
        if path.is_dir():
            raise DataError(
                f"'{path}' is a folder; a text file was due.", "due: one sentence a line, in UTF-8"
            )
        with path.open("rb") as file:
            yield from bounded_lines(file)
    except OSError as error:
        raise unreadable(path, error) from error


def bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, of an endless one only the beginning."""
    for raw in iter(partial(file.readline, LONGEST_LINE), b""):
        yield raw
        rest = raw
        while len(rest) == LONGEST_LINE and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST_LINE)


def find_splits(folder: Path) -> dict[str, Source]:
    """The files of a folder, train, valid and test as ``.txt`` or ``.jsonl``; nothing is read."""
    try:
        _require_folder(folder)
        found = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise unreadable(folder, error) from error
    due = {
        split: [f"{split}{suffix}" for suffix in FORMATS if f"{split}{suffix}" in found]
        for split in SPLITS
    }
    missing = [split for split, names in due.items() if not names]
    if missing:
        raise _incomplete(folder, found, missing)
    for names in due.values():
        if len(names) > 1:
            raise DataError(
                f"'{folder}' has both {' and '.join(names)}; one of the two was due.",
                "likely: one was made from the other; move one of them away",
            )
    return {split: Source.file(folder / names[0]) for split, names in due.items()}


def _require_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    if folder.exists():
        raise DataError(
            f"'{folder}' is a file; the folder that holds train.txt, valid.txt and test.txt was "
            f"due.",
            f"its folder: {folder.parent}",
        )
    raise DataError(
        f"there is no folder '{folder}'.{closest(folder.name, [*_folders_beside(folder), TOY])}",
        f"looked at: {folder.absolute()}",
        f"without files: --data {TOY} is built in",
    )


def _folders_beside(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.parent.iterdir() if entry.is_dir())
    except OSError:
        return []


def _incomplete(folder: Path, found: list[str], missing: list[str]) -> DataError:
    """The error for missing splits, in the format that most of the folder is in."""
    suffix = ".jsonl" if any(f"{split}.jsonl" in found for split in SPLITS) else ".txt"
    others = [
        name
        for name in found
        if name not in {f"{split}{end}" for split in SPLITS for end in FORMATS}
    ]
    shown = ", ".join(found[:_SHOWN_FILES]) or "nothing"
    more = f" and {len(found) - _SHOWN_FILES:,} more" if len(found) > _SHOWN_FILES else ""
    absent = " and no ".join(name + suffix for name in missing)
    return DataError(
        f"'{folder}' has no {absent}.{closest(missing[0] + suffix, others)}",
        f"found: {shown}{more}",
        "due:   train.txt, valid.txt, test.txt, one sentence a line; or train.jsonl, valid.jsonl, "
        "test.jsonl",
    )


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file or folder that the system does not let us read."""
    way_out = (
        ("ask for the right to read it: chmod +r (and +x on folders)",)
        if isinstance(error, PermissionError)
        else ()
    )
    return DataError(
        f"'{error.filename or path}' cannot be read: {error.strerror or error}.", *way_out
    )
