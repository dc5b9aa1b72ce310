"""What annealing keeps up in any company."""

from __future__ import annotations

from aecore.testing import Kept, Trial


def arrives(trial: Trial) -> Kept:
    """Beta is its end value, 1, at the end."""
    end = float(trial.plugin.config.end)  # type: ignore[attr-defined]
    beta = float(trial.rows[-1]["beta"])
    return Kept(kept=abs(beta - end) < 1e-6, found=f"beta {beta:.4f}, due {end:g}")
