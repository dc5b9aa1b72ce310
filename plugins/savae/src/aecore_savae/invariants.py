"""What SA-VAE keeps up in any company."""

from __future__ import annotations

import torch
from torch import Tensor

from aecore import Batch, PosteriorSample, Step
from aecore.testing import Kept, Trial
from aecore_savae import SaVae, gaussian

#: Draws of each posterior, which both share.
DRAWS = 8


def refines(trial: Trial) -> Kept:
    """The bound at the refined posterior is below that at the encoder's, 64 sentences."""
    plugin, batch = trial.plugin, trial.valid()
    assert isinstance(plugin, SaVae)
    with torch.no_grad():
        features = trial.model.features(batch)
        mean, log_variance = plugin.head(features).chunk(2, -1)
        found = trial.model.posterior_params(mean, log_variance, batch)
        noise = torch.randn(DRAWS, len(batch), trial.model.sizes.latent)
        before = _bound(trial, features, batch, torch.cat(found, -1), noise)
    refined = trial.model.posterior_sample(features, 1, batch).distribution
    assert refined is not None
    parameters = torch.cat([refined.mean, 2 * refined.stddev.log()], -1)  # type: ignore[attr-defined]
    with torch.no_grad():
        after = _bound(trial, features, batch, parameters.detach(), noise)
    return Kept(kept=after < before, found=f"{after:.2f} nats refined, {before:.2f} unrefined")


def _bound(
    trial: Trial, features: Tensor, batch: Batch, parameters: Tensor, noise: Tensor
) -> float:
    normal = gaussian(parameters)
    total = 0.0
    for one in noise:
        z = (normal.mean + normal.stddev * one).unsqueeze(1)
        step = Step(trial.model, batch, features=features, sample=PosteriorSample(z, normal))
        total += float((step.rec.mean(1) + step.kl.sum(1)).mean())
    return total / len(noise)
