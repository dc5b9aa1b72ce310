"""FGIM: fast gradient iterative modification of codes, by a classifier of styles.

Source: Wang et al., NeurIPS 2019, https://arxiv.org/abs/1905.12926.
"""

from aecore_fgim.fgim import Fgim

__all__ = ["Fgim"]
