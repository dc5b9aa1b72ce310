"""Trial of a company: it is trained for a few steps on toy sentences, and looked at.

A plugin keeps its place in a company when every hook that it declares is called and the gradient of
some step is another without it; the company is sound when its figures are finite, and a run that
was saved and loaded, or killed and resumed, is the uninterrupted one.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch

from aecore.data import toy
from aecore.data.corpus import Corpus, Split
from aecore.data.vocabulary import Vocabulary
from aecore.errors import AecoreError, CompositionError
from aecore.evaluation.protocol import evaluate_split
from aecore.matrix.cells import Cell
from aecore.matrix.companies import Company
from aecore.model import Model
from aecore.runs.checkpoint import load_tensors, save_tensors
from aecore.streams import Streams
from aecore.testing.compare import changed, difference, shown
from aecore.testing.lab import TinyTrainer, build, laboratory, reopen, training
from aecore.testing.listening import Listening, generate
from aecore.testing.noise import separate_noise
from aecore.testing.subject import Subject

#: Sentences of the three splits: three batches an epoch, the last one smaller.
SENTENCES = {"train": 21, "valid": 6, "test": 6}
#: Joint steps that are compared; more than an epoch.
STEPS = 5
#: What counts as another gradient norm, relative.
APART = 1e-5
#: Kinds of refusal that a plugin asks for: what they spare can be seen.
ASKED = frozenset({"needs", "base"})
PAIR = 2


@cache
def sentences() -> Corpus:
    """Toy sentences, negative and positive ones in turn, each with its answer as the target."""
    pairs = {
        split: [(one.text, other.text) for one, other in toy.pairs()[split][:number]]
        for split, number in SENTENCES.items()
    }
    turned = {
        split: [pair if row % 2 == 0 else pair[::-1] for row, pair in enumerate(found)]
        for split, found in pairs.items()
    }
    vocabulary = Vocabulary.build([text for pair in turned["train"] for text in pair])
    train, valid, test = (_split(name, found, vocabulary) for name, found in turned.items())
    return Corpus(train, valid, test, vocabulary, labels=("negative", "positive"))


def _split(name: str, pairs: Sequence[tuple[str, str]], vocabulary: Vocabulary) -> Split:
    sources, targets = ([pair[side] for pair in pairs] for side in (0, 1))
    flat, offsets = vocabulary.encode(sources)
    labels = torch.arange(len(pairs), dtype=torch.int32) % 2
    return Split(name, flat, offsets, labels, Split.of(name, targets, vocabulary))


def subjects(company: Company, unasked: bool = False) -> tuple[Subject, ...]:
    """The installed plugins of a company; the defaults where it has none.

    Args:
        unasked: compose them whether or not requirements are met.
    """
    found = tuple(map(_subject, company)) or (Subject.defaults(),)
    return tuple(replace(one, unasked=True) for one in found) if unasked else found


@cache
def _subject(name: str) -> Subject:
    return Subject.installed(name)


def examined(company: Company, kind: str, reason: str) -> Cell:
    """The cell of a company of which composition says this; nothing said: it composes."""
    began = time.perf_counter()
    anyway: tuple[str, ...] | None = None
    if not kind:
        wrong = _findings(lambda: _wrong(company))
    else:
        wrong = () if _refused(company) else ("composition refuses it, and training does not",)
        if kind in ASKED and len(company) <= PAIR:  # a triple is refused for a pair's reason
            anyway = _findings(lambda: _wrong_anyway(company))
    seconds = round(time.perf_counter() - began, 1)
    return Cell(
        plugins=company, kind=kind, reason=reason, wrong=wrong, anyway=anyway, seconds=seconds
    )


def _findings(search: Callable[[], Iterator[str]]) -> tuple[str, ...]:
    """What is wrong; nothing where all is well."""
    found: list[str] = []
    with laboratory("matrix"):
        try:
            for line in search():
                found.append(line)
        except AecoreError as error:
            found.append("; ".join([error.what, *error.evidence[:1]]))
        except Exception as error:  # of nobody's making: it is a finding all the same
            found.append(
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            )
    return tuple(found)


def _refused(company: Company) -> bool:
    """Whether training refuses to begin with it."""
    one, *others = subjects(company)
    try:
        one.assembly(*others)
    except CompositionError:
        return True
    return False


def _wrong(company: Company) -> Iterator[str]:
    """Of a company that composes: hooks, effects, figures, saving, resuming."""
    heard = Listening(separate_noise)
    one, *others = subjects(company)
    with training(one, *others, observer=heard, data=sentences(), dropout=0.0) as trainer:
        trainer.to_the_end()
        generate(trainer.model, sentences())
        weights = trainer.folder.weights.read_bytes()
        yield from _unheard(company, heard, trainer)
        yield from _without_effect(company)
        yield from _not_finite(trainer)
        yield from _lost_in_saving(company, trainer)
        yield from _lost_in_resuming(company, trainer, weights)


def _wrong_anyway(company: Company) -> Iterator[str]:
    """Of a company whose needs are not met: what refusing it spares."""
    heard = Listening(separate_noise)
    one, *others = subjects(company, unasked=True)
    with training(one, *others, observer=heard, data=sentences(), dropout=0.0) as trainer:
        trainer.to_the_end()
        generate(trainer.model, sentences())
        yield from _unheard(company, heard, trainer)
        yield from _without_effect(company, unasked=True)
        yield from _not_finite(trainer)


def _unheard(company: Company, heard: Listening, trainer: TinyTrainer) -> Iterator[str]:
    """Hooks that are declared and that nobody asks."""
    calls = {(call.plugin, call.hook) for call in heard.calls}
    for subject in subjects(company):
        for hook in subject.manifest.hooks:
            if hook == "prior_logprob" and trainer.model.level["prior"] == "samples":
                continue  # there is no density to ask for
            if (subject.name, hook) not in calls:
                yield f"{hook} of '{subject.name}' is never called"


def _without_effect(company: Company, unasked: bool = False) -> Iterator[str]:
    """Plugins without which training is the same."""
    for subject in subjects(company):
        rest = tuple(name for name in company if name != subject.name)
        if subject.is_default or not set(subject.manifest.hooks) - {"latent_map"}:
            continue  # it is for use after training
        if not any(_differ(company, rest, spread, unasked) for spread in (True, False)):
            yield f"training is the same without '{subject.name}'"


def _differ(company: Company, rest: Company, spread: bool, unasked: bool) -> bool:
    try:
        other = traced(rest, spread)
    except CompositionError:
        return True  # what is left cannot be trained at all
    whole = traced(company, spread, unasked)
    return bool(difference(whole, other, ("grad_norm",), APART))  # a loss may have a constant


@lru_cache(maxsize=256)
def traced(company: Company, spread: bool, unasked: bool = False) -> list[dict[str, Any]]:
    """The first joint steps; each hook draws from a stream of its own.

    Args:
        spread: from weights far from 0; a floor shows only near it, a ceiling only far away.
    """
    one, *others = subjects(company, unasked)
    settings: dict[str, Any] = {"spread": spread, "observer": separate_noise, "dropout": 0.0}
    with laboratory("trace"), training(one, *others, data=sentences(), **settings) as trainer:
        trainer.batching = "mixed"  # other batches are no effect of a plugin's
        while not (trainer.state.joint and trainer.state.step == STEPS):
            trainer.advance()
    return [row for row in trainer.rows if row["stage"] == "joint"]


def _figures(model: Model) -> dict[str, Any]:
    with laboratory("figures"), model.hooks.observed(separate_noise):
        return evaluate_split(model, sentences().test, Streams(0), 4, mi=True).report()


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items() if isinstance(value, float | int)}


def _not_finite(trainer: TinyTrainer) -> Iterator[str]:
    for name, value in _numbers(_figures(trainer.model)).items():
        if not math.isfinite(value):
            yield f"{name} is {value} on the test sentences"


def _lost_in_saving(company: Company, trainer: TinyTrainer) -> Iterator[str]:
    one, *others = subjects(company)
    with tempfile.TemporaryDirectory(prefix="aecore-matrix-") as folder:
        path = Path(folder, "model.safetensors")
        save_tensors(path, trainer.model.state_dict(), {})
        loaded = build(one, *others, seed=1, dropout=0.0, data=sentences())
        loaded.load_state_dict(load_tensors(path)[0])
    before, after = _figures(trainer.model), _figures(loaded)
    for name, value in _numbers(before).items():
        if after[name] != value:
            yield f"{name} is {value:g}, and {after[name]:g} after saving and loading"


def _lost_in_resuming(company: Company, whole: TinyTrainer, weights: bytes) -> Iterator[str]:
    """A kill in the middle of the joint phase, and one in the first stage where there is one."""
    one, *others = subjects(company)
    rounds = 0
    with training(one, *others, data=sentences(), dropout=0.0) as trainer:
        kills = [(phase, 2) for phase in range(trainer.state.phases)]
        while not trainer.state.finished:
            with trainer.model.hooks.observed(separate_noise):
                trainer.advance()
            if (trainer.state.phase, trainer.state.step) in kills:
                kills.remove((trainer.state.phase, trainer.state.step))
                trainer.save()
                trainer, rounds = reopen(trainer, one, *others), rounds + 1
        found = trainer.folder.weights.read_bytes()
    if not rounds:
        yield "the run was over before it could be killed"
    elif found != weights:
        differ = shown(changed(whole.model.state_dict(), trainer.model.state_dict()))
        yield f"a killed and resumed run ends with other weights: {differ or 'in the file alone'}"
