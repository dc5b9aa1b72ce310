"""Checks of randomness and state: seeds, instances, saving, resuming, evaluation."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aecore.composition import reaches
from aecore.evaluation.protocol import Figures, evaluate_split
from aecore.model import Model, evaluating
from aecore.plugin import Plugin
from aecore.runs.checkpoint import load_tensors, save_tensors
from aecore.streams import Streams, stream
from aecore.testing.compare import changed, difference, largest, shown
from aecore.testing.lab import (
    batch_of,
    build,
    corpus,
    reopen,
    step_on,
    training,
    values_of,
)
from aecore.testing.listening import whole_run
from aecore.testing.registry import Case, promise
from aecore.testing.subject import Subject

#: Divergences that take a controller out of its clip on either side.
DIVERGENCES = (0.1, 1.0, 4.0, 20.0, 100.0)


@promise(owes=2)
def check_same_seed_same_result(case: Case) -> None:
    """Two runs with one seed have the same losses and the same weights, byte for byte."""
    one = whole_run(case.subject)
    with _elsewhere() as drawn, training(case.subject) as other:
        weights = other.to_the_end().folder.weights.read_bytes()
    causes = (
        f"likely: "
        f"{' and '.join(drawn) or 'state on the class or module, time, or the order of a set'}"
    )
    apart = difference(one.trainer.rows, other.rows)
    case.require(not apart, "two runs with the same seed differ", f"first: {apart}", causes)
    case.require(
        one.weights == weights, "two runs with the same seed end with other weights", causes
    )


@contextmanager
def _elsewhere() -> Iterator[list[str]]:
    """Leave the generators that nobody seeds as another process would; tells who drew."""
    before, drawn = (random.getstate(), np.random.get_state()), list[str]()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(20)
    states = (random.getstate(), repr(np.random.get_state()))
    try:
        yield drawn
        if random.getstate() != states[0]:
            drawn.append("Python's random, which the core does not seed: draw with torch")
        if repr(np.random.get_state()) != states[1]:
            drawn.append("numpy.random, which the core does not seed: draw with torch")
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _draws(subject: Subject) -> str:
    random_posterior = reaches("posterior", subject.level.get("posterior"), "sampled")
    return (
        "" if random_posterior or "prior_sample" in subject.manifest.hooks else "it draws nothing"
    )


@promise(_draws)
def check_other_seed_other_result(case: Case) -> None:
    """Posterior and prior draws differ between seeds, calls, samples and sentences."""
    model, twins = build(case.subject, dropout=0.0), batch_of((4, 4))  # the same sentence twice

    def posterior() -> Tensor:
        return model.posterior_sample(model.features(twins), 2, twins).z.detach().flatten(0, 1)

    draws: dict[str, Callable[[], Tensor]] = {
        "prior_sample": lambda: model.prior_sample(4).detach()
    }
    if reaches("posterior", model.level["posterior"], "sampled"):
        draws["posterior_sample"] = posterior
    likely = (
        "likely: a seed or a generator of the plugin's own, noise kept from an earlier call, or "
        "noise that is expanded"
    )
    for hook, draw in draws.items():
        with stream("one"):
            one, again = draw(), draw()
        with stream("other"):
            other = draw()
        case.require(
            not torch.equal(one, other), f"{hook} draws the same under another seed", likely
        )
        case.require(not torch.equal(one, again), f"{hook} draws the same twice", likely)
        apart = torch.cdist(one, one) + torch.eye(len(one))
        case.require(bool((apart > 0).all()), f"{hook} gives two samples the same noise", likely)


@promise()
def check_hooks_never_seed(case: Case) -> None:
    """Neither the constructor nor a hook seeds torch: the core lends each a stream of its own."""
    subject, sizes = case.subject, build(case.subject).sizes
    due = "due: just draw; the core has seeded torch already, differently for each seed and step"
    with stream("constructor"):
        before = torch.default_generator.initial_seed()
        subject.cls(subject.config(), sizes)
        case.require(
            torch.default_generator.initial_seed() == before, "the constructor seeds torch", due
        )
    for call in whole_run(subject).heard:
        case.require(
            not call.seeded or call.plugin != subject.name,
            f"{call.hook} seeds torch",
            f"hook: {call.place}",
            due,
        )


@promise(owes=3)
def check_instances_share_nothing(case: Case) -> None:
    """Two runs that take turns in one process do not disturb each other."""
    name, cls = case.subject.name, case.subject.cls
    before = _class_state(cls)
    with training(case.subject) as one, training(case.subject) as other:
        while one.advance() | other.advance():
            pass
    likely = "likely: a mutable class attribute or default argument, or state in the module"
    shared = _shared(one.model.plugin(name), other.model.plugin(name))
    case.require(not shared, "two instances share state", f"shared: {', '.join(shared)}", likely)
    after = _class_state(cls)
    written = [key for key, value in after.items() if before.get(key) != value]
    case.require(
        not written,
        "training writes to the class",
        f"attributes: {', '.join(written)}",
        "due: state in buffers",
    )
    apart = difference(one.rows, other.rows)
    case.require(not apart, "two equal runs that take turns differ", f"first: {apart}", likely)


def _class_state(cls: type[Plugin]) -> dict[str, str]:
    plain = (int, float, str, list, dict, set, Tensor, type(None))
    return {
        key: repr(value)
        for key, value in vars(cls).items()
        if not key.startswith("__") and isinstance(value, plain)
    }


def _shared(one: Plugin, other: Plugin) -> list[str]:
    theirs = {
        id(value) for value in vars(other).values() if isinstance(value, (list, dict, set, Tensor))
    }
    names = [name for name, value in vars(one).items() if id(value) in theirs]
    storages = {
        tensor.untyped_storage().data_ptr()
        for tensor in other.state_dict().values()
        if tensor.numel()
    }
    tensors = one.state_dict().items()
    return names + [
        name for name, t in tensors if t.numel() and t.untyped_storage().data_ptr() in storages
    ]


@promise(owes=5)
def check_state_survives_saving(case: Case) -> None:
    """A model of another seed that loads the saved weights behaves as the one that was saved."""
    with training(case.subject, dropout=0.0) as trainer, tempfile.TemporaryDirectory() as folder:
        model = trainer.to_the_end().model
        path = Path(folder, "model.safetensors")
        save_tensors(path, model.state_dict(), {})
        loaded = build(case.subject, seed=1, dropout=0.0)
        loaded.load_state_dict(load_tensors(path)[0])
    one, other = _behaviour(model), _behaviour(loaded)
    for name, value in one.items():
        lines = (f"largest difference: {largest(value, other[name]):.3g}",)
        likely = "likely: state that is no buffer: register_buffer(name, tensor)"
        case.require(
            torch.equal(value, other[name]),
            f"{name} differs after saving and loading",
            *lines,
            likely,
        )


def _behaviour(model: Model) -> dict[str, Tensor]:
    """What a model computes from the same batch, noise and divergences."""
    schedule = model.hooks.owner("beta_schedule")
    betas = [
        schedule(index=5, epoch=5 / 3, total_steps=6, kl=torch.tensor(kl)) for kl in DIVERGENCES
    ]
    found = {"beta_schedule": torch.tensor([float(beta) for beta in betas])}
    for mode in (True, False):
        with stream("behaviour"), torch.set_grad_enabled(True):
            step = step_on(model.train(mode), batch_of(7))
            found |= {
                f"{name} in {'training' if mode else 'evaluation'}": v.detach()
                for name, v in values_of(step).items()
            }
    with stream("behaviour"), evaluating(model):
        found["prior_sample"] = model.prior_sample(3)
        if reaches("prior", model.level["prior"], "density"):
            found["prior_logprob"] = model.prior_logprob(found["prior_sample"])
    return found


@promise(owes=2)
def check_resumed_run_is_identical(case: Case) -> None:
    """A run killed after every second unit and resumed ends with the uninterrupted weights."""
    whole, kills = whole_run(case.subject), 0
    with training(case.subject) as trainer:
        while trainer.advance() and trainer.advance():
            trainer.save()
            trainer, kills = reopen(trainer, case.subject), kills + 1
        found = trainer.folder.weights.read_bytes()
    case.require(kills > 1, "the run was over before it could be killed")
    differ = shown(changed(whole.trainer.model.state_dict(), trainer.model.state_dict()))
    lines = (f"differ: {differ}", f"killed {kills} times, each time after a checkpoint")
    likely = (
        "likely: state that is no buffer, such as a Python number or list, is lost with the process"
    )
    case.require(
        found == whole.weights, "a killed and resumed run ends with other weights", *lines, likely
    )
    name = case.subject.name
    one, other = (_numbers(run.model.plugin(name)) for run in (whole.trainer, trainer))
    lost = [f"self.{key}: {one[key]!r}, and {other.get(key)!r} with kills" for key in one]
    lost = [line for line, key in zip(lost, one, strict=True) if one[key] != other.get(key)]
    due = "due: state that matters, now or later, is a buffer: register_buffer(name, tensor)"
    case.require(not lost, "a killed and resumed run ends with other Python numbers", *lost, due)


def _numbers(plugin: Plugin) -> dict[str, str]:
    """The numbers, and lists of numbers, that the plugin keeps in attributes."""
    own = {key: value for key, value in vars(plugin).items() if not key.startswith("_")}
    kinds = (bool, int, float, list, tuple, dict)
    return {
        key: repr(value)
        for key, value in own.items()
        if isinstance(value, kinds) and key not in {"logged", "training"}
    }


def _evaluate(model: Model, batch_size: int = 4) -> Figures:
    return evaluate_split(model, corpus().valid, Streams(0), batch_size)


@promise()
def check_evaluation_is_deterministic(case: Case) -> None:
    """Evaluating twice gives the same figures, at any batch size if sentences are alone."""
    model, found = build(case.subject), []
    for key in ("one", "other"):
        with stream(key):
            found.append(_evaluate(model))
    likely = "likely: state that changes in evaluation, or a generator of the plugin's own"
    names = ("objective", "rec", "penalty" if found[0].kl is None else "kl")
    for name in names:
        one, other = (float(getattr(figures, name)) for figures in found)
        case.require(
            one == other,
            f"evaluating twice gives another {name}",
            f"{one!r}, then {other!r}",
            likely,
        )
    if reaches("kl", model.level["kl"], "sentence"):
        alone = _evaluate(model, 1)
        for name in ("rec", "kl"):
            one, other = float(getattr(found[0], name)), float(getattr(alone, name))
            line = f"{one:.6f} with 4 sentences at a time, {other:.6f} with 1"
            case.require(
                abs(one - other) <= 1e-4 * max(1.0, abs(one)),
                f"{name} depends on the evaluation's batch size",
                line,
            )


@promise(owes=2)
def check_evaluation_leaves_training_alone(case: Case) -> None:
    """Evaluating changes no tensor and no later step of training."""
    plain, more = whole_run(case.subject).trainer, True
    with training(case.subject) as watched:
        while more:
            before = {name: tensor.clone() for name, tensor in watched.model.state_dict().items()}
            _evaluate(watched.model)
            moved = changed(before, watched.model.state_dict())
            likely = "likely: a hook updates a buffer without asking whether self.training"
            case.require(
                not moved, "evaluating changes the model", f"changed: {shown(moved)}", likely
            )
            more = watched.advance()
    apart = difference(plain.rows, watched.rows)
    likely = "likely: a hook keeps something from evaluation; ask self.training"
    case.require(
        not apart,
        "training is another when the model is evaluated in between",
        f"first: {apart}",
        likely,
    )
