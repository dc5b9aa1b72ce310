"""KL annealing: the weight of the divergence rises once, linearly or along a logistic curve.

Source: Bowman et al., CoNLL 2016, https://arxiv.org/abs/1511.06349, section 3.1 (the idea); Li et
    al., EMNLP 2019, https://arxiv.org/abs/1909.00868, text_anneal_fb.py (linear); Shao et al., ICML
    2020, https://arxiv.org/abs/2004.05988, Text_gen_PTB/annealing.py (logistic, called cost
    annealing there).
Deviation: the linear weight is ``start`` at the first step and reaches 1 at the end of the warm-up.
    The public code adds an increment before the first step, and counts N / B steps an epoch, fewer
    than it runs, so that it arrives early.
"""

from __future__ import annotations

import math
import warnings
from typing import Literal

from pydantic import Field

from aecore import Plugin, PluginConfig, hookimpl

#: The published warm-up, epochs, and the share of a shorter run that takes its place.
EPOCHS, SHARE = 10.0, 0.5


class Annealing(Plugin):
    """beta = start + (end - start) u, or end / (1 + exp(5 - 10 u)); end from the warm-up on."""

    class Config(PluginConfig):
        """Settings of KL annealing."""

        shape: Literal["linear", "logistic"] = Field("linear", description="how the weight rises")
        start: float = Field(
            0.0, ge=0, le=1, description="the weight at the first step (linear only), dimensionless"
        )
        end: float = Field(
            1.0, gt=0, description="the weight after the warm-up; below 1 a beta-VAE, dimensionless"
        )
        warmup_epochs: float | None = Field(
            None,
            gt=0,
            description="length of the warm-up, epochs; 10, or half of a run of fewer than 20, "
            "unless set",
        )
        warmup_steps: int | None = Field(
            None, gt=0, description="length of the warm-up, steps; replaces warmup_epochs"
        )

    config: Config

    @hookimpl
    def beta_schedule(self, index: int, epoch: float, total_steps: int) -> float:
        """The weight after ``index`` steps; a run too short for the warm-up is warned of."""
        steps, epochs = self.config.warmup_steps, self.config.warmup_epochs
        if steps is not None:
            progress = index / steps
        elif epochs is not None:
            progress = epoch / epochs
        else:
            progress = max(epoch / EPOCHS, index / (SHARE * total_steps))
        reached = progress * total_steps / max(index, 1)
        if index == 1 and reached < 0.99:
            warnings.warn(
                f"annealing: training ends at {reached:.0%} of the warm-up, "
                f"so beta will not reach {self.config.end:g}; "
                "train longer or shorten annealing.warmup_epochs",
                stacklevel=2,
            )
        return self._weight(progress)

    def _weight(self, progress: float) -> float:
        start, end = self.config.start, self.config.end
        if progress >= 1:
            return end
        if self.config.shape == "logistic":
            return end / (1 + math.exp(5 - 10 * progress))
        return start + (end - start) * progress
