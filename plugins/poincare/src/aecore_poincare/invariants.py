"""What the Poincaré VAE keeps up in any company."""

from __future__ import annotations

import torch

from aecore.testing import Kept, Trial

#: What float32 may lie off the ball.
ROUNDING = 1e-5


def lies_on_the_ball(trial: Trial) -> Kept:
    """Posterior draws, posterior means and prior draws lie on the ball."""
    batch = trial.valid()
    with torch.no_grad():
        sample = trial.model.posterior_sample(trial.model.features(batch), 4, batch)
        points = [sample.z.flatten(0, 1), trial.model.code(batch), trial.model.prior_sample(64)]
        off = max(float(trial.model.space.off(point).max()) for point in points)
    name = trial.model.space.name
    kept = name == "ball" and off <= ROUNDING
    return Kept(kept=kept, found=f"space {name}, at most {off:.1e} off it")
