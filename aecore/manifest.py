"""plugin.toml, the manifest: what a plugin gives and needs, read without importing it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from aecore import toml
from aecore.errors import AecoreError, closest
from aecore.hookspec import API, HOOKS

Batching = Literal["bucketed", "mixed"]
KlGradient = Literal["encoder", "prior"]
ObjectiveGradient = Literal["encoder", "decoder"]
Base = Literal["frozen", "trained"]
Data = Literal["labelled", "pairs"]

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
    "kl_gradient": ("kl_term", "objective"),
    "objective_gradient": ("objective",),
    "geometry": ("posterior_sample", "prior_logprob"),
}
#: What the levels of a word say, for docs/manifest.md.
MEANINGS: dict[str, dict[str, str]] = {
    "posterior": {
        "none": "no latent",
        "point": "a code without noise",
        "sampled": "draws alone: an implicit posterior",
        "own_density": "log q(z given x) at its own draws, as after an autoregressive flow",
        "density": "a `distribution` whose `log_prob` can be asked at any z",
        "gaussian": "a diagonal normal with `mean` and `stddev`; its owner asks `posterior_params`",
    },
    "prior": {
        "samples": "draws alone",
        "density": "log p(z) as well",
        "standard": "N(0, I)",
    },
    "kl": {
        "penalty": "no divergence: an MMD, an adversarial loss, 0; reported as `penalty`",
        "batch": "one value that all sentences of a batch share",
        "sentence": "a value per sentence, (B, 1) or (B, G)",
        "dimension": "(B, D): it is a sum over latent dimensions",
    },
    "kl_estimator": {
        "analytic": "a closed form",
        "monte-carlo": "log q - log p at the draw",
        "dual": "a critic's lower bound, which is never part of a likelihood",
        "constant": "the same for every sentence and every step",
        "penalty": 'no divergence; goes with `kl = "penalty"`',
    },
    "kl_gradient": {
        "encoder": "encoder and posterior",
        "prior": "a learned prior",
    },
    "objective_gradient": {
        "encoder": "encoder and posterior",
        "decoder": "decoder",
    },
    "geometry": {
        "euclidean": "R^D",
        "sphere": "unit vectors",
        "ball": "the Poincaré ball",
    },
    "batching": {
        "bucketed": "sentences of like length together, which saves pads",
        "mixed": "at random, for methods that compare the codes of a batch; wins over bucketed",
    },
    "couples": {
        "training": "in training alone, as batch normalisation does; evaluation is per sentence",
    },
    "data": {
        "labelled": "sentences with a label each, of two kinds or more",
        "pairs": "sentences and what each is to become",
    },
    "base": {
        "frozen": "nothing of it is trained, and it stays as it is, bit for bit",
        "trained": "it is where training begins",
    },
    "select_on": {
        "objective": "what the method minimises, at its own beta and with its penalties",
        "rec": "the reconstruction",
        "nll_elbo": "the bound at beta 1",
    },
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


def _as_many_as_there_are(names: Any) -> Any:
    """Refuse a long list before each of its names is compared with the known ones."""
    if isinstance(names, list) and len(names) > len(HOOKS):
        raise ValueError(f"there are at most {len(HOOKS)} hooks, and {len(names):,} came")
    return names


HookName = Annotated[str, AfterValidator(_known_hook)]
ApiRange = Annotated[str, AfterValidator(_api_range)]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Paper(_Data):
    """Where the method comes from."""

    title: str = Field(description="as published")
    venue: str = Field(description="the conference or journal, such as `ICLR`")
    year: int = Field(description="of publication")
    url: str = Field("", description="a page of the paper")


class Invariant(_Data):
    """What a plugin keeps up in any company, and the function that tells whether it does."""

    says: Sentence = Field(description="what holds after so many toy steps, in a line")
    test: Annotated[str, StringConstraints(pattern=r"^[\w.]+:\w+$")] = Field(
        description="`module:function`, which takes an `aecore.testing.Trial` and gives a `Kept`"
    )
    steps: int = Field(600, ge=1, description="joint steps of the run that it is asked of")
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="settings of the plugin for that run, where the defaults are for longer ones; "
        "a table",
    )


class Kept(_Data):
    """Whether an invariant is kept in a company, and by what figures.

    Attributes:
        kept: the verdict.
        found: the measured value against the due one, in words.
    """

    kept: bool
    found: str


class Capabilities(_Data):
    """Words of the composition; None where nothing is said."""

    posterior: Literal["none", "point", "sampled", "own_density", "density", "gaussian"] | None = (
        Field(None, description="what is known of q(z given x)")
    )
    prior: Literal["samples", "density", "standard"] | None = Field(
        None, description="what is known of p(z)"
    )
    kl: Literal["penalty", "batch", "sentence", "dimension"] | None = Field(
        None, description="how fine the divergence that `kl_term` returns is"
    )
    kl_estimator: Literal["analytic", "monte-carlo", "dual", "constant", "penalty"] | None = Field(
        None, description="how it is estimated; figures carry this word"
    )
    kl_gradient: frozenset[KlGradient] | None = Field(
        None,
        description="the roles that its gradient reaches; a list, empty where the KL costs "
        "nothing, as under an `objective` that charges none",
    )
    objective_gradient: frozenset[ObjectiveGradient] | None = Field(
        None, description="the roles that the gradient of `objective` reaches; a list"
    )
    geometry: Literal["euclidean", "sphere", "ball"] | None = Field(
        None, description="the space that latents live in"
    )

    def stated(self) -> dict[str, str | frozenset[str]]:
        """The words that are said, in the order of the class."""
        return {
            word: value
            for word in type(self).model_fields
            if (value := getattr(self, word)) is not None
        }


class Manifest(_Data):
    """One table of plugin.toml, docs/manifest.md; ``Plugin.manifest`` refines it by settings."""

    summary: str = Field(description="what the method does, in a line")
    api: ApiRange = Field(description="the contracts that it was written for, such as `>=1,<2`")
    hooks: Annotated[tuple[HookName, ...], BeforeValidator(_as_many_as_there_are)] = Field(
        description="the hooks that the class implements"
    )
    against: tuple[Literal["collapse"], ...] = Field(
        (),
        description="what it is made against, a list: the alarm of a collapsed posterior, one that "
        'says nothing of the sentence, names what says `["collapse"]`',
    )
    paper: Paper | None = Field(None, description="where the method comes from; a table")
    provides: Capabilities = Field(
        default_factory=Capabilities,
        description="what its hooks give, at its default settings; a table of capabilities",
    )
    requires: Capabilities = Field(
        default_factory=Capabilities,
        description="the least that it needs of the others; a table of capabilities",
    )
    batching: Batching = Field("bucketed", description="how an epoch is cut into batches")
    couples: Literal["training"] | None = Field(
        None, description="when the sentences of a batch have to do with each other"
    )
    data: Data | None = Field(None, description="what the corpus has to be, beyond text")
    base: Base | None = Field(
        None,
        description="that it works over a trained autoencoder, the run that its setting "
        "`autoencoder` names, whose sizes, vocabulary and model hooks it takes",
    )
    select_on: Literal["objective", "rec", "nll_elbo"] = Field(
        "objective", description="the validation figure by which weights are kept under a plateau"
    )
    published: dict[str, Any] = Field(
        default_factory=dict,
        description="settings that the paper ran with, where they are not the defaults: "
        "they stand in for these under `train.recipe = published`; a table",
    )
    invariants: dict[str, Invariant] = Field(
        default_factory=dict,
        description="what the method keeps up in any company, each held by `aecore matrix "
        "--evidence`; a table of tables",
    )
    exceptions: dict[str, Sentence] = Field(
        default_factory=dict,
        description="checks of the conformance kit that the method cannot pass, and why; a table",
    )

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
                    f"provides.{word} belongs to the owner of {' or '.join(hooks)}, which is not "
                    f"among its hooks"
                )
            if hooks[0] in self.hooks and word not in stated and word != "geometry":
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
        tables = toml.read(path)
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
            f"the manifest of '{name}' is not valid",
            f"file: {source}",
            *validation_lines(error, schema=Manifest),
        ) from error
    wrong = manifest.contradictions()
    if wrong:
        raise ManifestError(
            f"the manifest of '{name}' contradicts itself", f"file: {source}", *wrong
        )
    return manifest


def validation_lines(
    error: ValidationError, prefix: str = "", schema: type[BaseModel] | None = None
) -> list[str]:
    """A pydantic error as lines ``key = value: reason``.

    Args:
        schema: what was validated, by which unknown keys get the known ones beside them.
    """
    lines = []
    for item in error.errors(include_url=False, include_context=False):
        key = (
            ".".join([*([prefix] if prefix else []), *(str(part) for part in item["loc"])]) or "it"
        )
        reason = item["msg"].removeprefix("Value error, ")
        shown = "" if item["type"] == "missing" else f" = {item['input']!r}"
        if item["type"] == "extra_forbidden" and schema is not None:
            known = _known(schema, item["loc"][:-1])
            reason = (
                f"it is unknown.{closest(str(item['loc'][-1]), known)} known: {', '.join(known)}"
            )
        lines.append(f"{key}{shown}: {reason[:1].lower()}{reason[1:]}")
    return lines


def _known(schema: Any, place: tuple[str | int, ...]) -> list[str]:
    """The keys of a table inside of a schema."""
    for part in place:
        fields = getattr(schema, "model_fields", {})
        inner = fields[part].annotation if part in fields else schema
        schema = next(
            (one for one in (inner, *get_args(inner)) if hasattr(one, "model_fields")), inner
        )
    return list(getattr(schema, "model_fields", {}))
