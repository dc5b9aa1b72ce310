"""Reading TOML, of configurations, manifests and registries: one reader, one kind of error."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

#: Bytes of a file that a person writes; a gigabyte is a mistake.
LARGEST = 4 << 20
#: Whole numbers beyond this are no setting of anything.
LARGEST_NUMBER = 2**53


def loads(text: str) -> dict[str, Any]:
    """The tables of a text.

    Raises:
        TOMLDecodeError: for what is no TOML, is nested without end, or holds numbers that nothing
            can be set to.
    """
    try:
        found = tomllib.loads(text)
        _check_numbers(found)
    except RecursionError:
        raise tomllib.TOMLDecodeError("it is nested too deeply") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # Python converts no integer of more than 4,300 digits
        raise tomllib.TOMLDecodeError(str(error).partition(";")[0]) from None
    return found


def _check_numbers(value: Any) -> None:
    if isinstance(value, dict):
        for item in value.values():
            _check_numbers(item)
    elif isinstance(value, list):
        for item in value:
            _check_numbers(item)
    elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise tomllib.TOMLDecodeError(f"a whole number lies beyond {LARGEST_NUMBER:,}")


def read(path: Path) -> dict[str, Any]:
    """The tables of a file.

    Raises:
        OSError: when it cannot be read.
        ValueError: when it is too large, no UTF-8 or no TOML.
    """
    if path.stat().st_size > LARGEST:
        raise tomllib.TOMLDecodeError(f"it is larger than {LARGEST >> 20} MiB")
    return loads(path.read_text(encoding="utf-8"))
