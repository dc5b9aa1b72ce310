"""Emb2Emb: conditional generation by a mapping in the latent space of a frozen autoencoder.

Source: Mai et al., EMNLP 2020, https://arxiv.org/abs/2010.02983.
"""

from aecore_emb2emb.emb2emb import Emb2Emb
from aecore_emb2emb.s2s import S2SMapped, S2SPretrain, S2SScratch

__all__ = ["Emb2Emb", "S2SMapped", "S2SPretrain", "S2SScratch"]
