"""Writing files so that a kill, a full disk or a second writer never leaves half of one."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aecore.errors import RunError

#: How the names of files end that are still being written.
TEMPORARY = ".part"


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON as every reader takes it: a number that is not finite becomes null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_atomic(path: Path, data: bytes) -> None:
    """Write the whole file under a temporary name, fsync it, and rename it into place.

    A symbolic link in its place is replaced, never followed; rights are those of the umask.

    Raises:
        RunError: when it cannot be written (disk full, no rights, size limit); what was there
            before is still there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")
    made = False
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        made = True
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if made:
            temporary.unlink(missing_ok=True)
        kept = (
            "the file that was there before is unchanged"
            if path.exists()
            else "nothing was written"
        )
        raise RunError(
            f"'{path}' could not be written", f"reason: {error.strerror or error}", kept
        ) from error


def append(path: Path, text: str) -> None:
    """Append text to a plain file.

    Raises:
        RunError: when it cannot be written, or is a symbolic link.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with os.fdopen(handle, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> RunError:
    """What a file of a run that cannot be written is told as."""
    if error.errno == errno.ELOOP:
        reason = "it is a symbolic link, and a run writes plain files only"
        return RunError(f"'{path}' could not be written", reason)
    return RunError(f"'{path}' could not be written", f"reason: {error.strerror or error}")


def truncate(path: Path, length: int) -> int:
    """Cut a plain file to ``length`` bytes, the checkpoint's, and return how many it has then.

    A file that is shorter, or gone, is left as it is: nothing is made up for what somebody removed.

    Raises:
        RunError: when it cannot be written, or is a symbolic link.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with os.fdopen(handle, "rb+") as file:
            kept = min(length, file.seek(0, os.SEEK_END))
            file.truncate(kept)
    except OSError as error:
        raise unwritable(path, error) from error
    return kept


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system drops when the process dies.

    Raises:
        RunError: when another process holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(
                f"another process is writing to the run '{folder}'", "wait for it, or stop it first"
            ) from None
        yield
    finally:
        os.close(handle)
