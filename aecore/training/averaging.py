"""Weight averaging: an exponential moving average of the parameters, kept in their place.

Source: Polyak and Juditsky, 1992; Morales-Brotons et al., TMLR 2024,
    https://arxiv.org/abs/2411.18704.
Deviation: the first steps count more, so that the initial weights are soon forgotten: the decay is
    at most (1 + t) / (10 + t).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from aecore.model import Model


class Average:
    """a <- d a + (1 - d) w after a joint step, d = min(decay, (1 + t) / (10 + t)); no buffers.

    Args:
        decay: d; 0 keeps no average, and the weights stand for themselves.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.model = model
        self.decay = decay
        self.weights: dict[str, Tensor] = {}

    def update(self, step: int) -> None:
        """Take in the weights after joint step ``step``, counted from 1."""
        if not self.decay:
            return
        current = self.model.own_parameters()
        if not self.weights:
            self.weights = {name: parameter.detach().clone() for name, parameter in current.items()}
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(
                [self.weights[name] for name in current],
                [p.detach() for p in current.values()],
                share,
            )

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what a checkpoint kept of ``weights``."""
        self.weights = {name: tensor.to(self.model.device) for name, tensor in tensors.items()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model with its averaged weights inside the block; its own return afterwards."""
        if not self.weights:
            yield
            return
        own = {name: p.detach().clone() for name, p in self.model.own_parameters().items()}
        self._put(self.weights)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self.model.own_parameters().items():
            parameter.copy_(weights[name])
        self.model.weights_changed()
