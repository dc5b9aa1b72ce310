"""plugin.toml: what a plugin is, says and needs, as data that is read without importing the plugin."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from aecore.errors import AecoreError, closest
from aecore.hookspec import API, HOOKS

Batching = Literal["bucketed", "mixed"]
KlGradient = Literal["encoder", "prior"]
ObjectiveGradient = Literal["encoder", "decoder"]

#: Capabilities with an order, lowest level first; ``requires`` names the least that will do.
LEVELS: dict[str, tuple[str, ...]] = {
    "posterior": ("none", "point", "sampled", "own_density", "density", "gaussian"),
    "prior": ("samples", "density", "standard"),
    "kl": ("penalty", "batch", "sentence", "dimension"),
}
#: A capability belongs to a hook: whoever owns one of these hooks gives it, and nobody else.
GIVEN_BY: dict[str, tuple[str, ...]] = {
    "posterior": ("posterior_sample",),
    "prior": ("prior_logprob",),
    "kl": ("kl_term",),
    "kl_estimator": ("kl_term",),
    "kl_gradient": ("kl_term",),
    "objective_gradient": ("objective",),
    "geometry": ("posterior_sample", "prior_logprob"),
}
#: Hooks that make sense only together.
TOGETHER: tuple[tuple[str, str], ...] = (("prior_logprob", "prior_sample"),)


class ManifestError(AecoreError):
    """A plugin.toml that is missing, unreadable or contradicts itself."""


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _known_hook(name: str) -> str:
    if name not in HOOKS:
        raise ValueError(f"no hook is called '{name}'.{closest(name, HOOKS)}")
    return name


def _api_range(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError(f"'{text}' is no range of API numbers, such as '>=1,<2'") from error
    return text


HookName = Annotated[str, AfterValidator(_known_hook)]
ApiRange = Annotated[str, AfterValidator(_api_range)]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Paper(_Data):
    """Where the method comes from."""

    title: str
    venue: str
    year: int
    url: str = ""


class Capabilities(_Data):
    """Words of the composition; None where nothing is said."""

    posterior: Literal["none", "point", "sampled", "own_density", "density", "gaussian"] | None = (
        None
    )
    prior: Literal["samples", "density", "standard"] | None = None
    kl: Literal["penalty", "batch", "sentence", "dimension"] | None = None
    kl_estimator: Literal["analytic", "monte-carlo", "dual", "constant", "penalty"] | None = None
    kl_gradient: frozenset[KlGradient] | None = None
    objective_gradient: frozenset[ObjectiveGradient] | None = None
    geometry: Literal["euclidean", "sphere", "ball"] | None = None

    def stated(self) -> dict[str, str | frozenset[str]]:
        """The words that are said, in the order of the class."""
        return {
            word: value
            for word in type(self).model_fields
            if (value := getattr(self, word)) is not None
        }


class Manifest(_Data):
    """One table of plugin.toml; ``Plugin.manifest(config)`` refines it by settings.

    ``published`` holds the settings that the paper ran with, where they are not the defaults: they
    stand in for these under ``train.recipe = published``. ``exceptions`` names the checks of the
    conformance kit that the method cannot pass, each with the reason.
    """

    summary: str
    api: ApiRange
    hooks: tuple[HookName, ...]
    paper: Paper | None = None
    provides: Capabilities = Field(default_factory=Capabilities)
    requires: Capabilities = Field(default_factory=Capabilities)
    batching: Batching = "bucketed"
    couples: Literal["training"] | None = None
    select_on: Literal["objective", "rec", "nll_elbo"] = "objective"
    published: dict[str, Any] = Field(default_factory=dict)
    exceptions: dict[str, Sentence] = Field(default_factory=dict)

    @property
    def compatible(self) -> bool:
        """Whether this core's API is in the plugin's range."""
        return SpecifierSet(self.api).contains(str(API))

    def contradictions(self) -> list[str]:
        """What is wrong with the manifest as a whole, a sentence each."""
        found = [
            f"hooks names {hook} more than once"
            for hook in sorted({h for h in self.hooks if self.hooks.count(h) > 1})
        ]
        stated = self.provides.stated()
        for word, hooks in GIVEN_BY.items():
            owns = any(hook in self.hooks for hook in hooks)
            if word in stated and not owns:
                found.append(
                    f"provides.{word} belongs to the owner of {' or '.join(hooks)}, which is not among its hooks"
                )
            if owns and word not in stated and word != "geometry":
                found.append(f"hooks names {hooks[0]}, so provides.{word} must say what it gives")
        kinds = (self.provides.kl, self.provides.kl_estimator)
        if None not in kinds and (kinds[0] == "penalty") != (kinds[1] == "penalty"):
            found.append(
                'provides.kl = "penalty" and provides.kl_estimator = "penalty" go together'
            )
        for one, other in TOGETHER:
            if (one in self.hooks) != (other in self.hooks):
                found.append(f"{one} and {other} are owned together")
        return found


def read_manifest(path: Path, name: str) -> Manifest:
    """The manifest of the plugin ``name`` in the file ``path``.

    Raises:
        ManifestError: when the file is missing or is no TOML, lacks the table, or breaks the
            schema.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError(f"'{name}' has no plugin.toml", f"looked for: {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ManifestError(
            f"the plugin.toml of '{name}' cannot be read", f"file: {path}", f"reason: {error}"
        ) from error
    if name not in tables:
        found = ", ".join(tables) or "none"
        raise ManifestError(
            f"plugin.toml has no table [{name}]", f"file: {path}", f"tables: {found}"
        )
    return parse_manifest(tables[name], name, str(path))


def parse_manifest(table: object, name: str, source: str) -> Manifest:
    """Validate one table; ``source`` is named in the error."""
    try:
        manifest = Manifest.model_validate(table)
    except ValidationError as error:
        raise ManifestError(
            f"the manifest of '{name}' is not valid", f"file: {source}", *validation_lines(error)
        ) from error
    wrong = manifest.contradictions()
    if wrong:
        raise ManifestError(
            f"the manifest of '{name}' contradicts itself", f"file: {source}", *wrong
        )
    return manifest


def validation_lines(error: ValidationError, prefix: str = "") -> list[str]:
    """A pydantic error as lines ``key = value: reason``."""
    lines = []
    for item in error.errors(include_url=False, include_context=False):
        key = (
            ".".join([*([prefix] if prefix else []), *(str(part) for part in item["loc"])]) or "it"
        )
        reason = item["msg"].removeprefix("Value error, ")
        shown = "" if item["type"] == "missing" else f" = {item['input']!r}"
        lines.append(f"{key}{shown}: {reason[:1].lower()}{reason[1:]}")
    return lines
