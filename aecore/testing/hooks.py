"""Checks of the hooks: they are called, they matter, and return what is due."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from aecore.batch import END, PAD, START, Batch
from aecore.composition import reaches
from aecore.hookspec import hookimpl
from aecore.model import Model, evaluating
from aecore.plugin import Plugin
from aecore.step import Step
from aecore.streams import stream
from aecore.testing.compare import difference, gradient_norm, largest, mixed
from aecore.testing.lab import batch_of, build, double, step_on, training, values_of
from aecore.testing.listening import whole_run
from aecore.testing.noise import separate_noise
from aecore.testing.registry import Case, at_least, implements, named, promise
from aecore.testing.subject import Subject
from aecore.transfer import TransferRequest

#: What makes a hook that exists go unheard.
LIKELY = {
    "critic_loss": "likely: `critic` is None, or no parameter has the role critic",
    "kl_penalty": "likely: the objective never asks for step.kl_loss",
    "beta_schedule": "likely: the objective never asks for step.beta",
    "kl_term": "likely: the objective never asks for step.kl_loss",
    "prior_logprob": "likely: the manifest says prior = 'samples'",
}


@promise()
def check_hooks_are_called(case: Case) -> None:
    """Every hook of the manifest is called in training, evaluation or generation."""
    subject = case.subject
    run = whole_run(subject)
    heard = {call.hook for call in run.heard if call.plugin == subject.name}
    ran = (
        f"ran: {len(run.trainer.rows)} steps with validation and test, then generation from the "
        f"prior"
    )
    sampled = subject.level["prior"] == "samples"  # whose density nobody can ask for
    for hook in subject.manifest.hooks:
        if hook == "prior_logprob" and sampled:
            continue
        hint = LIKELY.get(hook, "likely: another hook of the plugin bypasses it")
        case.require(hook in heard, f"{hook} is declared but was never called", ran, hint)


def _trains(subject: Subject) -> str:
    """What is for use alone leaves training as it is."""
    return "" if set(subject.manifest.hooks) - {"latent_map"} else "it is for use after training"


@promise(named, _trains)
def check_plugin_has_an_effect(case: Case) -> None:
    """Without the plugin, the loss or the gradient of some step is another."""
    # a floor under the divergence shows only near 0, a ceiling only far from it
    apart = any(_with_and_without(case.subject, spread) for spread in (True, False))
    compared = (
        "compared: loss and gradient norm of 5 joint steps from each of 2 initialisations, same "
        "noise"
    )
    case.require(
        apart,
        "training is the same without it",
        compared,
        "likely: its hooks return what they were given",
    )


def _with_and_without(subject: Subject, spread: bool) -> str:
    rows = []
    for one in (subject, Subject.defaults()):
        with training(one, spread=spread, observer=separate_noise, dropout=0.0) as trainer:
            while not (trainer.state.joint and trainer.state.step == 5):
                trainer.advance()
        rows.append([row for row in trainer.rows if row["stage"] == "joint"])
    return difference(rows[0], rows[1], ("loss", "grad_norm"), 1e-5)


@promise(owes=4)
def check_shapes(case: Case) -> None:
    """Values have their shapes and are finite, for 1 and 7 sentences, 1 and 3 samples."""
    model = build(case.subject)
    for sentences, samples in product((1, 7), (1, 3)):
        step = step_on(model, batch_of(sentences), samples)
        where = f"in: a batch of {sentences} sentences with {samples} samples"
        for name, value in _values_at(step, model.samples).items():
            wide = value.dtype in (torch.float32, torch.float64)
            case.require(wide, f"{name} is {value.dtype}; float32 or better was due", where)
            if not bool(torch.isfinite(value).all()):
                case.broken(f"{name} is not finite", where)
        drawn = 1 if model.level["posterior"] == "point" else samples
        due = (sentences, drawn)
        case.require(
            step.rec.shape == due,
            f"rec has the shape {tuple(step.rec.shape)}; {due} was due",
            where,
        )


def _values_at(step: Step, wanted: int) -> dict[str, Tensor]:
    """Losses of training are asked for only where there are as many samples as the plugin wants."""
    if step.samples < wanted:
        return {"z": step.sample.z, "kl": step.kl, "rec": step.rec}
    values = values_of(step)
    for call in step.model.hooks.each("critic_loss"):
        values["critic_loss"] = call.tensor(call(step=step.detached()), ())
    return values


@promise(implements("posterior_sample"))
def check_posterior_needs_no_batch(case: Case) -> None:
    """posterior_sample works on features alone, as pseudo-inputs have nothing else."""
    model = build(case.subject)
    sample = model.posterior_sample(torch.randn(5, model.sizes.hidden), 2, None)
    case.require(bool(torch.isfinite(sample.z).all()), "z is not finite where batch is None")


@promise(implements("prior_logprob", "decoder_condition"))
def check_leading_axes(case: Case) -> None:
    """prior_logprob and decoder_condition take any leading axes, point by point."""
    model, owners = build(case.subject), case.subject.manifest.hooks
    z = model.prior_sample(12)
    for hook, function in (
        ("prior_logprob", model.prior_logprob),
        ("decoder_condition", model.condition),
    ):
        if hook not in owners or (hook == "prior_logprob" and model.level["prior"] == "samples"):
            continue
        flat = function(z)
        for shape in ((3, 4), (2, 3, 2), (12, 1)):
            value = function(z.view(*shape, -1)).reshape(flat.shape)
            apart = largest(value, flat)
            line = (
                f"largest difference between shapes (12, D) and ({', '.join(map(str, shape))}, D): "
                f"{apart:.3g}"
            )
            case.require(
                apart < 1e-4,
                f"{hook} depends on the leading axes of z",
                line,
                "likely: a mean or sum over points",
            )
        alone = function(z[0])
        case.require(
            torch.allclose(alone, flat[0], atol=1e-4), f"{hook} gives one point another value alone"
        )


@promise()
def check_padding_changes_nothing(case: Case) -> None:
    """Further columns of pads leave every value of every sentence as it was."""
    model, batch = build(case.subject, dropout=0.0), batch_of(7)
    wider = replace(batch, tokens=F.pad(batch.tokens, (0, 5), value=PAD))
    one, other = (_noise_fixed(model, it) for it in (batch, wider))
    for name, value in one.items():
        apart = largest(value, other[name])
        lines = (
            f"largest difference: {apart:.3g}",
            f"seen: widths {batch.tokens.shape[1]} and {wider.tokens.shape[1]}",
        )
        likely = "likely: a sum or mean over batch.tokens without batch.mask"
        case.require(
            _close(value, other[name]), f"{name} changes when pads are added", *lines, likely
        )


def _noise_fixed(model: Model, batch: Batch) -> dict[str, Tensor]:
    with stream("fixed"), model.hooks.observed(separate_noise):
        values = values_of(step_on(model, batch))
    return {name: value.detach() for name, value in values.items()}


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-4)


@promise(implements("posterior_sample", "posterior_params", "kl_term"))
def check_sentences_do_not_couple(case: Case) -> None:
    """What the posterior gives a sentence, and its divergence, ignore the rest of the batch."""
    model = build(case.subject, dropout=0.0)
    model.train(case.subject.manifest.couples != "training")  # else the promise is for evaluation
    one, other = (
        _noise_fixed(model, batch_of(rows)) for rows in ((4, 1, 2, 3, 5), (4, 8, 9, 10, 12))
    )
    names = (
        {"z", "mean", "log_prob"}
        if {"posterior_sample", "posterior_params"} & set(case.subject.manifest.hooks)
        else {"z"}
    )
    if reaches("kl", model.level["kl"], "sentence"):
        names.add("kl")
    for name in sorted(names & set(one)):
        line = f"largest difference: {largest(one[name][0], other[name][0]):.3g}"
        likely = "likely: a mean or a normalisation over the batch"
        ok = _close(one[name][0], other[name][0])
        case.require(
            ok, f"{name} of a sentence depends on the other sentences of its batch", line, likely
        )


@promise(implements("corrupt_input"))
def check_corrupted_input_is_a_batch(case: Case) -> None:
    """corrupt_input returns the same sentences in order, well formed, in a batch of its own."""
    model, batch = build(case.subject), batch_of(7)
    before = batch.tokens.clone()
    for _ in range(4):
        found = model.corrupt_input(batch)
        case.require(
            torch.equal(batch.tokens, before),
            "corrupt_input writes into the batch that it was given",
        )
        case.require(
            torch.equal(found.index, batch.index),
            "corrupt_input changes the index or the order of sentences",
        )
        for row, length in zip(found.tokens, found.lengths.tolist(), strict=True):
            ids = row.tolist()
            inside = length >= 1 and len(ids) > length and PAD not in ids[: length + 1]
            whole = (
                inside
                and ids[0] == START
                and ids[length] == END
                and set(ids[length + 1 :]) <= {PAD}
            )
            lines = (
                f"came: {ids}, length {length}",
                f"due: {START} words {END}, then {PAD}; length counts words and {END}",
            )
            case.require(whole, "corrupt_input returns a malformed sentence", *lines)


@promise(implements("decoder_input"))
def check_decoder_input_is_tokens(case: Case) -> None:
    """decoder_input changes words alone, to known ones, and leaves its argument as it was."""
    model, batch = build(case.subject), batch_of(7)
    before = batch.tokens.clone()
    for _ in range(4):
        found = model.decoder_input(batch)
        case.require(torch.equal(batch.tokens, before), "decoder_input changes the batch in place")
        fixed = batch.inputs <= START  # pads and the start
        case.require(
            bool((found[fixed] == batch.inputs[fixed]).all()),
            "decoder_input changes <s> or a pad",
        )
        known = bool((found >= 0).all() & (found < model.sizes.vocabulary).all())
        case.require(known, f"decoder_input gives ids beyond 0 to {model.sizes.vocabulary - 1}")


@promise(implements("latent_map"))
def check_mapped_codes_are_codes(case: Case) -> None:
    """latent_map gives another tensor of codes, each sentence's from its own."""
    with double():
        model = build(case.subject, dropout=0.0)
        z, before, after = model.prior_sample(7), model.prior_sample(3), model.prior_sample(4)
        asked, kept = TransferRequest(before, after, 0.5), z.clone()

        def mapped(codes: Tensor) -> Tensor:
            with stream("transfer"), evaluating(model):
                return model.latent_map(codes, asked)

        whole = mapped(z)
        case.require(torch.equal(z, kept), "latent_map writes into the codes that it was given")
        apart = float((torch.cat([mapped(row) for row in torch.split(z, 1)]) - whole).abs().max())
        case.require(
            apart < 1e-6,
            "latent_map of a sentence depends on the other sentences",
            f"alone and among 7: {apart:.3g} apart",
        )
        off = float(model.space.off(whole).max())
        case.require(off < 1e-6, "latent_map leaves the latent space", f"by {off:.3g}")


