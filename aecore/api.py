"""The verbs as functions: everything that the command line does is one of these calls first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aecore import ranks
from aecore.catalogue import Catalogue
from aecore.evaluation import diversity
from aecore.evaluation.protocol import Tick
from aecore.opening import opened, reopened
from aecore.progress import Progress
from aecore.run import Run
from aecore.runs.config import build_config


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
        ranks.agree(False)  # the first has written all that the others may want to read
    return Run.load(trainer.folder.path, trainer.config.train.device)


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
        ranks.agree(False)  # the first has written all that the others may want to read
    return Run.load(path, trainer.config.train.device)


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
    text: bool = False,
) -> dict[str, Any]:
    """The figures of ``aecore evaluate --json``; with a ``judge``, those of `Run.judge` too.

    Of a run that rewrites sentences also those of `Run.rewriting`.

    Args:
        registries: files that list further plugins, for the error that names a missing one.
        tell: called with a line where the run was trained with other versions.
        save: keep the figures of single sentences; see `Run.evaluate`.
        text: measure the run's text too; see `aecore.evaluation.diversity`.

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
    if text:
        parts.append(diversity.measured(run.texts(split, limit), run.config.train.seed, split))
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
