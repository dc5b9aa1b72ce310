"""What ControlVAE keeps up in any company."""

from __future__ import annotations

from aecore.testing import Kept, Trial
from aecore_controlvae import ControlVAE

#: Nats that the KL may be away from its set point.
NEAR = 0.5


def settles(trial: Trial) -> Kept:
    """|KL - target_kl| < 0.5 nats, the raw KL of the last 50 steps."""
    assert isinstance(trial.plugin, ControlVAE)
    target = trial.plugin.config.target_kl
    kl = trial.mean("kl")
    return Kept(kept=abs(kl - target) < NEAR, found=f"KL {kl:.2f}, target {target:g}")
