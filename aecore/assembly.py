"""From a configuration to a composition of classes and settings, for training and loading alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

import aecore
from aecore.autoencoder import Sizes
from aecore.catalogue import Catalogue
from aecore.composition import Composition, Part, compose
from aecore.distributed import local_gpu
from aecore.errors import AecoreError, ConfigError, PluginError, RunError, authored
from aecore.initialisation import Initialisation
from aecore.model import Model, build_model
from aecore.plugin import Plugin, PluginConfig
from aecore.runs.config import BaseConfig, RunConfig, validate_settings
from aecore.streams import Streams

#: What training takes its products in, by the name of the precision.
OPERANDS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Assembly:
    """A composition with the classes and validated settings of its named plugins."""

    composition: Composition
    classes: Mapping[str, type[Plugin]]
    settings: Mapping[str, PluginConfig]

    @property
    def versions(self) -> dict[str, str]:
        """See `versions`."""
        return versions(self.composition)

    @property
    def over(self) -> list[tuple[str, PluginConfig]]:
        """The plugins that work over a trained autoencoder, with their settings."""
        parts = self.composition.parts
        return [(p.name, self.settings[p.name]) for p in parts if p.manifest.base and not p.base]

    def write_out(self, config: RunConfig) -> RunConfig:
        """The configuration with every plugin setting and version in it."""
        plugins = {
            name: self.settings[name].model_dump(mode="json", exclude_none=True)
            for name in self.composition.names
        }
        return config.model_copy(update={"plugins": plugins, "versions": self.versions})

    def build(self, config: RunConfig, vocabulary: int, device: torch.device) -> Model:
        """The model on a device, initialised from the run's seed: the same weights everywhere."""
        m = config.model
        sizes = Sizes(vocabulary, m.embedding, m.hidden, m.latent)
        streams = Streams(config.train.seed)
        law = Initialisation(m.initialisation, m.embedding_std, m.forget_bias)
        dropout = (m.dropout_in, m.dropout_out)
        model = build_model(
            self.composition, self.classes, self.settings, sizes, streams, dropout, law
        )
        model.take_products_in(OPERANDS[resolve_precision(config.train.precision, device)])
        return model.to(device)


def versions(composition: Composition) -> dict[str, str]:
    """The versions of aecore, torch and the plugins' distributions."""
    found = {"aecore": aecore.__version__, "torch": torch.__version__}
    for part in composition.parts:
        name, _, version = part.distribution.partition(" ")
        if version:
            found[name] = version
    return found


def assemble(
    plugins: Mapping[str, Mapping[str, Any]],
    catalogue: Catalogue,
    recipe: str = "fast",
    base: BaseConfig | None = None,
) -> Assembly:
    """Import the named plugins, validate their settings, refine their manifests, and compose.

    Args:
        plugins: name -> settings.
        recipe: ``published`` puts the papers' settings where none are given.
        base: the trained autoencoder underneath.

    Raises:
        CompositionError: for a plugin that is not there or cannot be imported, and plugins that do
            not compose.
        PluginError: for a class that breaks the contract of a hook, or differs from its manifest.
        ConfigError: for settings that are not valid.
    """
    declared = [catalogue.part(name) for name in plugins]
    if not any(plugins.values()):
        # no setting can mend it, so refuse without importing anything
        compose(declared, catalogue.defaults)
    classes: dict[str, type[Plugin]] = {}
    settings: dict[str, PluginConfig] = {}

    def imported(part: Part, values: Mapping[str, Any]) -> Part:
        cls = catalogue.load(part.name)
        papers = part.manifest.published if recipe == "published" else {}
        with authored(part.name, part.distribution, "its settings' validation"):
            config = validate_settings(cls.Config, {**papers, **values}, part.name)
        assert isinstance(config, PluginConfig)
        classes[part.name], settings[part.name] = cls, config
        return _refine(part, cls, config)

    under = (
        [] if base is None else [(catalogue.part(name), own) for name, own in base.plugins.items()]
    )
    # what gave the autoencoder its training alone is not needed any more
    below = [imported(part, own) for part, own in under if part.as_base() is not None]
    parts = [imported(*pair) for pair in zip(declared, plugins.values(), strict=True)]
    return Assembly(compose(parts, catalogue.defaults, below), classes, settings)


def _refine(part: Part, cls: type[Plugin], config: PluginConfig) -> Part:
    """The part under its settings.

    Raises:
        PluginError: when the refined manifest contradicts itself, or names a hook that the class
            does not implement.
    """
    with authored(part.name, part.distribution, "its method manifest"):
        manifest = cls.manifest(part.manifest, config)
    wrong = manifest.contradictions()
    wrong += [
        f"{hook} is not among the hooks in plugin.toml"
        for hook in manifest.hooks
        if hook not in part.manifest.hooks
    ]
    if wrong:
        raise PluginError(
            f"the manifest of '{part.name}' ({part.distribution}) under its settings is wrong",
            *wrong,
            plugin=part.name,
        )
    return replace(part, manifest=manifest)


def assemble_run(config: RunConfig, catalogue: Catalogue, folder: object) -> Assembly:
    """`assemble` for a run on disk: errors also name the distribution that it was trained with."""
    try:
        return assemble(config.plugins, catalogue, config.train.recipe, config.base)
    except AecoreError as error:
        below = () if config.base is None else config.base.plugins
        missing = [name for name in (*config.plugins, *below) if name not in catalogue.entries]
        trained = [
            f"{name} {version}"
            for name, version in config.versions.items()
            if name not in {"torch"}
        ]
        if not missing:
            raise
        evidence = f"the run '{folder}' was trained with: {', '.join(trained)}"
        raise RunError(error.what, evidence, *error.evidence) from error


def resolve_precision(name: str, device: torch.device) -> str:
    """``fp32`` or ``bf16``; ``auto`` is bf16 where the processor or the GPU multiplies in it."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    capable = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if capable.get("avx512_bf16") or capable.get("amx_bf16") else "fp32"


def resolve_device(name: str) -> torch.device:
    """The device of a name; ``auto`` is the GPU where there is one.

    Raises:
        ConfigError: for a GPU that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"'{name}' is no device", "due: auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            built = "" if torch.version.cuda else "; this torch is built without CUDA"
            raise ConfigError(
                f"the device '{name}' is not there",
                f"GPUs that torch sees: {count}{built}",
                "to train without one: --device cpu",
            )
        index: int | None = device.index  # torch says int, and gives None where none was said
        return torch.device("cuda", local_gpu() if index is None else index)
    return device
