"""Throw-away plugins, distributions, batches and trainings."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import torch

from aecore.autoencoder import Sizes
from aecore.batch import END, PAD, START, Batch
from aecore.catalogue import Catalogue
from aecore.composition import Part, compose
from aecore.data.corpus import load_corpus
from aecore.manifest import parse_manifest
from aecore.model import build_model
from aecore.plugin import check_class, implementations
from aecore.runs.config import RunConfig, TrainConfig
from aecore.runs.folder import RunFolder
from aecore.streams import Streams
from aecore.training.phases import JointPhase
from aecore.training.session import Session
from aecore.training.trainer import Trainer

SIZES = Sizes(vocabulary=11, embedding=5, hidden=6, latent=3)
DEFAULTS = Catalogue({}, {}).defaults


def part(name, hooks=(), **table):
    """A plugin as composition sees it, made of nothing but its manifest."""
    table = {"summary": "", "api": ">=1", "hooks": list(hooks), **table}
    return Part(name, parse_manifest(table, name, "test"), f"aecore-{name} 1.0")


def part_of(cls):
    """The part of a throw-away class; what its manifest says beyond the hooks is its attribute
    ``declares``.
    """
    name = cls.__name__.lower()
    made = part(
        name, sorted({found.hook for found in implementations(cls)}), **getattr(cls, "declares", {})
    )
    check_class(cls, name, made.distribution, made.manifest)
    return made


def build(*classes, sizes=SIZES, seed=0, dropout=(0.0, 0.0), settings=None):
    """The model that these throw-away classes make together."""
    parts = [part_of(cls) for cls in classes]
    by_name = {made.name: cls for made, cls in zip(parts, classes, strict=True)}
    configs = {name: cls.Config(**(settings or {}).get(name, {})) for name, cls in by_name.items()}
    return build_model(compose(parts, DEFAULTS), by_name, configs, sizes, Streams(seed), dropout)


def place(cls, hook):
    """``folder/file.py:line`` of a hook implementation, as errors print it."""
    function = inspect.unwrap(getattr(cls, hook))
    path = Path(inspect.getfile(function))
    return f"{path.parent.name}/{path.name}:{inspect.getsourcelines(function)[1]}"


def batch_of(*rows, width=0):
    """A batch of sentences given as lists of word ids, padded to ``width`` words at least."""
    longest = max(width, *(len(row) for row in rows))
    tokens = [[START, *row, END, *[PAD] * (longest - len(row))] for row in rows]
    return Batch(
        torch.tensor(tokens), torch.tensor([len(row) + 1 for row in rows]), torch.arange(len(rows))
    )


def some_batch(sentences=4, seed=0):
    """Sentences of 1 to 6 words drawn from the vocabulary of `SIZES`."""
    made = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 7, (sentences,), generator=made).tolist()
    return batch_of(
        *(torch.randint(4, SIZES.vocabulary, (n,), generator=made).tolist() for n in lengths)
    )


def make_corpus(folder):
    """Three splits over seven words, which gives the vocabulary of `SIZES`."""
    drawn = torch.Generator().manual_seed(0)
    for name, count in (("train", 48), ("valid", 10), ("test", 10)):
        lengths = torch.randint(1, 7, (count,), generator=drawn).tolist()
        rows = [torch.randint(0, 7, (n,), generator=drawn).tolist() for n in lengths]
        (folder / f"{name}.txt").write_text(
            "\n".join(" ".join("abcdefg"[i] for i in row) for row in rows) + "\n"
        )
    found = load_corpus(str(folder))
    assert len(found.vocabulary) == SIZES.vocabulary
    return found


class Joint:
    """A joint phase and its session, to be stepped by hand."""

    def __init__(self, model, corpus, **train):
        config = TrainConfig.model_validate(train)
        self.model = model.train()
        self.phase = JointPhase(model, config, 100, config.lr)
        self.session = Session(
            model, corpus, Streams(0), 4, 4, 12, 100, updater=lambda: self.phase.updater
        )

    def step(self, batch):
        with Streams(0)("step", self.session.index):
            values = self.phase.step(batch, self.session)
        self.session.index += 1
        return values


def trainer_of(model, corpus, path, **train):
    """A trainer that has started a run of ``model`` in the folder ``path``."""
    config = RunConfig.model_validate(
        {"train": {"epochs": 1, "batch_size": 16, "device": "cpu", **train}}
    )
    folder = RunFolder.create(path, overwrite=False)
    folder.write_config(config)
    trainer = Trainer(model, corpus, config, folder)
    trainer.start()
    return trainer


def snapshot(model):
    """Every parameter by name, copied."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def changed(before, model):
    """The names of the parameters that are not what they were, bit for bit."""
    return {
        name
        for name, parameter in model.named_parameters()
        if not torch.equal(before[name], parameter.detach())
    }


class Site:
    """A folder that looks like site-packages, for distributions that nobody installed."""

    def __init__(self, path):
        self.path = path
        self.packages = set()
        path.mkdir()

    def add(self, distribution, points, *, version="1.0", package=None, module="", manifest=None):
        """A distribution with entry points {name: target}, a package with that source, and
        plugin.toml where given.
        """
        info = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        lines = "".join(f"{name} = {target}\n" for name, target in points.items())
        (info / "entry_points.txt").write_text(f"[aecore.plugins]\n{lines}")
        if package is not None:
            self.packages.add(package)
            folder = self.path / package
            folder.mkdir()
            (folder / "__init__.py").write_text(module)
            if manifest is not None:
                (folder / "plugin.toml").write_text(manifest)
        importlib.invalidate_caches()
        return self
