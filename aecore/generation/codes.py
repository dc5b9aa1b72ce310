"""Codes in files and pipes: a line of numbers each, .npy or .safetensors; never a pickle."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from aecore.errors import ConfigError, DataError
from aecore.geometry import Space
from aecore.runs.files import write_atomic

#: The tensor's name in a .safetensors file.
NAME = "codes"
SUFFIXES = (".npy", ".safetensors", ".tsv")
#: What rounding, in a file with few digits, may have moved a code out of its latent space.
SLACK = 1e-3


def check_suffix(path: Path) -> None:
    """Refuse a file name that says nothing about its format; done before any work."""
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f"'{path}' has no known format", f"due: a name that ends in {', '.join(SUFFIXES)}"
        )


def write_codes(path: Path, codes: Tensor) -> None:
    """Write codes (N, D) in the format that the name of the file says, whole or not at all.

    Raises:
        ConfigError: for another name.
        RunError: when the file cannot be written.
    """
    check_suffix(path)
    if path.suffix == ".safetensors":
        write_atomic(path, save_safetensors({NAME: codes.contiguous()}))
    elif path.suffix == ".npy":
        file = io.BytesIO()
        np.save(file, codes.numpy(), allow_pickle=False)
        write_atomic(path, file.getvalue())
    else:
        write_atomic(path, "".join(f"{line}\n" for line in code_lines(codes)).encode())


def code_lines(codes: Tensor) -> Iterator[str]:
    """A line per code (D,): nine digits bring every float32 back as it was."""
    return ("\t".join(f"{value:.9g}" for value in row) for row in codes.tolist())


def read_codes(path: Path) -> Tensor:
    """(N, D): the codes of a file; names that end neither in .npy nor .safetensors hold lines.

    Raises:
        DataError: for a file that cannot be read or holds something else.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"'{path}' cannot be read", f"reason: {error.strerror or error}") from error
    if path.suffix == ".npy":
        return _checked(_from_npy(path, data), str(path))
    if path.suffix == ".safetensors":
        return _checked(_from_safetensors(path, data), str(path))
    return parse_codes(data.splitlines(), str(path))


def parse_codes(lines: Iterable[bytes], source: str) -> Tensor:
    """(N, D): a code a line, numbers with white space between; ``source`` is named in errors.

    Raises:
        DataError: for a line that is no code, lines of different lengths, or no line.
    """
    rows = [_row(line, number, source) for number, line in enumerate(lines, start=1)]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            counts = f"line {number:,} has {len(row)} numbers, line 1 has {len(rows[0])}"
            raise DataError(f"{source}: {counts}", "due: a code a line, all of one length")
    return _checked(torch.tensor(rows), source)


def _row(line: bytes, number: int, source: str) -> list[float]:
    words = line.split()
    try:
        row = [float(word) for word in words]
    except ValueError:
        row = []
    if not row:
        shown = line[:40].decode(errors="replace").strip()
        raise DataError(
            f"{source}: line {number:,} is no code: '{shown}'",
            "due: numbers with tabs between, as aecore encode prints them",
        )
    return row


def _from_npy(path: Path, data: bytes) -> Tensor:
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
            raise ValueError(f"it holds {getattr(found, 'dtype', 'several arrays')}, not numbers")
    except (ValueError, EOFError, OSError) as error:
        raise DataError(
            f"'{path}' holds no codes", f"reason: {error}", "due: an array of numbers, (N, D)"
        ) from error
    return torch.from_numpy(found.astype(np.float32))


def _from_safetensors(path: Path, data: bytes) -> Tensor:
    try:
        tensors = load_safetensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DataError(f"'{path}' is damaged", f"reason: {error}") from error
    if NAME not in tensors and len(tensors) != 1:
        shown = ", ".join(list(tensors)[:3]) + (
            f" and {len(tensors) - 3} more" if len(tensors) > 3 else ""
        )
        raise DataError(
            f"'{path}' holds no codes", f"tensors: {shown or 'none'}", f"due: one called '{NAME}'"
        )
    return tensors.get(NAME, next(iter(tensors.values())))


def _checked(codes: Tensor, source: str) -> Tensor:
    if codes.ndim != 2 or not len(codes):
        raise DataError(
            f"'{source}' holds no codes",
            f"shape: {tuple(codes.shape)}",
            "due: (N, D), a code a row",
        )
    lost = (~codes.isfinite().all(1)).nonzero()
    if len(lost):
        raise DataError(f"'{source}': the code in row {int(lost[0]) + 1:,} is not finite")
    return codes.float()


def on_space(space: Space, codes: Tensor) -> Tensor:
    """The codes (N, D), those that rounding has moved out of the latent space put back.

    Raises:
        DataError: for a code that lies farther out: its sentence would be that of another point.
    """
    off = space.off(codes)
    lost = (off > SLACK).nonzero()
    if len(lost):
        row = int(lost[0])
        raise DataError(
            f"the code in row {row + 1:,} does not lie in the latent space of the run, the "
            f"{space.name}",
            f"its norm is {float(codes[row].norm()):.4g}, {float(off[row]):.2g} off",
            "due: codes as aecore encode writes them, or points of the space",
        )
    return space.project(codes)
