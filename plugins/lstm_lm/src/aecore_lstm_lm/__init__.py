"""LSTM language model: the decoder alone, which reads no latent.

Source: the baseline of Li et al., EMNLP 2019, https://arxiv.org/abs/1909.00868,
    modules/lm/lm_lstm.py and lm.py.
Deviations: none in the model. The public script takes the last training loss for the reference of
    its plateau schedule, and reports a test figure with dropout when its epochs run out; here the
    schedule and the evaluation are the core's.
"""

from __future__ import annotations

from torch import Tensor

from aecore import Plugin, PosteriorSample, Step, hookimpl


class LstmLm(Plugin):
    """-log p(x) = -sum_t log p(x_t given x_<t), exactly: no condition, and q = p.

    The core's encoder is built and run as ever, but nothing of it reaches a loss: its parameters
    keep their first values.
    """

    @hookimpl
    def posterior_sample(self, features: Tensor, n_samples: int) -> PosteriorSample:
        """z = 0, (B, K, D): a place for a latent that says nothing."""
        return PosteriorSample(features.new_zeros(len(features), n_samples, self.sizes.latent))

    @hookimpl
    def decoder_condition(self, z: Tensor) -> Tensor:
        """(..., 0)."""
        return z[..., :0]

    @hookimpl
    def kl_term(self, step: Step) -> Tensor:
        """0, (B, 1): KL(q || p) of two equal distributions, nats per sentence."""
        return step.features.new_zeros(len(step.batch), 1)
