"""Wasserstein autoencoders: the aggregate of the codes is matched with the prior.

Source: Tolstikhin, Bousquet, Gelly and Schoelkopf, ICLR 2018, https://arxiv.org/abs/1711.01558;
    Arjovsky, Chintala and Bottou, ICML 2017, https://arxiv.org/abs/1701.07875.
"""

from aecore_wae.gan import WaeGan
from aecore_wae.mmd import WaeMmd
from aecore_wae.wgan import Wgan

__all__ = ["WaeGan", "WaeMmd", "Wgan"]
