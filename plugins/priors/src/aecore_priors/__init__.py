"""Priors that are mixtures of M learned components: free Gaussians, or the posteriors of pseudo-sentences.

Source: Tomczak and Welling, AISTATS 2018, https://arxiv.org/abs/1705.07120.
"""

from aecore_priors.mog import MogPrior
from aecore_priors.vamp import VampPrior

__all__ = ["MogPrior", "VampPrior"]
