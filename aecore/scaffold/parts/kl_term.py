"""The KL divergence estimated from samples.

provides.kl = "sentence"
provides.kl_estimator = "monte-carlo"
provides.kl_gradient = ["encoder", "prior"]
requires.posterior = "density"
requires.prior = "density"
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from aecore import Plugin, PluginConfig, Sizes, Step, hookimpl


class Method(Plugin):
    """KL(q || p) as the mean of log q(z given x) - log p(z) over K draws of z."""

    class Config(PluginConfig):
        """Settings."""

        draws: int = Field(2, ge=1, description="K, draws of z in training")

    config: Config

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.samples = self.config.draws

    @hookimpl
    def kl_term(self, step: Step) -> Tensor:
        """(B, 1), nats per sentence."""
        log_q = step.sample.log_prob  # (B, K)
        assert log_q is not None, "plugin.toml requires a posterior with a density"
        return (log_q - step.log_prior).mean(1, keepdim=True)


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


def test_the_divergence_by_hand() -> None:
    log_q, log_p = torch.tensor([[-1.0, -2.0]]), torch.tensor([[-3.0, -6.0]])
    step: Any = SimpleNamespace(sample=SimpleNamespace(log_prob=log_q), log_prior=log_p)
    assert method().kl_term(step).tolist() == [[3.0]]