class _Shift(Plugin):
    """Moves every posterior mean, as plugins may that a Gaussian posterior has to ask."""

    @hookimpl
    def posterior_params(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        return mean + 1, log_variance


@promise(implements("posterior_sample"), at_least("posterior", "gaussian"))
def check_posterior_takes_parameters(case: Case) -> None:
    """A Gaussian posterior asks posterior_params for its mean and log-variance before it draws."""
    shift = Subject.of_class(_Shift, {"hooks": ("posterior_params",)})
    plain, moved = build(case.subject), build(case.subject, shift)
    features = torch.randn(5, plain.sizes.hidden)
    one, other = (model.posterior_sample(features, 1, None).mean for model in (plain, moved))
    line = f"largest difference of the means: {largest(one, other):.3g}"
    likely = "likely: self.model.posterior_params(mean, log_variance, batch) is not called"
    apart = largest(one, other) > 1e-3
    case.require(apart, "posterior_params of another plugin changes nothing", line, likely)


@promise(implements("posterior_sample", "kl_term", "prior_logprob"))
def check_levels_are_true(case: Case) -> None:
    """posterior, kl and prior are at the levels that the manifest states."""
    model = build(case.subject)
    step, stated = (
        step_on(model, batch_of(5), max(3, model.samples)),
        case.subject.manifest.provides.stated(),
    )
    if "posterior" in stated:
        _require_posterior(case, step, str(stated["posterior"]))
    if "geometry" in stated:
        z = torch.cat([step.sample.z.flatten(0, 1), step.code, model.prior_sample(20)])
        radius, off = z.norm(dim=-1), model.space.off(z)
        line = f"norms of z: {float(radius.min()):.4f} to {float(radius.max()):.4f}"
        case.require(
            bool((off < 1e-3).all()),
            f"geometry is '{stated['geometry']}', but z lies outside",
            line,
        )
    if stated.get("kl") == "dimension":
        came = f"came: {tuple(step.kl.shape)}, D = {model.sizes.latent}"
        case.require(
            step.kl.shape[1] == model.sizes.latent,
            "kl is 'dimension', but has another number of groups",
            came,
        )
    if stated.get("prior") == "standard":
        z = 2 * torch.randn(50, model.sizes.latent)
        due = -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)
        line = f"largest difference from log N(0, I): {largest(model.prior_logprob(z), due):.3g}"
        case.require(
            torch.allclose(model.prior_logprob(z), due, atol=1e-3),
            "prior is 'standard', but is no N(0, I)",
            line,
        )
    case.require(bool(stated), "provides states nothing")


def _require_posterior(case: Case, step: Step, level: str) -> None:
    sample = step.sample
    if level == "gaussian":
        normal = sample.distribution
        has = hasattr(normal, "mean") and hasattr(normal, "stddev")
        case.require(has, "posterior is 'gaussian', but its distribution has no mean and stddev")
    if level == "sampled":
        due = "due: 'own_density' or better, so that the density is used and checked"
        case.require(
            sample.log_prob is None, "posterior is 'sampled', but its sample has a density", due
        )
    if level == "own_density":
        due = "due: log_prob of its own draws, as the plugin knows it from the noise"
        known = sample.given_log_prob is not None and sample.distribution is None
        case.require(known, "posterior is 'own_density', but gives another density", due)
    if level in ("none", "point"):
        again = step.model.posterior_sample(step.features, step.samples, step.batch)
        case.require(
            torch.equal(again.z, sample.z), f"posterior is '{level}', but two draws differ"
        )
    else:
        moved = gradient_norm(mixed(sample.z), [step.features]) > 0
        case.require(
            moved,
            f"posterior is '{level}', but z has no gradient in the features",
            "likely: sample() for rsample()",
        )
