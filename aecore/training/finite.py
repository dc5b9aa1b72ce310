"""Refusing a step that is not finite, and saying whose term it was, before anything is applied."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from aecore.composition import DEFAULTS
from aecore.errors import DivergedError
from aecore.hooks import Call
from aecore.model import Model
from aecore.step import Step

#: A Monte Carlo KL whose batch mean is below this is no sampling noise but a density that has lost
#: its digits. In batches of fewer than `ENOUGH` sentences, as the last of an epoch may be, one
#: unlucky draw weighs more, and the bound is as much lower.
LOWEST_MEAN_KL = -1.0
ENOUGH = 8
#: What it is called, who gave it, and its value (B,).
LossTerm = tuple[str, str, Tensor]


def check_step(
    step: Step, phase: str, loss: Tensor, norm: Tensor, losses: Iterable[LossTerm]
) -> None:
    """Refuse a step whose loss or gradient is not finite, or whose mean KL is far below 0.

    Args:
        loss: 0-d, what was minimised; norm: 0-d, of its gradient before clipping.
        losses: the parts of the loss: the objective or a stage's loss, and every extra loss.

    Raises:
        DivergedError: naming the first term on the way of the batch that is not finite, and the
            plugin that gave it.
    """
    if not bool(torch.isfinite(loss.detach()) & torch.isfinite(norm)):
        term, origin = next(_culprits(step, norm, losses), ("the loss", "the sum of its parts"))
        raise _diverged(f"{term} is not finite", phase, step.index, f"from: {origin}")
    if step.computed("kl") and step.model.level.get("kl_estimator") == "monte-carlo":
        mean = step.mean(step.kl.detach().sum(1))
        if bool(mean < LOWEST_MEAN_KL * max(1.0, ENOUGH / step.batch.global_size)):
            origin = _priced_by(step.model)
            evidence = (
                f"from: {origin}: E[log q - log p] cannot be negative, so one of the densities is "
                f"wrong"
            )
            raise _diverged(
                f"the Monte Carlo KL is {mean:.3g} nats in the mean of the batch",
                phase,
                step.index,
                evidence,
                way="try: aecore plugins check NAME, which compares densities with draws; settings "
                "within the range where they are exact",
            )


def check_figures(figures: Mapping[str, Any], phase: str, index: int) -> None:
    """Refuse a validation of which a figure is not finite: it would select weights for ever.

    Raises:
        DivergedError: naming the figures.
    """
    bad = [
        name
        for name in ("objective", "rec", "kl", "penalty")
        if isinstance(value := figures.get(name), float) and not math.isfinite(value)
    ]
    if bad:
        raise DivergedError(
            f"training stopped: {', '.join(bad)} of the validation split is not finite at step "
            f"{index} of '{phase}'",
            "nothing of it is kept; the last checkpoint is",
            "try: a smaller train.lr or train.clip, or another setting of the plugins",
        )


def check_weights(tensors: Mapping[str, Tensor], phase: str, index: int) -> None:
    """Refuse to write weights that are not finite, whoever wrote them between steps.

    Raises:
        DivergedError: naming the first of them.
    """
    bad = [name for name, t in tensors.items() if t.is_floating_point() and not _finite(t)]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise DivergedError(
            f"training stopped: weights are not finite after step {index} of '{phase}'",
            f"tensors: {', '.join(bad[:3])}{more}",
            "they are not written; the last checkpoint is kept",
        )


def check_norm(norm: Tensor, phase: str, index: int) -> None:
    """Refuse an update outside the joint step whose gradient norm is not finite."""
    if not bool(torch.isfinite(norm)):
        raise _diverged("a gradient is not finite", phase, index)


def check_critic(call: Call, loss: Tensor, gradients: Iterable[Tensor | None], index: int) -> None:
    """Refuse a critic's update whose loss or gradient is not finite."""
    values = [loss.detach(), *(gradient for gradient in gradients if gradient is not None)]
    if not all(_finite(value) for value in values):
        raise _diverged(
            "the critic's loss or gradient is not finite", "joint", index, f"from: {author(call)}"
        )


SMALLER = "try: a smaller train.lr or train.clip, or another setting of that plugin"


def _diverged(
    what: str, phase: str, index: int, *evidence: str, way: str = SMALLER
) -> DivergedError:
    return DivergedError(
        f"training stopped: {what} at step {index} of '{phase}'",
        *evidence,
        "the step was not applied; the last checkpoint is kept",
        way,
    )


def _culprits(step: Step, norm: Tensor, losses: Iterable[LossTerm]) -> Iterator[tuple[str, str]]:
    """(term, author) for every term that is not finite, in the order of the batch's way."""
    model = step.model
    terms = [
        ("features", "features", "the encoder"),
        ("z", "sample", _author(model, "posterior_sample")),
        ("condition", "condition", _author(model, "decoder_condition")),
        ("rec", "rec", "the decoder"),
        ("log_prior", "log_prior", _author(model, "prior_logprob")),
        ("kl", "kl", _author(model, "kl_term")),
        ("kl_loss", "kl_loss", _authors(model, "kl_penalty")),
        ("beta", "beta", _author(model, "beta_schedule")),
    ]
    for shown, name, origin in terms:
        if step.computed(name):
            value = getattr(step, name)
            if not _finite(value.z if name == "sample" else value):
                yield shown, origin
    for shown, origin, value in losses:
        if not _finite(value):
            yield shown, origin
    if not _finite(norm):
        yield "the gradient", _bad_gradients(model)


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())


def author(call: Call) -> str:
    """``'plugin' (hook)``, as messages name who gave a value."""
    return f"'{call.plugin}' ({call.hook.name})"


def _author(model: Model, hook: str) -> str:
    return author(model.hooks.owner(hook))


def _priced_by(model: Model) -> str:
    """Whose densities the divergence is made of: its owner's, or those it was given."""
    owner = model.hooks.owner("kl_term")
    if owner.plugin != DEFAULTS:
        return author(owner)
    return " and ".join(_author(model, hook) for hook in ("posterior_sample", "prior_logprob"))


def _authors(model: Model, hook: str) -> str:
    return ", ".join(f"'{call.plugin}'" for call in model.hooks.each(hook)) + f" ({hook})"


def _bad_gradients(model: Model) -> str:
    bad = [
        name for name, p in model.named_parameters() if p.grad is not None and not _finite(p.grad)
    ]
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return (
        f"the parameters {', '.join(bad[:3])}{more}"
        if bad
        else "all gradients together, whose norm overflows"
    )
