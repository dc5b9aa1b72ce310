"""The denoising autoencoder: noise on what the encoder reads, and nothing else."""

from __future__ import annotations

from aecore import Batch, Plugin, hookimpl
from aecore_dae.noise import NoiseConfig, corrupted


class Dae(Plugin):
    """L = -log p(x | z(noisy x)): training alone corrupts, evaluation reads clean sentences.

    Over whatever posterior and divergence the composition has: with ``ae`` the paper's DAE.
    """

    class Config(NoiseConfig):
        """Settings of the denoising autoencoder."""

    config: Config

    @hookimpl
    def corrupt_input(self, batch: Batch) -> Batch:
        """The same sentences with words shuffled, dropped, blanked, substituted."""
        return corrupted(batch, self.config, self.sizes.vocabulary)
