"""Tensors and JSON in one safetensors file: byte-stable, checked on the way in, never pickled."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from aecore.errors import RunError
from aecore.runs.files import write_atomic

#: The only metadata key: with several, safetensors writes them in hash order and equal contents
#: give different files.
KEY = "aecore"


#: What a header that is none raises.
_WRONG = (struct.error, ValueError, KeyError, TypeError, AttributeError)


class _Foreign(Exception):
    """A whole safetensors file without a record of ours."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata as one file, with a SHA-256 of both inside.

    Raises:
        RunError: when the file cannot be written; what was there before is still there.
    """
    plain: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        ours = tensor.detach().cpu().contiguous()
        storage = ours.untyped_storage().data_ptr()
        # tied tensors: safetensors refuses shared memory
        plain[name] = ours.clone() if storage in storages else ours
        storages.add(storage)
    text = json.dumps(dict(meta), sort_keys=True)
    wrapped = json.dumps({"meta": json.loads(text), "sha256": digest(plain, text)}, sort_keys=True)
    write_atomic(path, save_safetensors(plain, metadata={KEY: wrapped}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the metadata of a file that `save_tensors` wrote.

    Raises:
        RunError: when the file is missing, truncated, altered, or none of ours.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"'{path}' cannot be read", f"reason: {error.strerror or error}") from error
    try:
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        if KEY not in (header.get("__metadata__") or {}) and load_safetensors(data):
            raise _Foreign
        wrapped = json.loads(header["__metadata__"][KEY])
        meta, due = wrapped["meta"], wrapped["sha256"]
        tensors = load_safetensors(data)
    except _Foreign:
        raise RunError(
            f"'{path}' is a safetensors file, but is damaged or none that aecore wrote",
            "due: the file as a run wrote it, whose header tells its run and its SHA-256",
        ) from None
    except (*_WRONG, SafetensorError) as error:
        raise RunError(
            f"'{path}' is damaged", f"reason: {error}", f"size: {len(data)} bytes"
        ) from error
    if digest(tensors, json.dumps(meta, sort_keys=True)) != due:
        raise RunError(
            f"'{path}' is damaged",
            "reason: the contents do not match their SHA-256: truncated or altered",
        )
    return tensors, meta


def digest(tensors: Mapping[str, Tensor], meta: str = "") -> str:
    """The SHA-256 of tensors with their names, and of a text, in hexadecimal."""
    found = hashlib.sha256(meta.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def check_fit(
    found: Mapping[str, Tensor], due: Mapping[str, Tensor], optional: bool = False
) -> None:
    """Hold tensors to the names, shapes and types of others.

    Args:
        optional: whether there may be none at all.

    Raises:
        ValueError: for the first that is missing, unknown or another.
    """
    if optional and not found:
        return
    for name in sorted({*found, *due}):
        if name not in found:
            raise ValueError(f"the tensor '{name}' is missing")
        if name not in due:
            raise ValueError(f"no tensor is called '{name}'")
        one, other = found[name], due[name]
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            shown = f"{tuple(one.shape)} {one.dtype}, due {tuple(other.shape)} {other.dtype}"
            raise ValueError(f"the tensor '{name}' is {shown}")


def sha256(text: str) -> str:
    """The SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def select(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with ``prefix``, under the rest of their name."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
