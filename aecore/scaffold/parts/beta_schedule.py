"""The weight of the KL divergence rises to 1.

requires.kl_gradient = ["encoder"]
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field

from aecore import Plugin, PluginConfig, Sizes, hookimpl


class Method(Plugin):
    """beta = min(1, steps done / warmup)."""

    class Config(PluginConfig):
        """Settings."""

        warmup: int = Field(500, ge=1, description="steps until beta is 1")

    config: Config

    @hookimpl
    def beta_schedule(self, index: int) -> float:
        """The weight at the step after `index` steps."""
        return min(1.0, index / self.config.warmup)


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


@pytest.mark.parametrize(("index", "beta"), [(0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)])
def test_beta_by_hand(index: int, beta: float) -> None:
    assert method(warmup=10).beta_schedule(index) == beta
