"""What the Poincaré VAE keeps up in any company."""

from __future__ import annotations

from aecore.testing import Kept, Trial

#: What float32 may lie off the ball.
ROUNDING = 1e-5


def lies_on_the_ball(trial: Trial) -> Kept:
    """Posterior draws, posterior means and prior draws lie on the ball."""
    name, off = trial.model.space.name, trial.off_the_space()
    kept = name == "ball" and off <= ROUNDING
    return Kept(kept=kept, found=f"space {name}, at most {off:.1e} off it")
