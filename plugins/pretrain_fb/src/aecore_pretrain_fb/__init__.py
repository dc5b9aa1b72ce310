"""Autoencoder pretraining and free bits, against posterior collapse; and an autoencoder.

Source: Li, He, Neubig, Berg-Kirkpatrick and Yang, EMNLP 2019, https://arxiv.org/abs/1909.00868.
"""

from aecore_pretrain_fb.autoencoder import Autoencoder
from aecore_pretrain_fb.free_bits import FreeBits
from aecore_pretrain_fb.pretraining import Pretraining

__all__ = ["Autoencoder", "FreeBits", "Pretraining"]
