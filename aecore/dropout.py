"""Dropout with a mask per element, of 16 random bits each: one law on every device.

torch draws 64 bits and a double for every element there, which took 5 % of a training step.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Values of 16 bits: rates are multiples of one in so many.
LEVELS = 65_536


def dropout(inputs: Tensor, rate: float) -> Tensor:
    """m x / (1 - p), elementwise, m ~ Bernoulli(1 - p); p is ``rate`` to 1/65,536.

    From torch's global generator of the device. The expectation is ``inputs`` exactly, since p
    itself divides.
    """
    dropped = round(rate * LEVELS)
    if dropped == 0:
        return inputs
    words = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64, device=inputs.device)
    words.random_(-(2**63), None)  # all 64 bits of each
    bits = words.view(torch.int16)[: inputs.numel()].view(inputs.shape)
    keep = (bits >= dropped - LEVELS // 2).to(inputs.dtype).mul_(LEVELS / (LEVELS - dropped))
    return inputs * keep
