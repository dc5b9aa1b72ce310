"""Deterministic and stochastic Wasserstein autoencoders of sentences.

Source: Bahuleyan, Mou, Zhou and Vechtomova, NAACL 2019, https://arxiv.org/abs/1806.08462; the
    authors' probabilistic_nlg.
Deviations, of both:
    - The reconstruction is the sum over a sentence's words; the authors take the mean over words,
      so that their weights (3 for the MMD) are those of a word, times the length here. The default
      is 10, and the stochastic one ignores its code at 60 from the start: N(0, I) for every
      sentence matches the prior, too.
    - The MMD is unbiased over mixed batches; theirs too. No gradient is clipped element by element.
    - The encoder is the core's LSTM, on trained embeddings.
"""

from aecore_swae.deterministic import WaeD
from aecore_swae.stochastic import WaeS

__all__ = ["WaeD", "WaeS"]
