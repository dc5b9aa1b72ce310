"""Implicit posteriors: z is a network of the sentence and of noise, and has no density.

Source: Fang, Li, Gao, Dong and Chen, EMNLP 2019, https://arxiv.org/abs/1908.11527; the authors'
    Implicit-LVM.
Deviations, of both:
    - The posterior is a network by default. The authors' code for language models has a single
      affine map, z = W [h; eps] + b: a Gaussian whose covariance all sentences share. It is the
      setting ``posterior=affine``, where the KL is known and logged beside the critic's.
    - Batches are mixed; theirs hold sentences of one length, so that their aggregate is matched
      length by length.
    - The constant 1 of the dual is part of what is charged and reported; theirs enters in
      evaluation alone. Figures have one draw of z a sentence, theirs 128.
    - A second critic, by which they report mutual information, is not trained beside the first.
    - Encoder and decoder are clipped together.
"""

from aecore_ivae.marginal import IvaeMi
from aecore_ivae.posterior import ImplicitPosterior
from aecore_ivae.sentence import Ivae

__all__ = ["ImplicitPosterior", "Ivae", "IvaeMi"]
