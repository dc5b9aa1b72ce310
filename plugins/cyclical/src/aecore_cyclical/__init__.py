"""Cyclical annealing: the KL weight rises to 1, stays there, and starts again, M times.

Source: Fu et al., NAACL 2019, https://arxiv.org/abs/1903.10145, Eq. 6 and 7 (by steps); the
    authors' plot_schedules.ipynb (shapes) and language_model/train_text_cyc_ptb.py (by epochs).
Deviations:
    - The authors' Penn Treebank code restarts at 0.1, counts cycles in epochs and adds its
      increment before the step, so that beta is 1 after 0.45 of a cycle: ``restart=0.1,
      cycle_epochs=10, proportion=0.45`` here, one increment later.
    - That code also restarts the learning rate with every cycle (1e-3 down to 2.4e-5, a cosine) and
      the monotone baseline does not; here a schedule of beta is nothing but that, and the learning
      rate belongs to the run.
    - The notebook's sigmoid and cosine run past their cycle where its length is no whole number;
      here beta is 1 from the end of the rise to the end of the cycle for every shape, and the last
      step of a run never begins another cycle.
"""

from __future__ import annotations

import math
import warnings
from typing import Literal, Self

from pydantic import Field, model_validator

from aecore import Plugin, PluginConfig, hookimpl


class Cyclical(Plugin):
    """beta = restart + (1 - restart) f(u / proportion) for u < proportion, else 1.

    u in [0, 1) is the place in the cycle.

    f(v) = v (linear), 1 / (1 + exp(6 - 12 v)) (sigmoid) or (1 - cos(pi v)) / 2 (cosine).
    """

    class Config(PluginConfig):
        """Settings of cyclical annealing."""

        cycles: int = Field(
            4, ge=1, description="M, cycles of equal length in the planned steps of the run"
        )
        cycle_epochs: float | None = Field(
            None, gt=0, description="length of a cycle, epochs; replaces cycles"
        )
        cycle_steps: int | None = Field(
            None, ge=2, description="length of a cycle, steps; replaces cycles"
        )
        proportion: float = Field(
            0.5, gt=0, le=1, description="R, the part of a cycle in which beta rises"
        )
        shape: Literal["linear", "sigmoid", "cosine"] = Field(
            "linear", description="how beta rises"
        )
        restart: float = Field(
            0.0,
            ge=0,
            le=1,
            description="where each rise begins (sigmoid: its asymptote), dimensionless",
        )

        @model_validator(mode="after")
        def _one_length(self) -> Self:
            if self.cycle_epochs is not None and self.cycle_steps is not None:
                raise ValueError(
                    "cycle_epochs and cycle_steps are two lengths of a cycle; due: one"
                )
            return self

    config: Config

    @hookimpl
    def beta_schedule(self, index: int, epoch: float, total_steps: int) -> float:
        """The weight after ``index`` steps; a cycle that the run is too short for is warned of."""
        done = self._cycles_done(index, epoch, total_steps)
        if index == 1:
            _warn(1 / done, total_steps)
        return self._weight(done % 1 / self.config.proportion)

    def _cycles_done(self, index: int, epoch: float, total_steps: int) -> float:
        if self.config.cycle_epochs is not None:
            return epoch / self.config.cycle_epochs
        if self.config.cycle_steps is not None:
            return index / self.config.cycle_steps
        # multiplied first: exact where a cycle begins
        return index * self.config.cycles / total_steps

    def _weight(self, progress: float) -> float:
        if progress >= 1:
            return 1.0
        return self.config.restart + (1 - self.config.restart) * self._rise(progress)

    def _rise(self, progress: float) -> float:
        if self.config.shape == "sigmoid":
            return 1 / (1 + math.exp(6 - 12 * progress))
        if self.config.shape == "cosine":
            return (1 - math.cos(math.pi * progress)) / 2
        return progress


def _warn(length: float, total_steps: int) -> None:
    """Say so where a cycle of ``length`` steps does not fit the run, or is no cycle."""
    if length > 1.01 * total_steps:
        warnings.warn(
            f"cyclical: training ends at {total_steps / length:.0%} of the first cycle, so beta "
            f"never starts again; "
            "train longer, or shorten cyclical.cycle_epochs or cycle_steps",
            stacklevel=3,
        )
    elif length < 2:
        warnings.warn(
            f"cyclical: a cycle is {length:.2g} steps, too short for beta to rise; train longer, "
            f"or lower cyclical.cycles",
            stacklevel=3,
        )
