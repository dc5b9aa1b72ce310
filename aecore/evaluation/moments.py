"""Mean and variance over a stream of rows, in float64 and constant memory."""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Welford's update, D columns at a time."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros((), dtype=torch.float64)
        self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Some rows, (N, D)."""
        for value in rows.detach().double().cpu():
            self.count += 1
            away = value - self.mean
            self.mean = self.mean + away / self.count
            self._squares = self._squares + away * (value - self.mean)

    @property
    def variance(self) -> Tensor:
        """(D,): the sum of squares over N - 1."""
        return self._squares / (self.count - 1)
