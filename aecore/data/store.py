"""Where the arrays of a corpus lie: in memory, or in files that are written and mapped."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import torch
from torch import Tensor

#: By the suffix of an array's name.
DTYPES = {".ids": torch.int32, ".bounds": torch.int64, ".labels": torch.int32, ".json": torch.uint8}
_PIECE = 2**20


class Store(Protocol):
    """Arrays by name: each is appended to, then closed with the others, then read as a tensor."""

    def append(self, name: str, values: Tensor | bytes) -> None:
        """Add values, all of one type for one name."""

    def close(self) -> None:
        """Nothing more comes."""

    def tensor(self, name: str) -> Tensor | None:
        """(size,): all values, or None where nothing of this name came."""


class MemoryStore:
    """Arrays in memory, for what is small."""

    def __init__(self) -> None:
        self._pieces: dict[str, list[Tensor]] = {}

    def append(self, name: str, values: Tensor | bytes) -> None:
        """Add a piece to the array ``name``."""
        piece = (
            values
            if isinstance(values, Tensor)
            else torch.from_numpy(np.frombuffer(values, np.uint8).copy())
        )
        self._pieces.setdefault(name, []).append(piece)

    def close(self) -> None:
        """End the writing."""
        pass

    def tensor(self, name: str) -> Tensor | None:
        """The array ``name``, or None where nothing was added to it."""
        return torch.cat(self._pieces[name]) if name in self._pieces else None


class FolderStore:
    """A file per array, native byte order, memory-mapped: reading it fills no private memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, BinaryIO] = {}

    def append(self, name: str, values: Tensor | bytes) -> None:
        """Add a piece to the array ``name``."""
        if name not in self._files:
            self._files[name] = (self.folder / name).open("wb")
        self._files[name].write(values.numpy().data if isinstance(values, Tensor) else values)

    def close(self) -> None:
        """End the writing."""
        try:
            for file in self._files.values():
                file.close()
        finally:
            self._files.clear()

    def tensor(self, name: str) -> Tensor | None:
        """The array ``name``, or None where nothing was added to it."""
        path = self.folder / name
        if not path.is_file():
            return None
        dtype = DTYPES[path.suffix]
        size = path.stat().st_size // dtype.itemsize
        # Not shared: what somebody writes into the tensor by mistake never reaches the file.
        return torch.from_file(str(path), shared=False, size=size, dtype=dtype)


def check(path: Path) -> str:
    """``SIZE:CRC-32`` of all of a file: against damage, not malice; 3 GB a second."""
    size = checksum = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            size, checksum = size + len(piece), zlib.crc32(piece, checksum)
    return f"{size}:{checksum:08x}"
