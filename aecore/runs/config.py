"""The configuration of a run: four sections and a table per plugin, all written out."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aecore import toml
from aecore.data.recipe import BPE_SIZE, SMALLEST, Recipe, VocabularyKind
from aecore.errors import ConfigError, closest
from aecore.manifest import validation_lines
from aecore.names import normalise
from aecore.runs.recipes import Recipe as TrainingRecipe
from aecore.runs.recipes import model_defaults, train_defaults

SECTIONS = ("data", "model", "train", "evaluate")
#: embedding, hidden, latent; ptb and yahoo as in Li et al. (EMNLP 2019), toy for the built-in
#: corpus.
SIZES = {"toy": (32, 64, 8), "ptb": (256, 256, 32), "yahoo": (512, 1024, 32)}


def of_toy(spec: str) -> bool:
    """Whether a corpus is the built-in one: ``toy``, ``toy:labelled``, ``toy[:20%]``."""
    return spec.partition("[")[0].partition(":")[0] == "toy"


class Section(BaseModel):
    """A section: strict about types, frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataConfig(Section):
    """Section [data] of config.toml: the corpus."""

    spec: str = Field(
        "toy",
        description="toy, toy:labelled, toy:pairs, or a folder; SPEC[:20%] takes the head of train",
    )
    max_length: int = Field(
        200, ge=1, description="longest sentence that is kept: words, characters or byte pairs"
    )
    vocabulary: VocabularyKind = Field(
        "word", description="words, characters or byte pairs of the training sentences"
    )
    vocabulary_size: int = Field(
        0, ge=0, description="entries at most, markers included; 0: no limit, and 8000 for bpe"
    )
    min_count: int = Field(
        1, ge=1, description="how often a word or character must occur in training to be known"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_size(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("vocabulary") != "bpe":
            return values
        return {**values, "vocabulary_size": values.get("vocabulary_size") or BPE_SIZE}

    @model_validator(mode="after")
    def _fit(self) -> DataConfig:
        least = SMALLEST[self.vocabulary]
        if 0 < self.vocabulary_size < least:
            raise ValueError(
                f"a {self.vocabulary} vocabulary has {least} entries at least, four of them markers"
            )
        if self.vocabulary == "bpe" and self.min_count > 1:
            raise ValueError("min_count is for words and characters; byte pairs know every text")
        return self

    @property
    def on_toy(self) -> bool:
        """Whether the corpus is the built-in one, or a part or variant of it."""
        return of_toy(self.spec)

    @property
    def recipe(self) -> Recipe:
        """How the vocabulary is made."""
        return Recipe(self.vocabulary, self.vocabulary_size, self.min_count)


class ModelConfig(Section):
    """Section [model] of config.toml: the autoencoder's sizes and initialisation."""

    sizes: Literal["toy", "ptb", "yahoo"] = Field(
        "ptb", description="preset for embedding, hidden and latent"
    )
    embedding: int = Field(0, ge=1, description="size of the word embeddings")
    hidden: int = Field(0, ge=1, description="size of the LSTM states")
    latent: int = Field(0, ge=1, description="D, latent dimensions")
    initialisation: Literal["orthogonal", "published"] = Field(
        "orthogonal", description="how weights are drawn"
    )
    embedding_std: float = Field(
        0.1, gt=0, description="deviation of initial word embeddings (orthogonal)"
    )
    forget_bias: float = Field(0.5, description="initial bias of the forget gates (orthogonal)")
    dropout_in: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="dropout on the decoder's word embeddings; by recipe and epochs unless set",
    )
    dropout_out: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="dropout before the output layer; by recipe and epochs unless set",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_sizes(cls, values: Any) -> Any:
        if (
            not isinstance(values, dict)
            or (preset := SIZES.get(str(values.get("sizes", "ptb")))) is None
        ):
            return values
        return dict(zip(("embedding", "hidden", "latent"), preset, strict=True)) | values


class TrainConfig(Section):
    """Section [train] of config.toml: optimiser, schedule, model selection."""

    recipe: TrainingRecipe = Field(
        "fast", description="the defaults of [train] and [model]: fast, or what the papers ran"
    )
    seed: int = Field(0, ge=0, description="seed of every random stream of the run")
    epochs: int = Field(
        5, ge=1, description="epochs of joint training; 16 on the toy, 100 published"
    )
    max_steps: int | None = Field(None, ge=1, description="joint steps at most")
    batch_size: int = Field(32, ge=1, description="B, sentences per step")
    optimiser: Literal["muon", "adamw", "sgd"] = Field(
        "muon",
        description="for encoder and decoder; muon: for the matrices of LSTMs, adamw for the rest",
    )
    lr: float = Field(
        0.0,
        gt=0,
        description="peak rate; 0.006 beside muon, 0.004 for adamw, 1.0 for sgd unless set",
    )
    muon_lr: float = Field(0.02, gt=0, description="peak rate of muon: the spectral norm of a step")
    beta1: float = Field(0.8, ge=0, lt=1, description="adamw's decay of the gradient's mean")
    beta2: float = Field(0.999, ge=0, lt=1, description="adamw's decay of the gradient's square")
    prior_lr: float = Field(1e-3, gt=0, description="learning rate of a learned prior, Adam")
    weight_decay: float = Field(
        0.05, ge=0, description="decoupled, of matrices: lr times this is taken off a step"
    )
    clip: float = Field(
        5.0, gt=0, description="largest gradient norm, over encoder and decoder together"
    )
    clip_by: Literal["together", "role"] = Field(
        "together", description="whether encoder and decoder share that norm, or have one each"
    )
    warmup_steps: int = Field(
        200, ge=0, description="steps over which rates rise; a tenth of a phase at most"
    )
    schedule: Literal["linear", "cosine", "constant", "plateau"] = Field(
        "linear", description="how rates change"
    )
    hold: float = Field(
        0.5, ge=0, lt=1, description="linear and cosine: share of the steps before rates fall"
    )
    average: float = Field(
        0.0, ge=0, lt=1, description="decay of the running average of weights that is kept; 0: none"
    )
    patience: int = Field(
        5, ge=1, description="plateau: epochs without improvement before the rate is halved"
    )
    guard: int = Field(
        15, ge=0, description="plateau: first epoch (from 0) in which it may be halved"
    )
    decays: int = Field(5, ge=1, description="plateau: halvings after which training stops")
    select: Literal["best", "last"] = Field(
        "last", description="which weights are kept; last where rates fall to 0"
    )
    log_every: int = Field(50, ge=1, description="steps between two lines of metrics.jsonl")
    checkpoint_seconds: float = Field(
        20.0, ge=0, description="seconds between two checkpoints; 0 writes one after every step"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="operands of products in training; auto: bf16 where the hardware has it"
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N"
    )
    threads: int = Field(
        0, ge=0, description="torch threads on the CPU; 0 leaves torch's own number"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_recipe(cls, values: Any) -> Any:
        return train_defaults(values, toy=False) | values if isinstance(values, dict) else values

    @property
    def decays_to_zero(self) -> bool:
        """Whether rates fall to 0 at the end of a phase."""
        return self.schedule in ("linear", "cosine")


class EvaluateConfig(Section):
    """Section [evaluate] of config.toml."""

    batch_size: int = Field(
        32, ge=1, description="sentences decoded at a time; figures do not depend on it"
    )
    iw_samples: int = Field(
        500, ge=0, description="samples of nll_iw in `aecore evaluate`; 0 leaves it out"
    )


class BaseConfig(Section):
    """Section [base] of config.toml: the trained autoencoder underneath; written by the run.

    Attributes:
        run: whence its weights were taken.
        weights: SHA-256 of these.
        plugins: its plugins and their settings.
    """

    run: str = ""
    weights: str = ""
    plugins: dict[str, dict[str, Any]] = Field(default_factory=dict)


class RunConfig(Section):
    """config.toml: trains the same run again."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=lambda: ModelConfig.model_validate({}))
    train: TrainConfig = Field(default_factory=lambda: TrainConfig.model_validate({}))
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    plugins: dict[str, dict[str, Any]] = Field(default_factory=dict)
    base: BaseConfig | None = None
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """What the recipe says; the built-in corpus gets a model of its size, one thread."""
        tables = [
            values.get(name, {}) if isinstance(values, dict) else None
            for name in ("data", "model", "train")
        ]
        data, model, train = (table if isinstance(table, dict) else {} for table in tables)
        if not all(isinstance(table, dict) for table in tables):
            return values
        small = of_toy(str(data.get("spec", "toy")))
        threads = {"threads": 1} if small and "sizes" not in model else {}
        train = {**threads, **train_defaults(train, small), **train}
        return {
            **values,
            "model": {"sizes": "toy" if small else "ptb", **model_defaults(train, small), **model},
            "train": train,
        }

    def to_toml(self) -> str:
        """The file's text, without the keys that are unset."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))

    def changed(self, section: str, **values: Any) -> RunConfig:
        """A copy with other values in one section.

        Raises:
            ConfigError: for a value of the wrong type or out of range.
        """
        table = self.model_dump(exclude_none=True)
        table[section] |= {name: value for name, value in values.items() if value is not None}
        return parse_config(table, section)


def build_config(
    file: Path | None,
    flags: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Any],
    plugins: Iterable[str],
) -> RunConfig:
    """One configuration from a file, flags and settings, the later winning.

    Args:
        flags: section -> key -> value; None means that the flag was not given.
        settings: ``section.key`` or ``plugin.key`` -> value.
        plugins: names to add to those of the file, in order.

    Raises:
        ConfigError: for an unreadable file, an unknown key, a plugin's setting without the plugin,
            or a value out of range.
    """
    source = str(file) if file is not None else "--set"
    tables = _tables(read_toml(file) if file is not None else {}, source)
    for section, values in flags.items():
        given = {key: value for key, value in values.items() if value is not None}
        if given:
            tables[section] = {**tables.get(section, {}), **given}
    active = tables["plugins"]
    for name in plugins:
        active.setdefault(normalise(name), {})
    active.pop("vae", None)  # the defaults are part of every composition
    for key, value in settings.items():
        _apply(tables, *_split_key(key), value)
    return parse_config(tables, source)


def _tables(tables: dict[str, Any], source: str) -> dict[str, Any]:
    """The tables of a file, plugins under normalised names; sections must be tables."""
    plugins = tables.get("plugins", {})
    wrong = [name for name in (*SECTIONS, "plugins") if not isinstance(tables.get(name, {}), dict)]
    wrong += (
        []
        if wrong
        else [f"plugins.{name}" for name in plugins if not isinstance(plugins[name], dict)]
    )
    if wrong:
        raise ConfigError(
            f"the configuration is not valid ({source})",
            f"{wrong[0]} is no table",
            f"due: [{wrong[0]}]",
        )
    return {**tables, "plugins": {normalise(name): values for name, values in plugins.items()}}


def parse_setting(text: str) -> tuple[str, Any]:
    """``controlvae.target_kl=5`` as a pair: values are TOML, bare words are strings."""
    key, equals, value = text.partition("=")
    if not equals:
        raise _no_setting(text)
    try:
        tables = toml.loads(f"value = {value.strip()}")
    except tomllib.TOMLDecodeError:
        tables = {}  # a bare word; so are numbers that nothing can be set to, which are refused
    return key, tables["value"] if list(tables) == ["value"] else value.strip()


def _split_key(key: str) -> tuple[str, str]:
    section, dot, name = key.strip().partition(".")
    if not (dot and section and name):
        raise _no_setting(key)
    return normalise(section), normalise(name)


def _no_setting(text: str) -> ConfigError:
    return ConfigError(
        f"'{text}' is no setting",
        "due: SECTION.KEY=VALUE or PLUGIN.KEY=VALUE",
        "e.g. --set train.lr=0.5",
    )


def _apply(tables: dict[str, Any], section: str, name: str, value: Any) -> None:
    if section in SECTIONS:
        tables[section] = _with(tables.get(section, {}), name, value)
        return
    active = tables["plugins"]
    if section not in active:
        near = closest(section, [*SECTIONS, *active])
        raise ConfigError(
            f"'{section}.{name}' belongs to no section and no active plugin.{near}",
            f"sections: {', '.join(SECTIONS)}",
            f"plugins:  {', '.join(active) or 'none'}",
            f"to use the plugin, add --plugin {section}",
        )
    active[section] = _with(active[section], name, value)


def _with(table: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """The table with one value changed; a dotted name reaches into a nested table."""
    first, dot, rest = name.partition(".")
    inner = table.get(first, {})
    return {
        **table,
        first: _with(inner if isinstance(inner, Mapping) else {}, rest, value) if dot else value,
    }


def parse_config(tables: Mapping[str, Any], source: str) -> RunConfig:
    """Validate the tables of a configuration; ``source`` is named in the error."""
    try:
        return RunConfig.model_validate(tables)
    except ValidationError as error:
        schemas = {section: RunConfig.model_fields[section].annotation for section in SECTIONS}
        raise ConfigError(
            f"the configuration is not valid ({source})", *_explain(error, schemas)
        ) from error


def validate_settings(schema: type[BaseModel], values: Mapping[str, Any], name: str) -> BaseModel:
    """The settings of a plugin as an instance of its ``Config``.

    They are read as JSON: TOML has lists and strings alone, from which a strict schema makes
        tuples, sets and paths only so.

    Raises:
        ConfigError: for an unknown setting (with the closest), a wrong type or a value out of
            range.
    """
    try:
        return schema.model_validate_json(json.dumps(dict(values), default=str))
    except ValidationError as error:
        lines = _explain(error, {}, schema, name)
        raise ConfigError(
            f"the settings of '{name}' are not valid", *lines, f"see: aecore plugins info {name}"
        ) from error


def _explain(
    error: ValidationError,
    sections: Mapping[str, Any],
    schema: type[BaseModel] | None = None,
    prefix: str = "",
) -> list[str]:
    lines = validation_lines(error, prefix)
    for item in error.errors(include_url=False, include_context=False):
        if item["type"] != "extra_forbidden":
            continue
        *path, key = [str(part) for part in item["loc"]]
        owner = schema if schema is not None else sections.get(path[0]) if path else RunConfig
        if owner is not None:
            known = list(owner.model_fields)
            lines.append(
                f"'{key}' is unknown.{closest(key, known)} known: {', '.join(known) or 'none'}"
            )
    return lines


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: when there is no file, or it is not UTF-8 or no TOML.
    """
    try:
        return toml.read(path)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no file '{path}'", "due: a config.toml, such as the one in a run folder"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"'{path}' cannot be read as TOML", f"reason: {error}") from error
