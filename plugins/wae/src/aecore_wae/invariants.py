"""What the WAEs keep up in any company."""

from __future__ import annotations

from aecore.testing import Kept, Trial


def matches(trial: Trial) -> Kept:
    """weight MMD^2 of 200 validation sentences is less than half of what it was at the start."""
    before, after = (float(figures["penalty"]) for figures in (trial.first, trial.last))
    return Kept(kept=after < before / 2, found=f"weighted MMD {after:.3f}, {before:.3f} at first")
