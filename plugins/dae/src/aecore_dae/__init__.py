"""Denoising autoencoders: sentences that are alike after corruption get codes that lie together.

Source: Shen, Mueller, Barzilay and Jaakkola, ICML 2020, https://arxiv.org/abs/1905.12777; the
    authors' text-autoencoders.
Deviations, of both:
    - A blanked word is ``<unk>``; their vocabulary has a word of its own for it.
    - No sentence loses all of its words: where every one would be dropped, one stays. Theirs may
      become empty.
    - A sentence ends after its last word; their encoder reads the pads at the end,
      in training alone.
"""

from aecore_dae.adversarial import Daae
from aecore_dae.denoising import Dae
from aecore_dae.noise import NoiseConfig, corrupted

__all__ = ["Daae", "Dae", "NoiseConfig", "corrupted"]
