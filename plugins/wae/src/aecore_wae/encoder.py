"""The encoder of the three: a point for each sentence, or a Gaussian."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from aecore import Batch, Manifest, Model, PluginConfig, PosteriorSample, Sizes, initialise

Encoder = Literal["deterministic", "gaussian"]


class EncoderConfig(PluginConfig):
    """The setting that the three share."""

    encoder: Encoder = Field(
        "deterministic", description="a point for each sentence, or a Gaussian with a learned scale"
    )


def head_for(encoder: Encoder, sizes: Sizes) -> nn.Linear:
    """W of z = W f, or of (mu, log sigma^2) = W f."""
    width = sizes.latent if encoder == "deterministic" else 2 * sizes.latent
    head = nn.Linear(sizes.hidden, width, bias=False)
    initialise(head)
    return head


def drawn(
    encoder: Encoder, model: Model, found: Tensor, samples: int, batch: Batch | None
) -> PosteriorSample:
    """The one point (B, 1, D), or draws of N(mu, diag sigma^2), (B, K, D)."""
    if encoder == "deterministic":
        return PosteriorSample(found.unsqueeze(1))
    mean, log_variance = found.chunk(2, -1)
    mean, log_variance = model.posterior_params(mean, log_variance, batch)
    scale = (0.5 * log_variance).exp()
    normal = Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)
    return PosteriorSample(normal.rsample((samples,)).transpose(0, 1), normal)


def refined(declared: Manifest, encoder: Encoder) -> Manifest:
    """What is known of the posterior, by the setting."""
    if encoder == "deterministic":
        return declared
    provides = declared.provides.model_copy(update={"posterior": "gaussian"})
    return declared.model_copy(update={"provides": provides})
