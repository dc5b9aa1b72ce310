"""A stage: training that a plugin asks for before the joint training, run by the trainer's own loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from aecore.errors import ConfigError

if TYPE_CHECKING:
    from aecore.step import Step
    from aecore.training.session import Session


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
        ConfigError: when not exactly one of steps and epochs is given, or none of the roles is named.
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
