"""The plain autoencoder: the divergence is not charged at all.

Source: Li et al., EMNLP 2019, https://arxiv.org/abs/1909.00868; the authors' text_beta.py with beta
    = 0.
"""

from __future__ import annotations

from torch import Tensor

from aecore import Plugin, Step, hookimpl


class Autoencoder(Plugin):
    """L = E_q[-log p(x given z)]: q keeps its learned scale and may go where it likes."""

    @hookimpl
    def kl_term(self, step: Step) -> Tensor:
        """0, (B, 1), without a gradient."""
        z = step.sample.z
        return z.new_zeros(len(z), 1)
