"""A short stage of plain reconstruction before the joint training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from pydantic import Field

from aecore import Plugin, PluginConfig, Sizes, Stage, hookimpl


class Method(Plugin):
    """stage_steps steps on -log p(x given z) alone, then the joint training."""

    class Config(PluginConfig):
        """Settings."""

        stage_steps: int = Field(20, ge=1, description="steps before the joint ones")

    config: Config

    @hookimpl
    def pre_train_init(self) -> list[Stage]:
        """One stage; the trainer runs it, and resumes it where it was killed."""
        steps = self.config.stage_steps
        return [Stage("reconstruct", lambda step: step.rec.mean(1), steps=steps)]


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


def test_the_stage_minimises_the_mean_over_samples() -> None:
    plugin = method(stage_steps=7)
    step: Any = SimpleNamespace(rec=torch.tensor([[1.0, 3.0]]))
    (stage,) = plugin.pre_train_init()
    assert stage.total_steps(steps_per_epoch=100) == 7
    assert stage.loss(step).tolist() == [2.0]
