"""Plugins that say something untrue about themselves."""

from typing import Literal

import pytest
import torch
from pydantic import BaseModel, Field, field_validator, model_validator

from aecore import Plugin, PluginConfig, hookimpl
from aecore import testing as kit


class Halved(Plugin):
    @hookimpl
    def beta_schedule(self):
        return 0.5


def test_a_hook_that_the_manifest_does_not_list(fails):
    fails(
        kit.check_manifest_matches_class,
        Halved,
        """'halved' (test_declarations) differs from its plugin.toml
  implements: beta_schedule
  declares:   beta_schedule, extra_loss
  likely: a missing @hookimpl, or a hook that plugin.toml does not list""",
        hooks=["beta_schedule", "extra_loss"],
    )


class Refined(Halved):
    @classmethod
    def manifest(cls, declared, config):
        return declared.model_copy(update={"batching": "mixed"})


def test_a_manifest_that_the_default_settings_contradict(fails):
    fails(
        kit.check_manifest_matches_class,
        Refined,
        """manifest(config) gives another 'batching' at default settings
  plugin.toml:       bucketed
  default settings:  mixed
  due: plugin.toml describes the default settings""",
    )


def test_an_exception_for_a_check_that_does_not_exist(fails):
    fails(
        kit.check_exceptions_are_known,
        Halved,
        "no check that can be excepted is called 'check_shape'. Did you mean 'check_shapes'?",
        exceptions={"check_shape": "sentences are images here"},
    )


def test_the_exceptions_cannot_except_themselves(fails):
    fails(
        kit.check_exceptions_are_known,
        Halved,
        "no check that can be excepted is called 'check_exceptions_are_known'. Did you mean ...",
        exceptions={"check_exceptions_are_known": "so there"},
    )


class Schedule(Halved):
    class Config(PluginConfig):
        bounds: tuple[float, ...] = Field(
            (0.0, 1.0), strict=True, description="read back as a list, refused"
        )

        @field_validator("bounds", mode="before")
        @classmethod
        def _no_list(cls, value):
            if isinstance(value, list):
                raise ValueError("a tuple was due")
            return value


def test_settings_that_toml_cannot_say(fails):
    fails(
        kit.check_settings_round_trip,
        Schedule,
        """config.toml loses the settings
  written: Config(bounds=(0.0, 1.0))
  read:    an error: the settings of 'schedule' are not valid
    schedule.bounds = [0.0, 1.0]: a tuple was due
    see: aecore plugins info schedule""",
    )


class Unset(Halved):
    class Config(PluginConfig):
        target: float | None = Field(3.0, description="set point, nats; None for no control")


def test_a_none_that_comes_back_as_the_default(fails):
    fails(
        kit.check_settings_round_trip,
        Unset,
        """config.toml loses target = None
  written: Config(target=None)
  read:    Config(target=3.0)
  TOML has no None: what is unset gets the default back""",
    )


class Lax(Halved):
    class Config(PluginConfig, extra="ignore"):
        beta: float = 0.5


def test_settings_that_accept_anything(fails):
    fails(
        kit.check_unknown_settings_are_refused,
        Lax,
        """the settings 'lax' accept unknown names
  extra: ignore
  due: derive the settings from PluginConfig, which forbids unknown names and is frozen""",
    )


class Inner(BaseModel):
    steps: int = 1


class Nested(Halved):
    class Config(PluginConfig):
        critic: Inner = Inner()


def test_nested_settings_that_accept_anything(fails):
    fails(
        kit.check_unknown_settings_are_refused,
        Nested,
        """the settings 'nested.critic' accept unknown names
  extra: None
  due: derive the settings from PluginConfig, which forbids unknown names and is frozen""",
    )


class Dropping(Halved):
    class Config(PluginConfig):
        beta: float = 0.5

        @model_validator(mode="before")
        @classmethod
        def _known(cls, values):
            return {key: value for key, value in values.items() if key in cls.model_fields}


def test_a_validator_that_drops_what_it_does_not_know(fails):
    fails(
        kit.check_unknown_settings_are_refused,
        Dropping,
        """the unknown setting 'no_such_setting' is accepted
  came: Config(beta=0.5)
  likely: a validator that drops names""",
    )


class Replaced(Halved):
    class Config(PluginConfig):
        shape: Literal["linear", "logistic"] = "linear"

    def __init__(self, config, sizes):
        super().__init__(config.model_copy(update={"shape": "logistic"}), sizes)


def test_a_constructor_that_changes_the_settings(fails):
    fails(
        kit.check_settings_never_change,
        Replaced,
        """the constructor changes the settings
  shape: 'linear' before, 'logistic' after
  due: state is kept in buffers; self.config is only read""",
    )


class Appending(Plugin):
    class Config(PluginConfig):
        seen: list[float] = Field(default_factory=list)

    @hookimpl
    def beta_schedule(self, index):
        if index == 5:
            self.config.seen.append(1.0)
        return 0.5


def test_a_setting_that_serves_as_state(fails):
    fails(
        kit.check_settings_never_change,
        Appending,
        """training changes the settings
  seen: [] before, [1.0] after
  due: state is kept in buffers; self.config is only read""",
    )


class Raising(Plugin):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.scale = torch.zeros(2) + "two"

    @hookimpl
    def beta_schedule(self):
        return 0.5


def test_an_error_of_the_plugin_names_the_place(fails):
    fails(
        kit.check_settings_never_change,
        Raising,
        """'raising' (test_declarations) raised TypeError in its constructor: ...
  at: testing/test_declarations.py:<n>""",
    )


def test_published_settings_that_are_none(fails):
    fails(
        kit.check_published_settings_are_settings,
        Replaced,
        """[replaced.published] in plugin.toml is not valid
  replaced.shape = 'square': input should be 'linear' or 'logistic'""",
        published={"shape": "square"},
    )


@pytest.mark.parametrize(
    ("test", "lines"),
    [
        ("no_such_module:holds", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("math:holds", "AttributeError: module 'math' has no attribute 'holds'"),
    ],
)
def test_an_invariant_that_nobody_can_ask(fails, test, lines):
    fails(
        kit.check_invariants_can_be_asked,
        Halved,
        f"""the invariant 'holds' cannot be asked
  the test '{test}' of an invariant cannot be imported
  raised: {lines}""",
        invariants={"holds": {"says": "it holds", "test": test}},
    )


def test_an_invariant_with_a_setting_that_the_plugin_has_not(subject_of):
    invariants = {"holds": {"says": "it holds", "test": "math:sqrt", "settings": {"speed": 3}}}
    with pytest.raises(kit.CheckFailure, match=r"halved\.speed = 3"):
        kit.check_invariants_can_be_asked(subject_of(Halved, invariants=invariants))
