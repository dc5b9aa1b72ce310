"""Refusing a step that is not finite, and saying whose term it was, before anything is applied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from aecore.errors import DivergedError
from aecore.model import Model
from aecore.step import Step

#: A Monte Carlo KL whose batch mean is below this is no sampling noise but a density that has lost its digits.
LOWEST_MEAN_KL = -1.0


def check_step(step: Step, phase: str, loss: Tensor, norm: Tensor, extras: Mapping[str, Tensor]) -> None:
    """Refuse a step whose loss or gradient norm is not finite, or whose Monte Carlo KL is far below 0.

    Raises:
        DivergedError: naming the first term on the way of the batch that is not finite, and the plugin that gave it.
    """
    if not bool(torch.isfinite(loss.detach()) & torch.isfinite(norm)):
        term, author = next(_culprits(step, norm, extras), ("the loss", "objective"))
        raise _diverged(f"{term} is not finite", phase, step.index, f"from: {author}")
    if step.computed("kl") and step.model.level.get("kl_estimator") == "monte-carlo":
        mean = step.kl.detach().sum(1).mean()
        if bool(mean < LOWEST_MEAN_KL):
            author = _author(step.model, "kl_term")
            evidence = f"from: {author}: E[log q - log p] cannot be negative, so one of the densities is wrong"
            raise _diverged(f"the Monte Carlo KL is {mean:.3g} nats in the mean of the batch", phase, step.index, evidence)


def check_norm(norm: Tensor, phase: str, index: int) -> None:
    """Refuse an update outside the joint step whose gradient norm is not finite."""
    if not bool(torch.isfinite(norm)):
        raise _diverged("a gradient is not finite", phase, index)


def _diverged(what: str, phase: str, index: int, *evidence: str) -> DivergedError:
    return DivergedError(
        f"training stopped: {what} at step {index} of '{phase}'",
        *evidence,
        "the step was not applied; the last checkpoint is kept",
        "try: a smaller train.lr or train.clip, or another setting of that plugin",
    )


def _culprits(step: Step, norm: Tensor, extras: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """(term, author) for every term that is not finite, in the order in which a batch meets them."""
    model = step.model
    terms = [
        ("features", "features", "the encoder"),
        ("z", "sample", _author(model, "posterior_sample")),
        ("condition", "condition", _author(model, "decoder_condition")),
        ("rec", "rec", "the decoder"),
        ("log_prior", "log_prior", _author(model, "prior_logprob")),
        ("kl", "kl", _author(model, "kl_term")),
        ("charged_kl", "charged_kl", _authors(model, "kl_penalty")),
        ("beta", "beta", _author(model, "beta_schedule")),
    ]
    for shown, name, author in terms:
        if step.computed(name):
            value = getattr(step, name)
            if not _finite(value.z if name == "sample" else value):
                yield shown, author
    for plugin, value in extras.items():
        if not _finite(value):
            yield "extra_loss", f"'{plugin}' (extra_loss)"
    if not _finite(norm):
        yield "the gradient", _bad_gradients(model)


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())


def _author(model: Model, hook: str) -> str:
    return f"'{model.hooks.owner(hook).plugin}' ({hook})"


def _authors(model: Model, hook: str) -> str:
    return ", ".join(f"'{call.plugin}'" for call in model.hooks.each(hook)) + f" ({hook})"


def _bad_gradients(model: Model) -> str:
    bad = [name for name, p in model.named_parameters() if p.grad is not None and not _finite(p.grad)]
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return f"the parameters {', '.join(bad[:3])}{more}" if bad else "all gradients together, whose norm overflows"
