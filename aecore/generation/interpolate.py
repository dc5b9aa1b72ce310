"""Latent interpolation: from one code to another, along the geodesic of the latent space."""

from __future__ import annotations

import torch
from torch import Tensor

from aecore.errors import ConfigError
from aecore.geometry import Space


def interpolate(space: Space, start: Tensor, end: Tensor, steps: int) -> Tensor:
    """(steps, D): equally spaced points from ``start`` (D,) to ``end`` (D,) on the geodesic.

    Args:
        space: the latent space, ``model.space``.

    Raises:
        ConfigError: for fewer than two steps.
    """
    if steps < 2:
        raise ConfigError(f"steps = {steps} is out of range", "due: at least 2, the two ends")
    return space.geodesic(start, end, torch.linspace(0, 1, steps, device=start.device))
