"""What annealing keeps up in any company."""

from __future__ import annotations

from aecore.testing import Kept, Trial
from aecore_annealing import Annealing


def arrives(trial: Trial) -> Kept:
    """Beta is its end value, 1, at the end."""
    assert isinstance(trial.plugin, Annealing)
    end = trial.plugin.config.end
    beta = float(trial.rows[-1]["beta"])
    return Kept(kept=abs(beta - end) < 1e-6, found=f"beta {beta:.4f}, due {end:g}")
