"""A stage: training that a plugin asks for before joint training, in the same loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from aecore.errors import ConfigError
from aecore.hooks import Call
from aecore.plugin import ROLES

if TYPE_CHECKING:
    from aecore.model import Model
    from aecore.step import Step
    from aecore.training.session import Session

#: The name of the phase that follows the stages.
JOINT = "joint"


@dataclass(frozen=True)
class Stage:
    """What to train, on what, and for how long; it has its own optimiser and step counter.

    Args:
        name: shown in progress and metrics, and part of the random streams.
        loss: Step -> (B,), nats per sentence, minimised in the mean over sentences.
        trains: the parameter roles that are updated.
        steps, epochs: the length; exactly one of the two.
        lr: the learning rate; None takes that of the run.
        until: asked at the end of each epoch; true ends the stage early.
        done: called once when the stage has ended, e.g. to re-initialise a part.

    Raises:
        ConfigError: when not exactly one of steps and epochs is given, or none of the roles is
            named.
    """

    name: str
    loss: Callable[[Step], Tensor]
    trains: tuple[str, ...] = ("encoder", "decoder")
    steps: int | None = None
    epochs: float | None = None
    lr: float | None = None
    until: Callable[[Session], bool] | None = None
    done: Callable[[Session], None] | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ConfigError(f"the stage '{self.name}' needs steps or epochs, one of the two")
        if not self.trains:
            raise ConfigError(f"the stage '{self.name}' trains no parameter role")

    def total_steps(self, steps_per_epoch: int) -> int:
        """The steps that the stage plans."""
        return self.steps if self.steps is not None else round((self.epochs or 0) * steps_per_epoch)


@dataclass(frozen=True)
class AuthoredStage:
    """A stage and its plugin, so that what its functions raise or return has an author."""

    author: Call
    stage: Stage

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.stage.name

    def loss(self, step: Step) -> Tensor:
        """(B,): the stage's loss, checked like the value of a hook."""
        what = f"the loss of the stage '{self.name}'"
        losses = self.author.tensor(
            self.author.within(what, self.stage.loss, step), (len(step.batch),), what
        )
        if not losses.requires_grad:
            raise self.author.error(
                f"returned {what} without a gradient, which would train nothing"
            )
        return losses

    def ends(self, session: Session) -> bool:
        """What ``until`` says."""
        until = self.stage.until
        return until is not None and bool(
            self.author.within(f"the condition of the stage '{self.name}'", until, session)
        )

    def end(self, session: Session) -> None:
        """Call ``done``."""
        if self.stage.done is not None:
            self.author.within(f"the end of the stage '{self.name}'", self.stage.done, session)


def ask_for_stages(model: Model, session: Session) -> list[AuthoredStage]:
    """The stages of every plugin, in the order of ``--plugin``.

    Raises:
        PluginError: for anything but a list of stages, a stage that is called like the joint phase,
            or unknown roles.
    """
    found = []
    for call in model.hooks.each("pre_train_init"):
        stages = call(session=session)
        if not isinstance(stages, list) or not all(isinstance(stage, Stage) for stage in stages):
            raise call.error(
                "did not return a list of stages from pre_train_init",
                "due: [Stage(...), ...] or []",
            )
        for stage in stages:
            unknown = [role for role in stage.trains if role not in ROLES]
            if stage.name == JOINT or unknown:
                bad = f"the name '{JOINT}'" if stage.name == JOINT else f"the roles {unknown}"
                raise call.error(f"returned a stage with {bad}", f"roles: {', '.join(ROLES)}")
            found.append(AuthoredStage(call, stage))
    return found
