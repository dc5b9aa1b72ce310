"""Evidence: a run of some hundred steps on the toy corpus, held to what a plugin says of itself.

An invariant is a sentence in plugin.toml and a function that tells whether a `Trial` keeps it:

    [controlvae.invariants.settles]
    says = "after 600 toy steps the KL is within 0.5 nats of the target"
    test = "aecore_controlvae.invariants:settles"
    settings = { target_kl = 5.0 }

The function is imported when evidence is asked for, and never in training.
"""

from __future__ import annotations

import atexit
import importlib
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aecore import api
from aecore.batch import Batch
from aecore.catalogue import Catalogue
from aecore.errors import AecoreError, CompositionError
from aecore.evaluation.protocol import evaluate_split
from aecore.manifest import Invariant, Kept
from aecore.model import Model
from aecore.opening import opened
from aecore.plugin import Plugin
from aecore.progress import Silent
from aecore.runs.config import build_config
from aecore.streams import Streams
from aecore.testing.compare import snapshot
from aecore.training.trainer import Trainer

#: Validation sentences that figures are taken from.
SENTENCES = 200
#: Steps between two lines of `Trial.rows`.
LOG_EVERY = 10
#: Steps of the autoencoder that a plugin may work over.
BASE_STEPS = 300


@dataclass
class Trial:
    """A run that is over, as an invariant sees it.

    Attributes:
        plugin: the one whose invariant it is, with ``config`` and buffers as they are at the end.
        model: the whole composition, with its last weights.
        rows: the means of every ten joint steps, as in metrics.jsonl.
        weights: copies of all parameters by moment: ``initial``, the end of each stage by its name,
            and ``joint``, before the first joint step.
        first, last: the figures of 200 validation sentences before anything was trained and at the
            end, by the names of summary.json.
    """

    plugin: Plugin
    model: Model
    rows: list[dict[str, Any]]
    weights: dict[str, dict[str, Tensor]]
    first: dict[str, Any]
    last: dict[str, Any]
    _valid: Callable[[int], Batch]

    def valid(self, n: int = 64) -> Batch:
        """The first ``n`` validation sentences."""
        return self._valid(n)

    def off_the_space(self, draws: int = 4) -> float:
        """How far posterior draws, posterior means or prior draws lie off the latent space."""
        batch = self.valid()
        with torch.no_grad():
            sample = self.model.posterior_sample(self.model.features(batch), draws, batch)
            prior = self.model.prior_sample(len(batch))
            points = [sample.z.flatten(0, 1), self.model.code(batch), prior]
            return max(float(self.model.space.off(point).max()) for point in points)

    def mean(self, name: str, steps: int = 50) -> float:
        """The mean of a scalar of `rows` over the last so many steps.

        Raises:
            AecoreError: when no line has it.
        """
        values = [row[name] for row in self.rows[-steps // LOG_EVERY :] if name in row]
        if not values:
            known = ", ".join(sorted({key for row in self.rows for key in row}))
            raise AecoreError(f"no line of the joint steps has '{name}'", f"known: {known}")
        return math.fsum(values) / len(values)


#: What a test of an invariant is.
Test = Callable[[Trial], Kept]


@dataclass
class _Rows(Silent):
    rows: list[dict[str, Any]] = field(default_factory=list)

    def row(self, row: Mapping[str, object]) -> None:
        if row.get("span") == "window" and row.get("stage") == "joint":
            self.rows.append(dict(row))


def test_of(invariant: Invariant) -> Test:
    """The function that an invariant names.

    Raises:
        CompositionError: when it cannot be imported.
    """
    module, _, name = invariant.test.partition(":")
    try:
        found: Test = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CompositionError(
            f"the test '{invariant.test}' of an invariant cannot be imported",
            f"raised: {type(error).__name__}: {error}",
        ) from error
    return found


def invariants_of(company: Sequence[str], catalogue: Catalogue) -> dict[str, Invariant]:
    """The invariants of all plugins of a company, by ``plugin.invariant``."""
    return {
        f"{name}.{key}": invariant
        for name in company
        for key, invariant in catalogue.part(name).manifest.invariants.items()
    }


def gathered(company: Sequence[str], seed: int = 0) -> dict[str, Kept]:
    """Train a company, and ask every invariant of its plugins; by ``plugin.invariant``.

    An error of the run or of a test is a finding: nothing of what it would have shown is kept.

    Raises:
        CompositionError: when the company does not compose.
    """
    catalogue = Catalogue.discover()
    asked = invariants_of(company, catalogue)
    try:
        runs = {steps: _run(company, asked, steps, seed) for steps in _lengths(asked)}
    except CompositionError:
        raise
    except AecoreError as error:
        return {key: Kept(kept=False, found=f"the run broke off: {error.what}") for key in asked}
    found = {}
    for key, invariant in asked.items():
        trial = runs[invariant.steps](key.partition(".")[0])
        try:
            with Streams(seed, trial.model.device)("invariant", key):
                found[key] = test_of(invariant)(trial)
        except AecoreError as error:
            found[key] = Kept(kept=False, found=error.what)
    return found


def _lengths(asked: Mapping[str, Invariant]) -> list[int]:
    return sorted({invariant.steps for invariant in asked.values()})


def _run(
    company: Sequence[str], asked: Mapping[str, Invariant], steps: int, seed: int
) -> Callable[[str], Trial]:
    """One run of so many joint steps; a function from a plugin's name to its trial."""
    settings = _settings(company, asked)
    data = next(
        (kind for name in company if (kind := Catalogue.discover().part(name).manifest.data)), None
    )
    flags: dict[str, dict[str, Any]] = {
        "data": {"spec": "toy" if data is None else f"toy:{data}"},
        "train": {"max_steps": steps, "seed": seed, "device": "cpu", "precision": "fp32"},
        "evaluate": {},
    }
    flags["train"] |= {"log_every": LOG_EVERY, "threads": 1, "epochs": 1 + steps // 250}
    listener = _Rows()
    with tempfile.TemporaryDirectory(prefix="aecore-evidence-") as folder:
        config = build_config(None, flags, settings, company)
        with opened(config, Path(folder, "run"), progress=listener) as trainer:
            first = _figures(trainer)
            weights = _to_the_end(trainer)
            model, last, valid = trainer.model.eval(), _figures(trainer), trainer.corpus.valid

    def batch(n: int) -> Batch:
        return valid.batch(torch.arange(min(n, len(valid))))

    def trial(name: str) -> Trial:
        return Trial(model.plugin(name), model, listener.rows, weights, first, last, batch)

    return trial


def _settings(company: Sequence[str], asked: Mapping[str, Invariant]) -> dict[str, Any]:
    found = {
        f"{key.partition('.')[0]}.{name}": value
        for key, invariant in asked.items()
        for name, value in invariant.settings.items()
    }
    catalogue = Catalogue.discover()
    for name in company:
        if catalogue.part(name).manifest.base is not None:
            found[f"{name}.autoencoder"] = _autoencoder()
    return found


@cache
def _autoencoder() -> str:
    """A plain VAE for plugins that work over a run: no hook of it is a method's.

    It lives as long as the process.
    """
    folder = tempfile.TemporaryDirectory(prefix="aecore-evidence-")
    atexit.register(folder.cleanup)
    path = Path(folder.name, "vae")
    api.train([], "toy:pairs", {"train.threads": 1}, max_steps=BASE_STEPS, out=path)
    return str(path)


def _figures(trainer: Trainer) -> dict[str, Any]:
    size = trainer.config.evaluate.batch_size
    return evaluate_split(trainer.model, trainer.corpus.valid, Streams(0), size, SENTENCES).report()


def _to_the_end(trainer: Trainer) -> dict[str, dict[str, Tensor]]:
    """Every step, but not the measures that end a run; parameters at the moments between phases."""
    state, weights = trainer.state, {"initial": snapshot(trainer.model)}
    while not (state.joint and state.step >= trainer.total_steps):
        phase, name = state.phase, trainer.phase.name
        if state.joint and "joint" not in weights:
            weights["joint"] = snapshot(trainer.model)
        trainer.advance()
        if name != "joint" and state.phase == phase and state.checked == state.step:
            weights[name] = snapshot(trainer.model)  # before ``Stage.done``
    return weights
