"""Checks of a step's arithmetic: gradients are derivatives, samples a mean, beta a weight."""

from __future__ import annotations

import torch
from torch import Tensor

from aecore.model import Model
from aecore.plugin import MAIN_ROLES
from aecore.posterior import PosteriorSample
from aecore.step import Step
from aecore.streams import stream
from aecore.testing.compare import largest
from aecore.testing.lab import batch_of, build, double, jolt, step_on, values_of
from aecore.testing.noise import separate_noise
from aecore.testing.registry import Case, implements, promise
from aecore.testing.subject import Subject

#: Directions that are tried, the step of the difference quotient, and what it may be off.
DIRECTIONS, SMALL, TOLERANCE = 3, 1e-6, 1e-4
#: Draws per sentence, more than any hook may tell from one by accident.
DRAWS = 3
BETA = 0.3


def _own_values(subject: Subject) -> dict[str, tuple[str, ...]]:
    """The values that are the plugin's, and the roles in which it declares their gradients."""
    hooks, level = set(subject.manifest.hooks), subject.level
    kl = tuple(role for role in MAIN_ROLES if role in level.get("kl_gradient", ()))
    objective = tuple(role for role in MAIN_ROLES if role in level.get("objective_gradient", ()))
    moved = {
        "kl": kl if "kl_term" in hooks else (),
        "kl_loss": kl if "kl_penalty" in hooks else (),
        "objective": objective if "objective" in hooks else (),
        f"extra_loss of {subject.name}": MAIN_ROLES if "extra_loss" in hooks else (),
    }
    return {name: roles for name, roles in moved.items() if roles}


def _has_gradients(subject: Subject) -> str:
    return "" if _own_values(subject) else "no value of its own has a gradient"


@promise(_has_gradients, owes=DIRECTIONS)
def check_gradients_are_derivatives(case: Case) -> None:
    """The gradient of each value is its derivative in the declared roles, at the same noise."""
    with double():
        model = build(case.subject, dropout=0.0)
        jolt(model)
        for name, roles in _own_values(case.subject).items():
            for number in range(DIRECTIONS):
                free = [p for p in model.params(*roles) if p.requires_grad]
                _require_derivative(case, model, name, free, number)


def _require_derivative(
    case: Case, model: Model, name: str, parameters: list[torch.nn.Parameter], number: int
) -> None:
    with stream("direction", number):
        ways = [torch.randn_like(parameter) for parameter in parameters]
    gradients = torch.autograd.grad(_value(model, name), parameters, materialize_grads=True)
    gradient = sum(float((g * way).sum()) for g, way in zip(gradients, ways, strict=True))
    ahead, back = (_moved(model, name, parameters, ways, by) for by in (SMALL, -SMALL))
    slope = (ahead - back) / (2 * SMALL)
    lines = (
        f"along a random direction: gradient {gradient:.6g}, difference quotient {slope:.6g}",
        "likely: a detach() of a part of it",
    )
    close = abs(gradient - slope) <= TOLERANCE * max(1.0, abs(gradient), abs(slope))
    case.require(close, f"the gradient of {name} is not its derivative", *lines)


def _value(model: Model, name: str) -> Tensor:
    return _values(step_on(model, batch_of(7)))[name].sum()


def _values(step: Step) -> dict[str, Tensor]:
    with stream("fixed"), step.model.hooks.observed(separate_noise):
        return values_of(step)


def _moved(
    model: Model, name: str, parameters: list[torch.nn.Parameter], ways: list[Tensor], by: float
) -> float:
    with torch.no_grad():
        for parameter, way in zip(parameters, ways, strict=True):
            parameter.add_(way, alpha=by)
    value = float(_value(model, name))
    with torch.no_grad():
        for parameter, way in zip(parameters, ways, strict=True):
            parameter.sub_(way, alpha=by)
    return value


@promise(implements("kl_term", "objective", "extra_loss"))
def check_samples_are_averaged(case: Case) -> None:
    """Of equal draws of z, any number gives the value of one, and of others each one counts."""
    model = build(case.subject, dropout=0.0)
    one = step_on(model, batch_of(7), max(model.samples, 1))
    some = one.samples
    many = _repeated(one)
    if many is None:
        return case.require(True, "a point posterior has one draw")
    single, several = (_values(step) for step in (one, many))
    names = [name for name in _of_draws(case.subject) if name in single]
    for name in names:
        lines = (
            f"largest difference: {largest(single[name], several[name]):.3g}",
            f"seen: {some} draws of z, and each of them {DRAWS} times",
            "likely: a sum over K, where a mean is due",
        )
        close = torch.allclose(single[name], several[name], rtol=1e-4, atol=1e-4)
        case.require(close, f"{name} depends on how often a draw is there", *lines)
        if name != "kl" or model.level["kl_estimator"] == "monte-carlo":
            _require_all_draws(case, model, name)  # critics may look at one draw, and do
    return None


def _of_draws(subject: Subject) -> list[str]:
    hooks = {
        "kl_term": "kl",
        "objective": "objective",
        "extra_loss": f"extra_loss of {subject.name}",
    }
    return [name for hook, name in hooks.items() if hook in subject.manifest.hooks]


def _repeated(step: Step) -> Step | None:
    """The same draws, each of them `DRAWS` times; None where there is only one to have."""
    sample = step.sample
    if sample.z.shape[1] != step.samples:
        return None

    def again(values: Tensor | None) -> Tensor | None:
        return None if values is None else values.repeat(1, DRAWS, *[1] * (values.dim() - 2))

    z = again(sample.z)
    assert z is not None
    known = PosteriorSample(z, sample.distribution, again(sample.given_log_prob), sample.centre)
    return step_on(
        step.model, step.batch, step.samples * DRAWS, features=step.features, sample=known
    )


def _require_all_draws(case: Case, model: Model, name: str) -> None:
    """Where the value has a gradient in the draws, it has one in each of them."""
    step = step_on(model, batch_of(7), max(DRAWS, model.samples))
    value = values_of(step)[name].sum()
    if not step.sample.z.requires_grad or not value.requires_grad:
        return
    (gradient,) = torch.autograd.grad(
        value, [step.sample.z], materialize_grads=True, allow_unused=True
    )
    moved = gradient.flatten(2).norm(dim=-1).sum(0)  # (K,)
    line = f"gradient norms of the draws: {', '.join(f'{norm:.3g}' for norm in moved.tolist())}"
    ok = bool((moved > 0).all() or (moved == 0).all())
    case.require(ok, f"{name} looks at some draws of z only", line, "likely: [:, 0] for mean(1)")


@promise(implements("objective"))
def check_beta_is_a_weight(case: Case) -> None:
    """The objective is affine in beta."""
    model = build(case.subject, dropout=0.0)
    found = [_objective(model, beta) for beta in (0.0, BETA, 2 * BETA)]
    middle = (found[0] + found[2]) / 2
    lines = (
        f"largest difference between the objective at beta {BETA} and the mean of those at 0 and "
        f"{2 * BETA}: {largest(found[1], middle):.3g}",
        "likely: beta is squared, or in a place of its own",
    )
    close = torch.allclose(found[1], middle, rtol=1e-5, atol=1e-4)
    case.require(close, "the objective is not affine in beta", *lines)


def _objective(model: Model, beta: float) -> Tensor:
    with stream("fixed"), model.hooks.observed(separate_noise):
        step = step_on(model, batch_of(7), max(DRAWS, model.samples), beta=beta)
        return model.objective(step).detach()
