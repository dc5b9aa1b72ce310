"""ControlVAE: a PI controller steers beta so that the KL settles at a set point.

Source: Shao et al., ICML 2020, https://arxiv.org/abs/2004.05988, Algorithm 1; the authors'
    Text_gen_PTB/PID.py.
Deviations:
    - The beta of a step comes from that step's own KL, as in Algorithm 1 and in the authors'
      dialogue and image code; their Penn Treebank code applies it one step late.
    - Anti-windup is conditional integration: the integral holds only while a step would push the
      output further outside [beta_min, beta_max]. The authors' text code tests ``w < 0 and w > 1``
      and so never holds; the rule as printed holds whenever the previous output was outside, and
      can stay there for ever once the integral has overshot.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from aecore import Plugin, PluginConfig, Sizes, hookimpl


class ControlVAE(Plugin):
    """beta = clip(beta_min + kp / (1 + exp(e)) + I), e = target_kl - kl, I <- I - ki e."""

    class Config(PluginConfig):
        """Settings of ControlVAE, the paper's symbols in words."""

        target_kl: float = Field(
            3.0, gt=0, description="set point of the raw KL, nats per sentence"
        )
        kp: float = Field(0.01, ge=0, description="proportional gain, dimensionless")
        ki: float = Field(
            1e-3,
            ge=0,
            description="integral gain, per nat and step; 1e-4 is the paper's, for longer runs",
        )
        beta_min: float = Field(0.0, ge=0, description="smallest beta")
        beta_max: float = Field(1.0, gt=0, description="largest beta")

        @model_validator(mode="after")
        def _ordered(self) -> Self:
            if self.beta_min >= self.beta_max:
                raise ValueError(
                    f"beta_min = {self.beta_min} is not below beta_max = {self.beta_max}"
                )
            return self

    config: Config
    integral: Tensor

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        # Increments of ki e, about 1e-4, would drown in float32 once the integral is near 1.
        self.register_buffer("integral", torch.zeros((), dtype=torch.float64))

    @hookimpl
    def beta_schedule(self, kl: Tensor) -> Tensor:
        """One step of the controller on this step's batch-mean raw KL, 0-d, nats per sentence."""
        c = self.config
        error = c.target_kl - kl.double()
        proportional = c.kp * torch.sigmoid(-error)
        change = -c.ki * error
        output = c.beta_min + proportional + self.integral + change
        outwards = ((output > c.beta_max) & (change > 0)) | ((output < c.beta_min) & (change < 0))
        self.integral.copy_(torch.where(outwards, self.integral, self.integral + change))
        self.log(integral=self.integral.clone(), error=error)
        return output.clamp(c.beta_min, c.beta_max)
