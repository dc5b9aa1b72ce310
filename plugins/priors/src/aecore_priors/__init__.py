"""Mixture priors of M learned components: free Gaussians, or pseudo-sentences' posteriors.

Source: Tomczak and Welling, AISTATS 2018, https://arxiv.org/abs/1705.07120.
"""

from aecore_priors.mog import MogPrior
from aecore_priors.vamp import VampPrior

__all__ = ["MogPrior", "VampPrior"]
