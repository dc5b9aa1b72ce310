"""Checks of gradients and roles: who is moved by what, and who is left alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aecore.autoencoder import Sizes
from aecore.composition import reaches
from aecore.errors import CompositionError
from aecore.hookspec import hookimpl
from aecore.model import Model
from aecore.plugin import MAIN_ROLES, ROLES, Plugin, PluginConfig
from aecore.testing.compare import changed, gradient_norm, mixed, shown, snapshot
from aecore.testing.lab import batch_of, build, step_on, training
from aecore.testing.registry import Case, has_role, implements, promise
from aecore.testing.subject import Subject
from aecore.training.optimisers import Critics
from aecore.training.phases import JointPhase, StagePhase

#: A gradient norm below this is rounding.
ROUNDING = 1e-7


class _LearnedPrior(Plugin):
    """N(location, I), where a divergence declares a gradient in a prior and none is learned."""

    roles = {"location": "prior"}

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.location = nn.Parameter(torch.full((sizes.latent,), 0.5))

    @hookimpl
    def prior_logprob(self, z: Tensor) -> Tensor:
        return -0.5 * ((z - self.location).square() + math.log(2 * math.pi)).sum(-1)

    @hookimpl
    def prior_sample(self, n: int) -> Tensor:
        return self.location + torch.randn(n, self.sizes.latent)


def _probe() -> Subject:
    return Subject.of_class(
        _LearnedPrior,
        {
            "hooks": ("prior_logprob", "prior_sample"),
            "provides": {"prior": "density", "geometry": "euclidean"},
        },
    )


def _regimes(subject: Subject) -> list[Model]:
    """The tiny model as it is built, and after an epoch: some critics and gates open only then."""
    with training(subject, dropout=0.0) as trainer:
        trainer.to_the_joint_phase()
        for _ in range(3):
            trainer.advance()
    return [build(subject, dropout=0.0), trainer.model]


@promise()
def check_gradient_reaches_the_encoder(case: Case) -> None:
    """The objective's gradients are those of ``objective_gradient``, the encoder's through z."""
    declared = frozenset(case.subject.level.get("objective_gradient", frozenset()))
    if case.subject.level.get("posterior") == "none":
        declared -= {"encoder"}
    norms: dict[str, list[float]] = {"encoder": [], "decoder": [], "rec": []}
    for model in _regimes(case.subject):
        step = step_on(model, batch_of(7))
        objective = model.objective(step).mean()
        for role, module in (("encoder", model.encoder), ("decoder", model.decoder)):
            norms[role].append(gradient_norm(objective, module.parameters()))
        norms["rec"].append(gradient_norm(step.rec.mean(), model.encoder.parameters()))
    for role in ("encoder", "decoder"):
        _require_gradient(
            case,
            f"the objective, the {role}",
            norms[role],
            role in declared,
            f"objective_gradient = {sorted(declared)}",
        )
    if reaches("posterior", case.subject.level.get("posterior"), "point") and "encoder" in declared:
        said = "z is reparameterised; likely: sample() for rsample(), or a detach()"
        _require_gradient(case, "rec, the encoder", norms["rec"], True, said)


def _require_gradient(case: Case, pair: str, norms: list[float], due: bool, said: str) -> None:
    value, _, target = pair.partition(", ")
    found = f"gradient norms: {', '.join(f'{norm:.3g}' for norm in norms)}"
    if due:
        case.require(
            max(norms) > ROUNDING,
            f"{value} has no gradient in {target}",
            found,
            f"declared: {said}",
        )
    else:
        case.require(
            max(norms) <= ROUNDING,
            f"{value} has a gradient in {target}, which is not declared",
            found,
            f"declared: {said}",
        )


@promise(implements("kl_term", "posterior_sample", "prior_logprob"))
def check_kl_gradient_is_as_declared(case: Case) -> None:
    """The divergence has a gradient in encoder and learned prior as ``kl_gradient`` says."""
    declared = frozenset(case.subject.level.get("kl_gradient", frozenset()))
    said = f"kl_gradient = {sorted(declared)}"
    models = _regimes(case.subject)
    _require_gradient(
        case, "kl, the encoder", _kl_norms(models, "encoder"), "encoder" in declared, said
    )
    if not models[0].params("prior") and "kl_term" in case.subject.manifest.hooks:
        models = _with_probe(case.subject)
    if models and models[0].params("prior"):
        _require_gradient(
            case, "kl, a learned prior", _kl_norms(models, "prior"), "prior" in declared, said
        )


def _kl_norms(models: list[Model], role: str) -> list[float]:
    return [
        gradient_norm(step_on(model, batch_of(7)).kl.sum(1).mean(), model.params(role))
        for model in models
    ]


def _with_probe(subject: Subject) -> list[Model]:
    """The plugin over a prior that can be moved; nothing where it does not compose with one."""
    try:
        return [build(subject, _probe(), dropout=0.0)]
    except CompositionError:
        return []


@promise(implements("kl_penalty"))
def check_penalty_keeps_the_gradient(case: Case) -> None:
    """What kl_penalty charges still has a gradient in the encoder, in one regime at least."""
    models = [build(case.subject, spread=spread) for spread in (True, False)]
    norms = [
        gradient_norm(step_on(m, batch_of(7)).kl_loss.sum(1).mean(), m.params("encoder"))
        for m in models
    ]
    _require_gradient(
        case,
        "kl_loss, the encoder",
        norms,
        True,
        "kl_penalty is a function of kl; likely: a detach()",
    )


@promise(implements("critic_loss"), owes=2)
def check_critic_leaves_main_parameters(case: Case) -> None:
    """Critic updates move the critic, and leave every other parameter bit-identical."""
    model = build(case.subject)
    step = step_on(model, batch_of(7))
    others = tuple(role for role in ROLES if role != "critic")
    before, critic = snapshot(model, *others), snapshot(model, "critic")
    Critics(model).train(step.detached())
    moved = changed(before, snapshot(model, *others))
    likely = "likely: critic_loss updates parameters itself, or an optimiser of its own holds them"
    case.require(
        not moved,
        "a critic step changes parameters that are not the critic's",
        f"changed: {shown(moved)}",
        likely,
    )
    stayed = not changed(critic, snapshot(model, "critic"))
    case.require(
        not stayed,
        "a critic step does not move the critic",
        "likely: critic_loss does not depend on its parameters",
    )


@promise(has_role("critic"), owes=2)
def check_joint_step_leaves_the_critic(case: Case) -> None:
    """Joint updates move the main parameters, and leave the critic's bit-identical."""
    with training(case.subject) as trainer:
        phase, model = trainer.to_the_joint_phase().phase, trainer.model
        assert isinstance(phase, JointPhase)
        phase.critics.groups.clear()  # nobody trains the critic but, wrongly, the joint step
        critic, main = snapshot(model, "critic"), snapshot(model, *MAIN_ROLES)
        trainer.advance()
    moved = changed(critic, snapshot(model, "critic"))
    likely = "likely: a hook other than critic_loss updates it"
    case.require(
        not moved,
        "a joint step changes the critic's parameters",
        f"changed: {shown(moved)}",
        likely,
    )
    case.require(
        bool(changed(main, snapshot(model, *MAIN_ROLES))), "a joint step moves no main parameter"
    )


