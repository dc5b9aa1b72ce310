"""Opening a run: from a configuration or a folder to a trainer, its folder held meanwhile.

Inside of torchrun each process opens it, and the first alone writes and speaks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from aecore import distributed, ranks
from aecore.assembly import Assembly, assemble, assemble_run, resolve_device, resolve_precision
from aecore.catalogue import Catalogue
from aecore.data.corpus import Corpus, load_corpus
from aecore.data.kinds import check_kind
from aecore.data.recipe import UNITS
from aecore.data.remarks import remarks
from aecore.data.spec import DataSpec
from aecore.errors import ConfigError, RunError
from aecore.progress import Listeners, Progress, Silent
from aecore.reports.curves import Curves
from aecore.runs.base import Autoencoder, check_language, keep, restore, wished
from aecore.runs.config import RunConfig
from aecore.runs.files import lock
from aecore.runs.folder import RunFolder, make_folder
from aecore.runs.weights import read_vocabulary
from aecore.training.trainer import Trainer


@contextmanager
def opened(
    config: RunConfig,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    registries: Sequence[str | Path] = (),
) -> Iterator[Trainer]:
    """A trainer that has started a new run; folder locked and torch's threads set in the block.

    Inside of torchrun each process has one, and the first alone writes and speaks.
    """
    with (
        distributed.joined(resolve_device(config.train.device)),
        _opened(config, out, overwrite, progress, registries) as trainer,
    ):
        yield trainer


@contextmanager
def _opened(
    config: RunConfig,
    out: str | Path | None,
    overwrite: bool,
    progress: Progress | None,
    registries: Sequence[str | Path],
) -> Iterator[Trainer]:
    listener = progress if progress is not None and ranks.first() else Silent()
    catalogue, recipe = Catalogue.discover(registries), config.train.recipe
    assembly, below = assemble(config.plugins, catalogue, recipe), None
    config = config.model_copy(update={"base": None})  # of the run whose config.toml it was
    if assembly.over:
        below = Autoencoder.find(wished(assembly.over))
        config = below.under(config)
        assembly = assemble(config.plugins, catalogue, recipe, config.base)
    if out is not None and ranks.first():
        RunFolder(Path(out)).check_free(overwrite)
    device = resolve_device(config.train.device)
    corpus = _load_corpus(config, listener, None if below is None else below.vocabulary)
    check_kind(corpus, assembly.composition.data, assembly.composition.label)
    if below is not None:
        check_language(corpus, below)
    with _threads(config.train.threads) as threads:
        precision = resolve_precision(config.train.precision, device)
        spec = str(DataSpec.parse(config.data.spec).absolute)
        config = assembly.write_out(
            config.changed("data", spec=spec).changed(
                "train", device=_written(device), threads=threads, precision=precision
            )
        )
        folder = _claimed(out, overwrite, assembly.composition.label)
        with _held(folder):
            with folder.replaced() if ranks.first() else nullcontext():
                if ranks.first():
                    folder.write_config(config)
                model = assembly.build(config, len(corpus.vocabulary), device)
                if below is not None:
                    below.into(model)
                    if ranks.first():
                        keep(model, folder, below.section)
                listeners = _with_curves(listener, folder, config)
                trainer = Trainer(model, corpus, config, folder, listeners)
                _announce(trainer, assembly)
                trainer.start()
            yield trainer


@contextmanager
def reopened(
    path: str | Path,
    *,
    epochs: int | None = None,
    max_steps: int | None = None,
    device: str | None = None,
    data: str | None = None,
    progress: Progress | None = None,
) -> Iterator[Trainer]:
    """A trainer that stands where the run's checkpoint was written."""
    folder = RunFolder.open(Path(path))
    old = folder.read_config()
    config = old.changed("train", epochs=epochs, max_steps=max_steps, device=device)
    with (
        distributed.joined(resolve_device(config.train.device)),
        _reopened(folder, old, config, data, progress) as trainer,
    ):
        yield trainer


@contextmanager
def _reopened(
    folder: RunFolder,
    old: RunConfig,
    config: RunConfig,
    data: str | None,
    progress: Progress | None,
) -> Iterator[Trainer]:
    listener = progress if progress is not None and ranks.first() else Silent()
    if data is not None:
        config = config.changed("data", spec=str(DataSpec.parse(data).absolute))
    assembly = assemble_run(config, Catalogue.discover(), folder.path)
    where = resolve_device(config.train.device)
    with _held(folder), _threads(config.train.threads):
        begun = folder.checkpoint.is_file()
        if not begun:
            _require_nothing_done(folder)
        below = None if begun or config.base is None else Autoencoder.again(config.base)
        known = read_vocabulary(folder) if begun else None if below is None else below.vocabulary
        corpus = _load_corpus(config, listener, known)
        model = assembly.build(config, len(corpus.vocabulary), where)
        if below is not None:
            below.into(model)
            if ranks.first():
                keep(model, folder, below.section)
        elif config.base is not None:
            restore(model, folder, config.base)
        trainer = Trainer(model, corpus, config, folder, _with_curves(listener, folder, config))
        if begun:
            trainer.restore()
            _extend(trainer, old)
        else:  # killed before its first checkpoint: config.toml alone makes the same run
            trainer.start()
        _announce(trainer, assembly)
        yield trainer


