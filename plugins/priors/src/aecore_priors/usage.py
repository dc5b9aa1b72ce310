"""Component usage: how many components of a mixture are in use, or have merged."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def usage(log_parts: Tensor) -> dict[str, Tensor]:
    """Effective numbers of components, 0-d, from 1 to M, for log (w_k p_k(z)) of shape (..., M).

    With r_k(z) the responsibilities and H the entropy, ``used`` is exp H(mean r), the components
    that share the latents, and ``distinct`` is exp (H(mean r) - mean H(r)), those that can be told
    apart: of M equal ones, M are used and 1 is distinct.
    """
    shares = log_parts.reshape(-1, log_parts.shape[-1]).softmax(-1)  # (N, M)
    spread = torch.special.entr(shares.mean(0)).sum()
    return {
        "used": spread.exp(),
        "distinct": (spread - torch.special.entr(shares).sum(-1).mean()).exp(),
    }
