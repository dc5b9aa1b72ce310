"""The phases of a run: the stages of plugins, then joint training, a step at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from aecore.batch import Batch
from aecore.model import Model
from aecore.plugin import MAIN_ROLES, ROLES
from aecore.runs.config import TrainConfig
from aecore.step import Step
from aecore.training.finite import check_step
from aecore.training.losses import losses_of, total_loss
from aecore.training.optimisers import Critics, Updater
from aecore.training.schedule import Schedule
from aecore.training.session import Session
from aecore.training.stages import JOINT, AuthoredStage


class Phase(Protocol):
    """A phase of training: what the trainer's loop runs."""

    name: str
    total_steps: int
    updater: Updater

    def step(self, batch: Batch, session: Session) -> Mapping[str, float | Tensor]:
        """Take one step on B sentences; the scalars to log, means over the batch."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint needs of the phase."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``tensors`` gave."""
        ...


class JointPhase:
    """Joint training of all main roles: objective and extra losses, schedules, critics."""

    name = JOINT

    def __init__(
        self, model: Model, config: TrainConfig, total_steps: int, lr: float, began: int = 0
    ) -> None:
        self.model = model
        self.config = config
        self.total_steps = total_steps
        self.schedule = Schedule(config, total_steps, began)
        self.lr = lr
        self.updater = Updater(model, config, MAIN_ROLES, lr)
        self.moved = torch.zeros((), device=model.device)  # what beta changed by at the last step
        self.critics = Critics(model)

    def step(self, batch: Batch, session: Session) -> Mapping[str, float | Tensor]:
        """before_step, critics, then one update of the roles that nobody asked to leave alone."""
        model = self.model
        forget_logged(model)
        self.updater.scale(factor := self.schedule(session.index))
        resting = self._before(batch, session)
        step = Step(
            model,
            batch,
            index=session.index,
            samples=model.samples,
            training=True,
            schedule=lambda kl: self._beta(kl, session),
        )
        if self.critics.groups:
            self.critics.train(step.detached())
        losses = losses_of(step)
        total = total_loss(step, losses)
        if not total.requires_grad:
            raise model.hooks.owner("objective").error(
                "returned an objective without a gradient, which would train nothing"
            )
        norm = self.updater.gradients(total, [role for role in MAIN_ROLES if role not in resting])
        check_step(step, self.name, total, norm, losses)
        self.updater.apply()
        return {**logged(model, step, total, norm), "lr": self.lr * factor}

    def restart_schedule(self, total_steps: int, began: int) -> None:
        """Restart the learning-rate schedule, from ``began`` to the end; the optimisers go on."""
        self.total_steps = total_steps
        self.schedule = Schedule(self.config, total_steps, began)

    def _before(self, batch: Batch, session: Session) -> set[str]:
        resting: set[str] = set()
        for call in self.model.hooks.each("before_step"):
            roles = list(call(session=session, batch=batch))
            unknown = [role for role in roles if role not in ROLES]
            if unknown:
                raise call.error(
                    f"returned {unknown} from before_step; parameter roles were due",
                    f"roles: {', '.join(ROLES)}",
                )
            resting |= set(roles)
        return resting

    def _beta(self, kl: Tensor, session: Session) -> Tensor:
        """The KL weight beta, from its schedule; kept for hooks that run before the next one."""
        call = self.model.hooks.owner("beta_schedule")
        value = call(index=session.index, epoch=session.epoch, total_steps=self.total_steps, kl=kl)
        if not isinstance(value, Tensor):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise call.error(
                    f"returned {type(value).__name__} from beta_schedule; a float or a 0-d tensor "
                    f"was due"
                )
            value = torch.tensor(float(value))
        beta = call.tensor(value, ()).detach().to(self.model.beta)
        self.moved = beta - self.model.beta
        self.model.beta.copy_(beta)
        return beta

    def tensors(self) -> dict[str, Tensor]:
        """The optimisers of the main roles and of the critics, and what beta moved by."""
        return {**self.updater.tensors(), **self.critics.tensors(), "beta.moved": self.moved}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``tensors`` gave."""
        self.updater.restore(tensors)
        self.critics.restore(tensors)
        self.moved = tensors["beta.moved"].to(self.model.device)


class StagePhase:
    """A plugin's stage, run by the same loop; schedules, critics and ``before_step`` sleep."""

    def __init__(
        self,
        model: Model,
        config: TrainConfig,
        planned: AuthoredStage,
        steps_per_epoch: int,
        lr: float,
    ) -> None:
        self.model = model
        self.planned = planned
        self.name = planned.name
        self.total_steps = planned.stage.total_steps(steps_per_epoch)
        self.schedule = Schedule(config, self.total_steps)
        self.lr = planned.stage.lr or lr
        self.updater = Updater(model, config, planned.stage.trains, self.lr)

    def step(self, batch: Batch, session: Session) -> Mapping[str, float | Tensor]:
        """One update of the stage's roles on the stage's loss."""
        model = self.model
        forget_logged(model)
        self.updater.scale(factor := self.schedule(session.index))
        step = Step(
            model,
            batch,
            index=session.index,
            samples=model.samples,
            training=True,
            schedule=lambda _: model.beta.clone(),
        )
        losses = self.planned.loss(step)
        loss = step.mean(losses)
        norm = self.updater.gradients(loss, self.planned.stage.trains)
        check_step(step, self.name, loss, norm, [("the loss", f"the stage '{self.name}'", losses)])
        self.updater.apply()
        return {**logged(model, step, loss, norm), "lr": self.lr * factor}

    def tensors(self) -> dict[str, Tensor]:
        """The stage's optimiser."""
        return self.updater.tensors()

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``tensors`` gave."""
        self.updater.restore(tensors)


def logged(model: Model, step: Step, loss: Tensor, norm: Tensor) -> dict[str, float | Tensor]:
    """What the step has computed anyway, as batch means; logging computes nothing."""
    values: dict[str, float | Tensor] = {"loss": loss.detach(), "grad_norm": norm}
    for name in ("rec", "kl", "kl_loss"):
        if step.computed(name):
            value = getattr(step, name).detach()
            shown = "penalty" if name == "kl" and model.level["kl"] == "penalty" else name
            values[shown] = step.mean(value.mean(1) if name == "rec" else value.sum(1))
    if step.computed("beta"):
        values["beta"] = step.beta
    for name in model.plugins:
        plugin = model.plugin(name)
        values |= {f"{name}.{key}": value for key, value in plugin.logged.items()}
    return values


def forget_logged(model: Model) -> None:
    """Drop what plugins logged outside steps: a resumed run would not have it."""
    for name in model.plugins:
        model.plugin(name).logged.clear()
