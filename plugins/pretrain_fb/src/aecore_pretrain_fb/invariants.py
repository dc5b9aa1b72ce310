"""What pretraining and free bits keep up in any company."""

from __future__ import annotations

import torch

from aecore.testing import Kept, Trial
from aecore_pretrain_fb import FreeBits

#: The KL climbs to its floor from below, the slower the nearer: it has no gradient there, so that
#: the reconstruction alone pushes it up.
SHARE = 0.85


def keeps_the_floor(trial: Trial) -> Kept:
    """The charge is at least target_kl in every line, and the KL of the last 50 steps near it."""
    assert isinstance(trial.plugin, FreeBits)
    floor = trial.plugin.config.target_kl
    kl, least = trial.mean("kl"), min(float(row["kl_loss"]) for row in trial.rows)
    kept = kl >= SHARE * floor and least >= floor * (1 - 1e-5)
    return Kept(kept=kept, found=f"KL {kl:.2f}, charge {least:.2f} or more, floor {floor:g}")


def keeps_the_encoder(trial: Trial) -> Kept:
    """The encoder at joint step 0 is the pretrained one, bit for bit, and no longer the first."""
    stage, joint, first = (trial.weights[at] for at in ("autoencoder", "joint", "initial"))
    encoder = [name for name, _ in trial.model.named_params("encoder")]
    other = [name for name in encoder if not torch.equal(stage[name], joint[name])]
    moved = [name for name in encoder if not torch.equal(first[name], joint[name])]
    share = f"{len(encoder) - len(other)} of {len(encoder)} tensors as the stage left them"
    return Kept(kept=not other and bool(moved), found=f"{share}, {len(moved)} moved by training")
