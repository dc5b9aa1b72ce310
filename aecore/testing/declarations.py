"""Checks of what a plugin says about itself: its manifest, exceptions and settings."""

from __future__ import annotations

import tomllib
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from aecore.errors import AecoreError, ConfigError, closest
from aecore.plugin import PluginConfig, check_class
from aecore.runs.config import validate_settings
from aecore.testing.evidence import test_of
from aecore.testing.lab import build
from aecore.testing.listening import whole_run
from aecore.testing.registry import CHECKS, Case, promise
from aecore.testing.subject import Subject

UNKNOWN = "no_such_setting"


@promise()
def check_manifest_matches_class(case: Case) -> None:
    """The class implements the hooks that plugin.toml lists, and by default says what it says."""
    subject = case.subject
    check_class(subject.cls, subject.name, subject.source, subject.declared)
    refined = subject.manifest
    case.require(
        refined.hooks == subject.declared.hooks,
        "manifest(config) changes the hooks, which the class decides",
    )
    wrong = refined.contradictions()
    case.require(not wrong, "manifest(config) contradicts itself", *wrong)
    default = subject.cls.manifest(
        subject.declared, Subject(subject.name, subject.cls, subject.declared).config()
    )
    for field in type(default).model_fields:
        one, other = getattr(subject.declared, field), getattr(default, field)
        lines = (
            f"plugin.toml:       {one}",
            f"default settings:  {other}",
            "due: plugin.toml describes the default settings",
        )
        case.require(
            one == other, f"manifest(config) gives another '{field}' at default settings", *lines
        )


@promise()
def check_published_settings_are_settings(case: Case) -> None:
    """What plugin.toml calls the paper's settings are settings, and valid ones."""
    subject, wrong = case.subject, ""
    try:
        validate_settings(subject.cls.Config, subject.declared.published, subject.name)
    except ConfigError as error:
        wrong = "; ".join(error.evidence[:1])
    case.require(not wrong, f"[{subject.name}.published] in plugin.toml is not valid", wrong)


@promise()
def check_exceptions_are_known(case: Case) -> None:
    """Every exception of plugin.toml names a check of the kit."""
    known = [name for name in CHECKS if name != case.check]
    for name in case.subject.declared.exceptions:
        case.require(
            name in known,
            f"no check that can be excepted is called '{name}'.{closest(name, known)}",
        )
    case.require(
        bool(known), "the kit has no checks", "likely: aecore.testing was not imported as a whole"
    )


@promise()
def check_settings_round_trip(case: Case) -> None:
    """Settings are read back equal from config.toml, and None where it is allowed."""
    given = case.subject.config()
    case.subject.cls.Config.model_json_schema()
    _require_equal(case, given, "the settings")
    for name, field in type(given).model_fields.items():
        try:
            unset = type(given).model_validate({**given.model_dump(), name: None})
        except ValidationError:
            continue
        if getattr(unset, name) is None and field.default is not None:
            _require_equal(
                case,
                unset,
                f"{name} = None",
                "TOML has no None: what is unset gets the default back",
            )


def _require_equal(case: Case, settings: PluginConfig, what: str, *likely: str) -> None:
    text = tomli_w.dumps(settings.model_dump(exclude_none=True))
    try:
        found: object = validate_settings(type(settings), tomllib.loads(text), case.subject.name)
    except ConfigError as error:
        found = f"an error: {error}"
    lines = (
        f"written: {settings!r}",
        f"read:    {found}" if isinstance(found, str) else f"read:    {found!r}",
    )
    case.require(found == settings, f"config.toml loses {what}", *lines, *likely)


@promise()
def check_unknown_settings_are_refused(case: Case) -> None:
    """A misspelt setting is an error, in nested settings too."""
    given = case.subject.config()
    for path, schema in _schemas(given, case.subject.name):
        frozen, extra = schema.model_config.get("frozen"), schema.model_config.get("extra")
        due = (
            "due: derive the settings from PluginConfig, which forbids unknown names and is frozen"
        )
        case.require(
            extra == "forbid", f"the settings '{path}' accept unknown names", f"extra: {extra}", due
        )
        case.require(
            bool(frozen), f"the settings '{path}' can be changed", f"frozen: {frozen}", due
        )
    try:
        found = type(given).model_validate({**given.model_dump(), UNKNOWN: 1})
    except ValidationError:
        return
    case.fail(
        f"the unknown setting '{UNKNOWN}' is accepted",
        f"came: {found!r}",
        "likely: a validator that drops names",
    )


def _schemas(settings: BaseModel, path: str) -> list[tuple[str, type[BaseModel]]]:
    found = [(path, type(settings))]
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            found += _schemas(value, f"{path}.{name}")
    return found


@promise(owes=2)
def check_settings_never_change(case: Case) -> None:
    """Neither the constructor nor training changes the settings; state belongs into buffers."""
    name = case.subject.name
    given = case.subject.config().model_dump()
    _require_unchanged(case, given, build(case.subject).plugin(name).config, "the constructor")
    _require_unchanged(
        case, given, whole_run(case.subject).trainer.model.plugin(name).config, "training"
    )


def _require_unchanged(case: Case, given: dict[str, Any], config: PluginConfig, who: str) -> None:
    found = config.model_dump()
    apart = [
        f"{key}: {given.get(key)!r} before, {value!r} after"
        for key, value in found.items()
        if given.get(key) != value
    ]
    case.require(
        not apart,
        f"{who} changes the settings",
        *apart,
        "due: state is kept in buffers; self.config is only read",
    )


def _has_invariants(subject: Subject) -> str:
    return "" if subject.declared.invariants else "its manifest names no invariant"


@promise(_has_invariants)
def check_invariants_can_be_asked(case: Case) -> None:
    """Every invariant of the manifest names a function, and settings that the plugin has."""
    subject = case.subject
    for name, invariant in subject.declared.invariants.items():
        try:
            test = test_of(invariant)
        except AecoreError as error:
            case.fail(f"the invariant '{name}' cannot be asked", error.what, *error.evidence)
        case.require(callable(test), f"the test of the invariant '{name}' is no function")
        settings = {**subject.settings, **invariant.settings}
        validate_settings(subject.cls.Config, settings, subject.name)
