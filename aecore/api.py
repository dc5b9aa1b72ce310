"""The verbs as functions: everything that the command line does is one of these calls first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from aecore.assembly import Assembly, assemble, assemble_run, resolve_device, resolve_precision
from aecore.catalogue import Catalogue
from aecore.data.corpus import Corpus, load_corpus
from aecore.data.kinds import check_kind
from aecore.data.recipe import UNITS
from aecore.data.remarks import remarks
from aecore.data.spec import DataSpec
from aecore.errors import ConfigError, RunError
from aecore.evaluation.protocol import Tick
from aecore.progress import Listeners, Progress, Silent
from aecore.reports.curves import Curves
from aecore.run import Run
from aecore.runs.base import Autoencoder, check_language, keep, restore, wished
from aecore.runs.config import RunConfig, build_config
from aecore.runs.files import lock
from aecore.runs.folder import RunFolder, make_folder
from aecore.runs.weights import read_vocabulary
from aecore.training.trainer import Trainer


def train(
    plugins: Sequence[str] = (),
    data: str | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    config: str | Path | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    seed: int | None = None,
    epochs: int | None = None,
    max_steps: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    registries: Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> Run:
    """Train the autoencoder with these plugins, and return the run with its selected weights.

    Args:
        plugins: names, in the order in which chains apply; none trains the plain VAE.
        data: ``toy``, or a folder with train, valid and test as .txt or .jsonl; ``SPEC[:20%]``
            takes the head of train.
        settings: ``{"controlvae.target_kl": 5, "train.lr": 0.5}``.
        config: a config.toml to start from; arguments win over it.
        precision: ``fp32``, ``bf16`` or ``auto``, of the products of training; energies are float32
            in any case.
        out: the run folder; ``runs/<time>-<plugins>`` by default.
        overwrite: replace the run that is there.
        registries: files that list further plugins, for the error that names a missing one.

    Raises:
        AecoreError: for anything that the caller can mend; nothing is written before the input has
            been checked.
    """
    flags: dict[str, dict[str, Any]] = {
        "data": {"spec": data},
        "train": {
            "seed": seed,
            "epochs": epochs,
            "max_steps": max_steps,
            "device": device,
            "precision": precision,
        },
    }
    wanted = build_config(
        Path(config) if config is not None else None, flags, settings or {}, plugins
    )
    with opened(wanted, out, overwrite, progress, registries) as trainer:
        trainer.run()
    return Run.load(trainer.folder.path, trainer.config.train.device)


@contextmanager
def opened(
    config: RunConfig,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    registries: Sequence[str | Path] = (),
) -> Iterator[Trainer]:
    """A trainer that has started a new run; folder locked and torch's threads set in the block."""
    listener = progress or Silent()
    catalogue, recipe = Catalogue.discover(registries), config.train.recipe
    assembly, below = assemble(config.plugins, catalogue, recipe), None
    config = config.model_copy(update={"base": None})  # of the run whose config.toml it was
    if assembly.over:
        below = Autoencoder.find(wished(assembly.over))
        config = below.under(config)
        assembly = assemble(config.plugins, catalogue, recipe, config.base)
    if out is not None:
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
                "train", device=str(device), threads=threads, precision=precision
            )
        )
        folder = _claimed(out, overwrite, assembly.composition.label)
        with lock(folder.path):
            with folder.replaced():
                folder.write_config(config)
                model = assembly.build(config, len(corpus.vocabulary), device)
                if below is not None:
                    below.into(model)
                    keep(model, folder, below.section)
                listeners = _with_curves(listener, folder, config)
                trainer = Trainer(model, corpus, config, folder, listeners)
                _announce(trainer, assembly)
                trainer.start()
            yield trainer