def _require_nothing_done(folder: RunFolder) -> None:
    """Refuse to begin again where there is work that a beginning would replace."""
    rows = folder.metrics.is_file() and folder.metrics.stat().st_size > 0
    done = [file.name for file in (folder.weights, folder.summary) if file.is_file()]
    done += [folder.metrics.name] if rows else []
    if done:
        raise RunError(
            f"'{folder.path}' has no checkpoint.safetensors, so it cannot go on",
            f"but it has {', '.join(done)}, which a new beginning would replace",
            f"what it can do: aecore evaluate {folder.path}; or train anew with --overwrite",
        )


def _extend(trainer: Trainer, old: RunConfig) -> None:
    """Let a run go on to a later end, or refuse an earlier one than it has reached."""
    state = trainer.state
    if state.joint and trainer.total_steps < state.step:
        raise ConfigError(
            f"the run has done {state.step} steps, more than the {trainer.total_steps} that are "
            f"asked for",
            f"steps per epoch: {trainer.steps_per_epoch}",
        )
    if trainer.config != old:
        trainer.folder.write_config(trainer.config)
    trainer.extend()


def _with_curves(listener: Progress, folder: RunFolder, config: RunConfig) -> Progress:
    """The listener, and behind it the drawing of the curves."""
    if not ranks.first():
        return listener
    return Listeners(listener, Curves(folder, config, listener.note))


def _load_corpus(config: RunConfig, progress: Progress, vocabulary: Any = None) -> Corpus:
    data = config.data
    corpus = load_corpus(data.spec, data.max_length, vocabulary, data.recipe, progress.note)
    for report in corpus.reports:
        for line in report.lines():
            progress.note(line)
    return corpus


def _announce(trainer: Trainer, assembly: Assembly) -> None:
    corpus, model, train = trainer.corpus, trainer.model, trainer.config.train
    for line in remarks(corpus):
        trainer.progress.note(line)
    if (base := trainer.config.base) is not None:
        sizes = f"D = {model.sizes.latent}, hidden {model.sizes.hidden}"
        trainer.progress.note(f"over '{base.run}': its sizes ({sizes}) and its vocabulary")
    parameters = sum(p.numel() for p in model.parameters())
    trainer.progress.note(
        f"{assembly.composition.label} on {trainer.config.data.spec}: {len(corpus.train):,} "
        f"sentences, "
        f"{len(corpus.vocabulary):,} {UNITS[corpus.vocabulary.kind]}, {parameters:,} parameters, "
        f"K = {model.samples}, seed {train.seed}, {model.device.type}, {train.precision}, recipe "
        f"{train.recipe}, "
        f"{trainer.folder.path}"
    )
    if ranks.size() > 1:
        trainer.progress.note(
            f"{ranks.size()} processes share each batch of {train.batch_size} sentences"
        )


def _written(device: torch.device) -> str:
    """How config.toml says it: each process has a GPU of its own."""
    return device.type if ranks.size() > 1 else str(device)


@contextmanager
def _held(folder: RunFolder) -> Iterator[None]:
    """The folder's lock, which the first process holds for all; the others wait until it does."""
    if not ranks.first():
        ranks.agree(False)
        yield
        return
    with lock(folder.path):
        folder.sweep()
        ranks.agree(False)
        yield


def _claimed(out: str | Path | None, overwrite: bool, label: str) -> RunFolder:
    """The folder for a new run, which the first process makes for all."""
    made = str(_made(out, overwrite, label).path) if ranks.first() else ""
    return RunFolder(Path(ranks.said(made)))


def _made(out: str | Path | None, overwrite: bool, label: str) -> RunFolder:
    """The folder that was named, or a new one that no other run of this second has."""
    if out is not None:
        return RunFolder.create(Path(out), overwrite)
    stem = Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{label}"
    make_folder(stem.parent)
    for number in range(1000):
        path = stem if number == 0 else stem.with_name(f"{stem.name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return RunFolder(path)
    raise ConfigError(f"'{stem}' and its successors exist already", "name a folder with --out")


@contextmanager
def _threads(wanted: int) -> Iterator[int]:
    """torch's CPU threads inside the block; the number found is restored."""
    before = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(wanted)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
