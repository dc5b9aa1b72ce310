"""Sentences from files: one a line, in UTF-8; what is dropped is counted and shown, never silently left out."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from aecore.data.vocabulary import words
from aecore.errors import DataError, closest

SPLITS = ("train", "valid", "test")
TOY = "toy"
_SHOWN_LINES = 5
_SHOWN_FILES = 8


@dataclass
class Fault:
    """The lines of a file dropped for one reason: how many, and the numbers of the first few."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, line: int) -> None:
        self.count += 1
        if len(self.first) < _SHOWN_LINES:
            self.first.append(line)

    def describe(self, reason: str) -> str:
        """``3 empty lines dropped (lines 4, 9, 12)``."""
        plural = "" if self.count == 1 else "s"
        more = f" and {self.count - len(self.first):,} more" if self.count > len(self.first) else ""
        return f"{self.count:,} {reason} line{plural} dropped (line{plural} {', '.join(map(str, self.first))}{more})"


@dataclass
class Report:
    """What became of the lines of one file: the sentences kept, and the lines dropped by reason."""

    file: str
    kept: int = 0
    dropped: dict[str, Fault] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """One readable line per reason; none where every line was kept."""
        return [f"{self.file}: {fault.describe(reason)}" for reason, fault in self.dropped.items()]


@dataclass(frozen=True)
class Text:
    """The sentences of one split, stripped of surrounding space, and the report on its file."""

    sentences: list[str]
    report: Report


def sift(path: Path, lines: Iterable[bytes], max_length: int) -> Text:
    """Keep the sentences of 1 to ``max_length`` words; ``path`` names the file in the report and in errors."""
    sentences: list[str] = []
    report = Report(path.name)
    for number, raw in enumerate(lines, start=1):
        if b"\0" in raw:
            raise _binary(path, f"line {number:,} holds a NUL byte")
        text, fault = _examine(raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw, max_length)
        if fault:
            report.dropped.setdefault(fault, Fault()).add(number)
        else:
            sentences.append(text)
    report.kept = len(sentences)
    _require_text(path, report)
    if not sentences:
        due = f"due: one sentence a line, of 1 to {max_length} words, in UTF-8"
        raise DataError(f"'{path}' holds no sentence.", *(report.lines() or ["it is empty"]), due)
    return Text(sentences, report)


def _examine(raw: bytes, max_length: int) -> tuple[str, str]:
    """The sentence of a line, and the reason to drop it or the empty string."""
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        return "", "non-UTF-8"
    if not text:
        return "", "empty"
    # Words are counted only where the characters allow for too many: n words need 2n - 1 of them.
    if len(text) >= 2 * max_length and len(words(text)) > max_length:
        return "", f"over-long (more than {max_length} words)"
    return text, ""


def _require_text(path: Path, report: Report) -> None:
    """Refuse a file in another encoding; ten bad lines are let pass, so that small files are not condemned by a few."""
    bad = report.dropped.get("non-UTF-8", Fault()).count
    total = report.kept + sum(fault.count for fault in report.dropped.values())
    if bad > min(total // 2, 10 + total // 10):
        raise _binary(path, f"{bad:,} of its {total:,} lines cannot be decoded")


def _binary(path: Path, why: str) -> DataError:
    return DataError(
        f"'{path}' is not a text file in UTF-8: {why}.",
        "due:    one sentence a line, in UTF-8",
        "likely: a binary or compressed file, or another encoding (iconv -f latin1 -t utf-8, iconv -f utf-16 -t utf-8)",
    )


def read_file(path: Path, max_length: int) -> Text:
    """The sentences of one file, streamed; lines end at a newline byte and at nothing else."""
    try:
        if path.is_dir():
            raise DataError(f"'{path}' is a folder; a text file was due.", "due: one sentence a line, in UTF-8")
        with path.open("rb") as lines:
            return sift(path, lines, max_length)
    except OSError as error:
        raise _unreadable(path, error) from error


def read_folder(folder: Path, max_length: int) -> dict[str, Text]:
    """The three splits of a folder, ``train.txt``, ``valid.txt`` and ``test.txt``; all are looked for before one is read."""
    try:
        _require_folder(folder)
        _require_splits(folder)
    except OSError as error:
        raise _unreadable(folder, error) from error
    return {split: read_file(folder / f"{split}.txt", max_length) for split in SPLITS}


def _require_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    if folder.exists():
        raise DataError(
            f"'{folder}' is a file; the folder that holds train.txt, valid.txt and test.txt was due.",
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


def _require_splits(folder: Path) -> None:
    found = sorted(entry.name for entry in folder.iterdir())
    due = [f"{split}.txt" for split in SPLITS]
    missing = [name for name in due if name not in found]
    if missing:
        others = [name for name in found if name not in due]
        shown = ", ".join(found[:_SHOWN_FILES]) or "nothing"
        more = f" and {len(found) - _SHOWN_FILES:,} more" if len(found) > _SHOWN_FILES else ""
        raise DataError(
            f"'{folder}' has no {' and no '.join(missing)}.{closest(missing[0], others)}",
            f"found: {shown}{more}",
            f"due:   {', '.join(due)}, one sentence a line",
        )


def _unreadable(path: Path, error: OSError) -> DataError:
    way_out = ("ask for the right to read it: chmod +r (and +x on folders)",) if isinstance(error, PermissionError) else ()
    return DataError(f"'{error.filename or path}' cannot be read: {error.strerror or error}.", *way_out)
