"""A plugin's settings as rows, from the JSON schema of its ``Config``."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

TYPES = {
    "number": "float",
    "integer": "int",
    "boolean": "bool",
    "string": "str",
    "array": "list",
    "object": "table",
}
BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


def read_settings(schema: type[BaseModel]) -> list[dict[str, Any]]:
    """Name, type, default, range and meaning of each setting."""
    described = schema.model_json_schema()
    required = set(described.get("required", ()))
    return [
        _setting(name, found, name in required)
        for name, found in described.get("properties", {}).items()
    ]


def _setting(name: str, schema: dict[str, Any], required: bool) -> dict[str, Any]:
    default = schema.get("default")
    return {
        "name": name,
        "type": _type(schema),
        "default": default,
        "default_text": "required" if required else _toml(default),
        "range": _range(schema),
        "description": schema.get("description", ""),
    }


def _choices(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [choice for choice in schema.get("anyOf", [schema]) if choice.get("type") != "null"]


def _type(schema: dict[str, Any]) -> str:
    names = [
        "table" if "$ref" in choice else TYPES.get(choice.get("type", "string"), "any")
        for choice in _choices(schema)
    ]
    return " or ".join(dict.fromkeys(names))


def _range(schema: dict[str, Any]) -> str:
    """``> 0, <= 1`` or ``dimension | batch``."""
    (choice, *_) = _choices(schema)
    if "enum" in choice or "const" in choice:
        return " | ".join(str(value) for value in choice.get("enum", [choice.get("const")]))
    return (
        ", ".join(f"{sign} {choice[bound]:g}" for bound, sign in BOUNDS.items() if bound in choice)
        or "-"
    )


def _toml(value: Any) -> str:
    """A default as one would type it behind ``--set``."""
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)
