"""What the cyclical schedule keeps up in any company."""

from __future__ import annotations

from itertools import pairwise

from aecore.testing import Kept, Trial
from aecore_cyclical import Cyclical


def cycles(trial: Trial) -> Kept:
    """Beta reaches its end once in every cycle, and falls back in between."""
    betas = [float(row["beta"]) for row in trial.rows]
    assert isinstance(trial.plugin, Cyclical)
    due = trial.plugin.config.cycles
    falls = sum(after < before - 0.5 for before, after in pairwise(betas))
    kept = max(betas) > 1 - 1e-6 and falls == due - 1
    return Kept(kept=kept, found=f"beta up to {max(betas):.3f}, {falls + 1} cycles of {due}")
