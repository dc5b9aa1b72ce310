"""docs/manifest.md: every word of plugin.toml, written from the schema."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aecore.manifest import GIVEN_BY, LEVELS, MEANINGS, Capabilities, Invariant, Manifest, Paper

HEAD = """\
# plugin.toml

<!-- written from aecore/manifest.py by make registry -->

What a plugin is, gives and needs, as data: it is read without importing the plugin, so that
`aecore plugins list` needs no torch and a composition is decided before anything is built. The file
lies beside the module, with one table per entry point of the group `aecore.plugins`, under its
name. Unknown words, and words that contradict the class, are errors. A class method
`manifest(declared, config)` may refine the table by settings.

```toml
[capacity]
summary = "The KL divergence is held at a capacity"
api = ">=1,<2"
hooks = ["kl_penalty"]

[capacity.requires]
kl = "sentence"
kl_gradient = ["encoder"]
```
"""
INVARIANTS = """
### `invariants`

```toml
[controlvae.invariants.settles]
says = "after 600 toy steps the KL is within 0.5 nats of the target"
test = "aecore_controlvae.invariants:settles"
```

"""
WORDS = """
## Capabilities

The words of `provides` and `requires`. Each belongs to a hook: whoever owns the hook gives it, and
no other plugin may; what nobody gives is that of the defaults. Levels of `posterior`, `prior` and
`kl` are ordered, lowest first, and `requires` names the least that will do; of a list, `requires`
names what must be in it; other words have to be equal.
"""


def page() -> str:
    """The whole page."""
    capabilities = [_capability(word) for word in Capabilities.model_fields]
    choices = [
        _choice(name) for name in Manifest.model_fields if name in MEANINGS and name not in LEVELS
    ]
    parts = [HEAD, "\n## The table\n\n", _table(Manifest)]
    parts += ["\n### `paper`\n\n", _table(Paper), INVARIANTS, _table(Invariant)]
    parts += [*choices, WORDS, *capabilities]
    return "".join(parts)


def _table(schema: type[BaseModel]) -> str:
    rows = ["| word | default | |", "|---|---|---|"]
    rows += [
        f"| `{name}` | {_default(field)} | {field.description} |"
        for name, field in schema.model_fields.items()
    ]
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    return f"`{value}`" if value and isinstance(value, str) else "-"


def _choice(name: str) -> str:
    return f"\n### `{name}`\n\n{_levels(name, Manifest.model_fields[name])}"


def _capability(word: str) -> str:
    field = Capabilities.model_fields[word]
    owners = " or ".join(f"`{hook}`" for hook in GIVEN_BY[word])
    return (
        f"\n### `{word}`\n\n"
        f"{str(field.description).capitalize()}. Given by the owner of {owners}.\n\n"
        f"{_levels(word, field)}"
    )


def _levels(word: str, field: FieldInfo) -> str:
    rows = ["| | |", "|---|---|"]
    rows += [f"| `{level}` | {MEANINGS[word][level]} |" for level in _choices(field.annotation)]
    return "\n".join(rows) + "\n"


def _choices(annotation: Any) -> list[str]:
    """The strings of a Literal, inside of unions and sets."""
    if get_origin(annotation) is Literal:
        return [str(level) for level in get_args(annotation)]
    return [level for inner in get_args(annotation) for level in _choices(inner)]