@promise(implements("pre_train_init"))
def check_stages_train_their_roles_alone(case: Case) -> None:
    """A stage gives a loss per sentence and moves its roles alone; else something is set up."""
    fresh = build(case.subject).state_dict()
    with training(case.subject) as trainer:
        if trainer.state.joint:
            prepared = changed(fresh, trainer.model.state_dict())
            case.require(bool(prepared), "pre_train_init returns no stage and changes no tensor")
        while isinstance(phase := trainer.phase, StagePhase):
            model, here, stage = trainer.model, trainer.state.phase, phase.planned.stage
            shape = tuple(stage.loss(step_on(model, batch_of(7))).shape)
            case.require(
                shape == (7,),
                f"the stage '{stage.name}' returns a loss of shape {shape}; (7,) was due",
            )
            before, done = snapshot(model), trainer.state.step
            trainer.advance()
            if trainer.state.phase == here and trainer.state.step > done:
                _require_stage_step(case, model, before, stage.name, stage.trains)


def _require_stage_step(
    case: Case, model: Model, before: dict[str, Tensor], stage: str, trains: tuple[str, ...]
) -> None:
    named = {name for name, _ in model.named_params(*trains)}
    moved = changed(before, snapshot(model))
    wrong = [line for line in moved if line.partition(",")[0] not in named]
    what = f"the stage '{stage}' changes parameters of roles that it does not name"
    case.require(not wrong, what, f"trains: {', '.join(trains)}", f"changed: {shown(wrong)}")
    case.require(
        bool(moved), f"a step of the stage '{stage}' moves nothing", f"trains: {', '.join(trains)}"
    )


def _learns_its_prior(subject: Subject) -> str:
    """Its settings may leave the prior without parameters."""
    return "" if build(subject).params("prior") else "its prior has no parameters"


@promise(implements("prior_sample"), has_role("prior"), _learns_its_prior)
def check_prior_is_differentiable(case: Case) -> None:
    """A learned prior gets gradients through its density and through its samples."""
    model = build(case.subject)
    parameters = model.params("prior")
    norm = gradient_norm(mixed(model.prior_sample(64)), parameters)
    _require_gradient(
        case, "prior_sample, the prior's parameters", [norm], True, "samples are reparameterised"
    )
    if reaches("prior", model.level["prior"], "density"):
        z = torch.randn(64, model.sizes.latent)
        norm = gradient_norm(model.prior_logprob(z).sum(), parameters)
        _require_gradient(
            case,
            "prior_logprob, the prior's parameters",
            [norm],
            True,
            "the density is differentiable",
        )
