"""Checks of parts: each parameter is in the place of the model that its role names."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from aecore.composition import reaches
from aecore.model import Model
from aecore.plugin import ROLES
from aecore.testing.compare import mixed, snapshot
from aecore.testing.lab import batch_of, build
from aecore.testing.listening import whole_run
from aecore.testing.registry import Case, has_role, implements, promise

#: What each hook may depend on. A prior may encode pseudo-inputs; what is frozen is nobody's.
PLACES = {
    "posterior_sample": ("encoder", "frozen"),
    "decoder_condition": ("decoder", "frozen"),
    "prior_sample": ("prior", "encoder", "frozen"),
    "prior_logprob": ("prior", "encoder", "frozen"),
}


@promise(implements(*PLACES), has_role(*ROLES))
def check_parameters_are_in_their_places(case: Case) -> None:
    """Posterior, prior and condition depend on parameters of their own roles alone."""
    model = build(case.subject, dropout=0.0)
    roles, plugin = case.subject.cls.roles, model.plugin(case.subject.name)
    for hook, value in _values(model).items():
        if hook not in case.subject.manifest.hooks:
            continue
        reached = _reached(value, dict(plugin.named_parameters()))
        wrong = [name for name in reached if roles[name.partition(".")[0]] not in PLACES[hook]]
        lines = [f"'{name}' has the role {roles[name.partition('.')[0]]}" for name in wrong[:3]]
        due = f"due: {' or '.join(PLACES[hook])}, else what trains that part leaves it out"
        case.require(not wrong, f"{hook} depends on parameters of another role", *lines, due)


def _values(model: Model) -> dict[str, Tensor]:
    features = model.features(batch_of(7))
    values = {
        "posterior_sample": mixed(model.posterior_sample(features, 2, batch_of(7)).z),
        "decoder_condition": mixed(model.condition(torch.randn(7, model.sizes.latent))),
        "prior_sample": mixed(model.prior_sample(7)),
    }
    if reaches("prior", model.level["prior"], "density"):
        values["prior_logprob"] = mixed(model.prior_logprob(model.prior_sample(7).detach()))
    return values


def _reached(value: Tensor, parameters: dict[str, nn.Parameter]) -> list[str]:
    """The parameters in which the value has a gradient."""
    known = {name: p for name, p in parameters.items() if p.requires_grad}
    if not known or not value.requires_grad:
        return []
    found = torch.autograd.grad(value, list(known.values()), allow_unused=True)
    pairs: Iterable[tuple[str, Tensor | None]] = zip(known, found, strict=True)
    return [name for name, g in pairs if g is not None and bool(g.any())]


@promise(has_role(*ROLES))
def check_every_parameter_is_trained(case: Case) -> None:
    """Training moves every parameter; one of role frozen, a stage or pre_train_init alone."""
    subject = case.subject
    run, fresh = whole_run(subject), snapshot(build(subject))
    after = snapshot(run.trainer.model)
    for key, _ in run.trainer.model.plugin(subject.name).named_parameters():
        name, role = f"plugins.{subject.name}.{key}", subject.cls.roles[key.partition(".")[0]]
        moved = not torch.equal(run.before[name], after[name])
        if role == "frozen" and role not in run.trainer.staged:
            prepared = not torch.equal(fresh[name], run.before[name])
            _require_frozen(case, key, moved, prepared)
        else:
            likely = "likely: no loss depends on it, a detach(), or the wrong role"
            what = f"'{key}' has the role {role}, but training never moved it"
            case.require(moved, what, f"ran: {len(run.trainer.rows)} steps", likely)


def _require_frozen(case: Case, key: str, moved: bool, prepared: bool) -> None:
    likely = "likely: an update of the plugin's own"
    case.require(not moved, f"'{key}' has the role frozen, but was changed", likely)
    due = "due: a stage that trains frozen, values set in pre_train_init, or a buffer"
    case.require(prepared, f"'{key}' has the role frozen, and no stage trains it", due)
