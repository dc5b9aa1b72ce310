"""Sentences and codes in, from a file, a pipe or the corpus; and out."""

from __future__ import annotations

import os
import stat
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from aecore.data.recipe import UNITS
from aecore.errors import DataError
from aecore_cli.show import note, print_json, title

if TYPE_CHECKING:
    from torch import Tensor

    from aecore.run import Run
    from aecore.transfer import Transfer

Pairs = list[tuple[str, str]]
STDIN = Path("-")


def sentences_for(run: Run, file: Path | None, n: int, rows: bool = False) -> list[str]:
    """The lines of a file or of standard input, else the first n sentences of test.

    Args:
        rows: whether what comes out has to answer to the lines, so that none may be dropped.

    Raises:
        DataError: for what is no text, or holds no sentence.
    """
    if file is None and not _piped():
        return first_sentences(run, n)
    from aecore.data.readers import read_file, sift
    from aecore.data.rows import Limit

    limit = Limit.under(run.config.data.max_length, run.vocabulary)
    if file is None or file == STDIN:
        text = sift(Path("standard input"), _standard_input(), limit)
    else:
        _require_lines(file)
        text = read_file(file, limit)
    if rows and text.report.dropped:
        raise DataError(
            "a code is due for every line, and some lines have none",
            *text.report.lines(),
            f"due: lines of 1 to {limit.most} {limit.unit}, in UTF-8",
        )
    for line in text.report.lines():
        note(f"warning: {line}")
    note_unknown(run, text.sentences)
    return text.sentences


def examples_in(run: Run, file: Path | None) -> list[str] | None:
    """The lines of a file of examples; None where none was named."""
    return None if file is None else sentences_for(run, file, 1)


def _require_lines(file: Path) -> None:
    if file.suffix == ".jsonl":
        raise DataError(
            f"'{file}' is JSON, and a sentence a line is due",
            f"try: python -c \"import json, sys; [print(json.loads(line)['text']) for line in "
            f"open('{file}')]\" > sentences.txt",
        )


def _standard_input(due: str = "sentences") -> BinaryIO:
    if sys.stdin is None:
        raise DataError("standard input is closed", f"due: {due} in a pipe, one a line, or a FILE")
    return sys.stdin.buffer


def codes_from(file: Path | None) -> Tensor:
    """(N, D): the codes in the file, or in the lines of standard input.

    Raises:
        DataError: for what holds no codes.
    """
    from aecore.data.readers import bounded_lines
    from aecore.generation.codes import parse_codes, read_codes

    if file is not None and file != STDIN:
        return read_codes(file)
    if file is None and not _piped():
        raise DataError(
            "there are no codes to decode",
            "due: a FILE, or a pipe: aecore encode RUN | aecore decode RUN",
        )
    return parse_codes(bounded_lines(_standard_input("codes")), "standard input")


def first_sentences(run: Run, n: int) -> list[str]:
    """The first n sentences of the test split, as the vocabulary knows them."""
    split = run.split("test").head(n)
    return [
        run.vocabulary.decode(split.flat[start:end])
        for start, end in pairwise(split.offsets.tolist())
    ]


def _piped() -> bool:
    """Whether standard input is a pipe or a file, not a terminal or /dev/null."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def note_unknown(run: Run, sentences: list[str]) -> None:
    """Say how many words of the sentences the run does not know."""
    unknown = run.unknown_words(sentences)
    if unknown:
        unit = UNITS[run.vocabulary.kind]
        words = f"{unit[:-1]} is" if unknown == 1 else f"{unit} are"
        note(f"note: {unknown:,} {words} not in the run's vocabulary and read as <unk>")


def print_reconstructions(pairs: Pairs, as_json: bool) -> None:
    """See `_print_pairs`."""
    _print_pairs(pairs, "reconstruction", as_json)


def print_transfers(sentences: list[str], found: Transfer, as_json: bool) -> None:
    """See `_print_pairs`; what plugins told of each sentence beside it, or in sum on stderr."""
    pairs = list(zip(sentences, found.sentences, strict=True))
    if not as_json:
        for name, values in found.told.items():
            note(f"{name}: {_spread(values)}")
        return _print_pairs(pairs, "transferred", as_json=False)
    told = {name: values.tolist() for name, values in found.told.items()}
    print_json(
        [
            {"sentence": one, "transferred": other, **{name: told[name][row] for name in told}}
            for row, (one, other) in enumerate(pairs)
        ]
    )


def _spread(values: Tensor) -> str:
    low, middle, high = (float(some) for some in (values.min(), values.median(), values.max()))
    return f"{low:.4g} to {high:.4g}, median {middle:.4g}"


def _print_pairs(pairs: Pairs, name: str, as_json: bool) -> None:
    """Objects, or pairs of lines on a terminal, or lines of two columns elsewhere."""
    if as_json:
        print_json([{"sentence": sentence, name: found} for sentence, found in pairs])
    elif sys.stdout.isatty():
        print("\n\n".join(f"{sentence}\n{title(found)}" for sentence, found in pairs))
    else:
        print("\n".join(f"{sentence}\t{found}" for sentence, found in pairs))


def print_sentences(sentences: list[str], as_json: bool) -> None:
    """A list, or a sentence a line."""
    if as_json:
        print_json(sentences)
    else:
        print("\n".join(sentences))


def print_codes(codes: Tensor, as_json: bool) -> None:
    """Lists of numbers, or a code a line with tabs between its numbers."""
    from aecore.generation.codes import code_lines

    if as_json:
        print_json(codes.tolist())
    else:
        print("\n".join(code_lines(codes)))
