"""The posterior's variance has a floor.

requires.posterior = "gaussian"
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import Field
from torch import Tensor

from aecore import Plugin, PluginConfig, Sizes, hookimpl


class Method(Plugin):
    """q(z given x) = N(mu, diag(max(sigma, least_scale)^2))."""

    class Config(PluginConfig):
        """Settings."""

        least_scale: float = Field(0.1, gt=0, description="smallest deviation of q")

    config: Config

    @hookimpl
    def posterior_params(
        self,
        mean: Tensor,
        log_variance: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """(B, D) each, after the floor."""
        return mean, log_variance.clamp(min=2 * math.log(self.config.least_scale))


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


def test_the_floor_of_the_variance_by_hand() -> None:
    # log 0.5^2 = -1.386...
    log_variance = torch.tensor([[-9.0, 1.0]])
    mean, found = method(least_scale=0.5).posterior_params(log_variance, log_variance)
    assert mean.tolist() == [[-9.0, 1.0]]
    assert found[0].tolist() == pytest.approx([2 * math.log(0.5), 1.0])
