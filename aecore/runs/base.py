"""The trained autoencoder underneath a run: found, checked, and its weights kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from aecore.data.splits import Corpus
from aecore.data.vocabulary import Vocabulary
from aecore.errors import ConfigError, DataError, RunError
from aecore.model import Model
from aecore.plugin import PluginConfig
from aecore.runs.checkpoint import check_fit, digest, load_tensors, save_tensors
from aecore.runs.config import BaseConfig, RunConfig
from aecore.runs.folder import RunFolder
from aecore.runs.weights import Weights, read_vocabulary

#: The share of unknown words from which a corpus is not of the autoencoder's language.
FOREIGN = 1 / 3


@dataclass(frozen=True)
class Autoencoder:
    """A finished run, to work over.

    Attributes:
        section: what config.toml of the new run says of it.
        config: its own.
    """

    section: BaseConfig
    config: RunConfig
    vocabulary: Vocabulary
    weights: Weights

    @classmethod
    def find(cls, path: str) -> Autoencoder:
        """The run at a path.

        Raises:
            RunError: when there is none, it has not ended, a file is damaged, or it works over an
                autoencoder itself.
        """
        folder = RunFolder.open(Path(path))
        config = folder.read_config()
        if config.base is not None:
            raise RunError(
                f"'{path}' is no autoencoder of its own: it works over '{config.base.run}'",
                f"due: --set NAME.autoencoder={config.base.run}, or another run",
            )
        if not folder.weights.is_file() or not folder.summary.is_file():
            raise RunError(
                f"the autoencoder '{path}' has not been trained to its end",
                f"to go on with it:            aecore resume {path}",
                f"to end it where it stands:   aecore resume {path} --max-steps N, its last step",
            )
        weights = Weights.read(folder)
        vocabulary = read_vocabulary(folder, weights.tokenizer)
        section = BaseConfig(
            run=str(Path(path).absolute()), weights=digest(weights.tensors), plugins=config.plugins
        )
        return cls(section, config, vocabulary, weights)

    @classmethod
    def again(cls, section: BaseConfig) -> Autoencoder:
        """The one that a run was begun over, for a run that has not got to its first checkpoint.

        Raises:
            RunError: as `find`, and when its weights have changed since.
        """
        found = cls.find(section.run)
        if found.section.weights != section.weights:
            raise RunError(
                f"the autoencoder '{section.run}' has other weights than when the run was begun",
                "due: the weights as they were, or a new run: aecore train",
            )
        return found

    def under(self, config: RunConfig) -> RunConfig:
        """The configuration of a run that works over it: its sizes and kind of vocabulary."""
        theirs = self.config
        sizes = {name: getattr(theirs.model, name) for name in ("embedding", "hidden", "latent")}
        words = {
            name: getattr(theirs.data, name)
            for name in ("vocabulary", "vocabulary_size", "min_count")
        }
        changed = config.changed("model", **sizes).changed("data", **words)
        return changed.model_copy(update={"base": self.section})

    def into(self, model: Model) -> None:
        """Put its weights where they belong."""
        _take(model, self.weights.tensors, self.section.run)


def wished(settings: Iterable[tuple[str, PluginConfig]]) -> str:
    """The run that the plugins over an autoencoder name; one of them is enough.

    Raises:
        ConfigError: when none says it, or two say different ones.
    """
    named = [(name, str(getattr(config, "autoencoder", ""))) for name, config in settings]
    said = [(name, path) for name, path in named if path]
    if not said:
        raise ConfigError(
            f"'{named[0][0]}' works over a trained autoencoder, and none is named",
            f"due: --set {named[0][0]}.autoencoder=RUN",
            "to make one: aecore train --plugin ae --out RUN",
        )
    for name, path in said:
        if Path(path).absolute() != Path(said[0][1]).absolute():
            raise ConfigError(
                f"'{said[0][0]}' and '{name}' name different autoencoders",
                f"{said[0][0]}: {said[0][1]}",
                f"{name}: {path}",
            )
    return said[0][1]


def check_language(corpus: Corpus, autoencoder: Autoencoder) -> None:
    """Refuse a corpus most of whose words the autoencoder does not know.

    Raises:
        DataError: above a third.
    """
    train = corpus.train
    share = train.unknown / max(1, train.tokens - len(train))
    if share > FOREIGN:
        raise DataError(
            f"{share:.0%} of the training words are unknown to the autoencoder "
            f"'{autoencoder.section.run}'",
            f"it was trained on: {autoencoder.config.data.spec}",
            "due: an autoencoder of the same language, or of byte pairs: --set data.vocabulary=bpe",
        )


def keep(model: Model, folder: RunFolder, section: BaseConfig) -> None:
    """Write base.safetensors, the frozen weights, once."""
    save_tensors(folder.base, _under(model), {"weights": section.weights})


def restore(model: Model, folder: RunFolder, section: BaseConfig) -> None:
    """Put back what `keep` wrote.

    Raises:
        RunError: when the file is damaged, or of another autoencoder than config.toml says.
    """
    tensors, meta = load_tensors(folder.base)
    if meta.get("weights") != section.weights:
        raise RunError(
            f"'{folder.base}' holds other weights than those that '{folder.path}' was trained over",
            f"of the autoencoder: {section.run}",
        )
    _take(model, tensors, str(folder.base))


def _under(model: Model) -> dict[str, Tensor]:
    return {name: t for name, t in model.state_dict().items() if model.is_under(name)}


def _take(model: Model, tensors: Mapping[str, Tensor], source: str) -> None:
    due = _under(model)
    found = {name: tensor for name, tensor in tensors.items() if name in due}
    try:
        check_fit(found, due)
    except ValueError as error:
        raise RunError(
            f"the autoencoder '{source}' does not fit", str(error), "likely: a plugin has changed"
        ) from error
    model.load_own(found)
