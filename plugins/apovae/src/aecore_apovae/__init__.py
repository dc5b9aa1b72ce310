"""APo-VAE: an implicit posterior on the Poincaré ball, its KL by a critic, a learned prior.

Source: Dai, Gan, Cheng, Tao, Carin and Liu, NAACL 2021, https://arxiv.org/abs/2005.00054, equations
    7 to 12 and algorithm 1. No code is public, and the paper names few of its sizes.
Deviations:
    - The pseudo-inputs descend on the dual. Algorithm 1 has them ascend on (10) together with the
      critic, which raises the KL: at the best critic the gradient of -E_p exp nu in the prior is
      that of the KL. The printed direction is the setting ``pseudo_inputs=ascent``.
    - The whole dual (9), plus 1, is charged, so that the encoder moves by the prior's draws, too,
      where these are its own; (11) leaves them out.
    - Centre and tangent vector are bounded, smoothly, so that no draw meets the edge where float32
      ends; between is float64.
    - Pseudo-inputs are sequences of embeddings of one length. The paper does not say what they
      are; theirs may be sentences' features.
    - curvature is 0.7, that of the P-VAE for images; critic and steps are those of the iVAE.
"""

from aecore_apovae.method import ApoVae
from aecore_apovae.network import Network

__all__ = ["ApoVae", "Network"]