def resume(
    path: str | Path,
    *,
    epochs: int | None = None,
    max_steps: int | None = None,
    device: str | None = None,
    data: str | None = None,
    progress: Progress | None = None,
) -> Run:
    """Go on with a run from its checkpoint, to the uninterrupted run's weights, byte for byte.

    A finished run is returned as it is, unless ``epochs`` or ``max_steps`` extend it.

    Args:
        data: where the corpus of the run lies now; it must be the same.

    Raises:
        RunError: when there is no run, its checkpoint is damaged, its data have changed, or another
            process is writing to it.
    """
    with reopened(
        path, epochs=epochs, max_steps=max_steps, device=device, data=data, progress=progress
    ) as trainer:
        if trainer.state.finished:
            trainer.progress.note(f"'{path}' is finished; --epochs or --max-steps extend it")
        trainer.run()
    return Run.load(path, trainer.config.train.device)


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
    listener = progress or Silent()
    folder = RunFolder.open(Path(path))
    old = folder.read_config()
    config = old.changed("train", epochs=epochs, max_steps=max_steps, device=device)
    if data is not None:
        config = config.changed("data", spec=str(DataSpec.parse(data).absolute))
    assembly = assemble_run(config, Catalogue.discover(), folder.path)
    where = resolve_device(config.train.device)
    with lock(folder.path), _threads(config.train.threads):
        folder.sweep()
        begun = folder.checkpoint.is_file()
        if not begun:
            _require_nothing_done(folder)
        below = None if begun or config.base is None else Autoencoder.again(config.base)
        known = read_vocabulary(folder) if begun else None if below is None else below.vocabulary
        corpus = _load_corpus(config, listener, known)
        model = assembly.build(config, len(corpus.vocabulary), where)
        if below is not None:
            below.into(model)
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


def load(path: str | Path, device: str = "auto") -> Run:
    """The run in a folder, with its selected weights."""
    return Run.load(path, device)


def evaluate(
    path: str | Path,
    judge: str | Path | None = None,
    device: str = "auto",
    split: str = "test",
    limit: int | None = None,
    iw_samples: int | None = None,
    tick: Tick | None = None,
    data: str | None = None,
    registries: Sequence[str | Path] = (),
    tell: Callable[[str], None] = lambda _: None,
    save: bool = False,
) -> dict[str, Any]:
    """The figures of ``aecore evaluate --json``; with a ``judge``, those of `Run.judge` too.

    Of a run that rewrites sentences also those of `Run.rewriting`.

    Args:
        registries: files that list further plugins, for the error that names a missing one.
        tell: called with a line where the run was trained with other versions.
        save: keep the figures of single sentences; see `Run.evaluate`.

    Raises:
        CompositionError: when the likelihood of the judge is not exact; nothing has been measured
            then.
    """
    catalogue = Catalogue.discover(registries)
    run = Run.load(path, device, catalogue, data)
    if run.changed_versions:
        tell(f"note: '{path}' was trained with other versions: {', '.join(run.changed_versions)}")
    other = None if judge is None else Run.load(judge, device, catalogue)
    parts = []
    if run.model.composition.rewrites:
        parts.append(run.rewriting(split, limit, tell))
    if other is not None:
        parts.append(run.judge(other, split, limit, tick))
    figures = run.evaluate(split, limit, iw_samples, tick, save)
    for part in parts:
        estimators = figures.pop("estimators") | part.pop("estimators")
        figures = {**figures, **part, "estimators": estimators}
    return figures


def tradeoff(
    paths: Sequence[str | Path],
    split: str = "test",
    limit: int | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """``aecore tradeoff --json``: style against content of runs over labels, a row for each.

    Args:
        out: an SVG of it; see `aecore.reports.tradeoff`.
        tell: called with a line as each run is done.

    Raises:
        CompositionError: for a run that gives sentences no label.
        ConfigError: when a library is missing, or figures of two corpora would share a table.
    """
    from aecore.reports import tradeoff as report

    if out is not None:
        report.check_figure(Path(out))
    runs = [Run.load(path, device) for path in paths]
    report.check(runs)
    rows = []
    for label, run in zip(report.differing([run.config for run in runs]), runs, strict=True):
        found = run.rewriting(split, limit)
        what = {"run": str(run.path), "method": report.method(run.config), "differs": label}
        rows.append({**what, **found})
        seconds = found["transfer_seconds"]
        tell(f"{run.path}: {found['transfer_sentences']:,} sentences rewritten in {seconds:.1f} s")
    if out is not None:
        report.write(Path(out), rows, f"{runs[0].target_label} on {runs[0].config.data.spec}")
    return rows


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


def _claimed(out: str | Path | None, overwrite: bool, label: str) -> RunFolder:
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
