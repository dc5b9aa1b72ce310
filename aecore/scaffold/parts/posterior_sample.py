"""A diagonal Gaussian posterior with a smallest deviation.

provides.posterior = "gaussian"
provides.geometry = "euclidean"
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from aecore import Batch, Plugin, PluginConfig, PosteriorSample, Sizes, hookimpl


class Method(Plugin):
    """q(z given x) = N(mu(x), diag(sigma(x)^2)), where sigma is above sigma_min."""

    class Config(PluginConfig):
        """Settings."""

        sigma_min: float = Field(0.01, ge=0, description="smallest deviation of q")

    config: Config
    roles = {"head": "encoder"}

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.head = nn.Linear(sizes.hidden, 2 * sizes.latent)

    @hookimpl
    def posterior_sample(
        self,
        features: Tensor,
        n_samples: int,
        batch: Batch | None,
    ) -> PosteriorSample:
        """Draw z, (B, K, D), from the features, (B, H)."""
        mean, log_variance = self.head(features).chunk(2, -1)  # (B, D) each
        mean, log_variance = self.model.posterior_params(mean, log_variance, batch)
        sigma = (0.5 * log_variance).exp() + self.config.sigma_min
        q = Independent(Normal(mean, sigma), 1)  # batch shape (B,), event shape (D,)
        return PosteriorSample(q.rsample((n_samples,)).transpose(0, 1), q)


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


def test_draws_have_the_mean_and_the_smallest_deviation() -> None:
    plugin = method(sigma_min=0.5)
    alone: Any = SimpleNamespace(posterior_params=lambda *given: given[:2])
    plugin.attach(alone)
    nn.init.zeros_(plugin.head.weight)
    plugin.head.bias.data = torch.tensor([1.0, -1.0, -200.0, -200.0])
    z = plugin.posterior_sample(torch.randn(4, 3), 4000, None).z.detach()
    assert z.shape == (4, 4000, 2)
    assert z.mean((0, 1)).tolist() == pytest.approx([1, -1], abs=0.03)
    assert z.std((0, 1)).tolist() == pytest.approx([0.5, 0.5], abs=0.03)
