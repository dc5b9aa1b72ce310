"""VampPrior: the prior is a mixture of the posteriors of learned pseudo-sentences.

Source: Tomczak and Welling, AISTATS 2018, https://arxiv.org/abs/1705.07120, Eq. 9; for text, in the
    space of embeddings: Pelsmaeker and Aziz, ACL 2020, https://arxiv.org/abs/1904.08194,
    bowman_decoder.py (M = 100, lengths drawn once).
Deviations:
    - Pseudo-sentences start as the encoder's own embeddings do, from U(-0.1, 0.1), so that to an
      untrained encoder they are sentences of random words. The public code for text draws them from
      a normal that is scaled by their sizes.
    - Where no gradient is wanted they are encoded once for all sentences, not once for each.
    - Samples come from components drawn at random. The public code for images decodes the first
      pseudo-inputs, in their order.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from aecore import Plugin, PluginConfig, PluginError, Role, Sizes, hookimpl
from aecore_priors.usage import usage


class VampPrior(Plugin):
    """p(z) = 1/M sum_k q(z given u_k): u_k of shape (L, E), the sentences' own encoder.

    The divergence thus moves the encoder twice, by q(z | x) and by the prior. Neither ``<s>`` nor
    ``</s>`` is added to u_k.

    State: ``lengths`` (M,), the steps of each pseudo-sentence.
    """

    class Config(PluginConfig):
        """Settings of the VampPrior."""

        components: int = Field(100, ge=1, description="M, pseudo-sentences")
        mean_length: float = Field(
            20.0,
            ge=1,
            description="mean of their lengths, words; each is drawn once, from a normal",
        )
        length_std: float = Field(
            5.0,
            ge=0,
            description="deviation of their lengths, words; none is further than two above the "
            "mean",
        )

    config: Config
    lengths: Tensor
    roles: ClassVar[dict[str, Role]] = {"inputs": "prior"}

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        c = self.config
        longest = math.ceil(c.mean_length + 2 * c.length_std)
        lengths = c.mean_length + c.length_std * torch.randn(c.components)
        self.register_buffer("lengths", lengths.round().long().clamp(1, longest))
        self.inputs = nn.Parameter(
            torch.empty(c.components, longest, sizes.embedding).uniform_(-0.1, 0.1)
        )

    def features(self) -> Tensor:
        """(M, H): what the encoder makes of the pseudo-sentences."""
        return self.model.features_of_embedded(self.inputs, self.lengths)

    @hookimpl
    def prior_logprob(self, z: Tensor) -> Tensor:
        """log 1/M sum_k q(z | u_k): (..., D) -> (...)."""
        components = self.model.posterior_sample(self.cached(self.features)).distribution
        if components is None:
            raise PluginError(
                f"vamp_prior needs q(z | u) at any z, and '{self._posterior}' gives its density at "
                f"its own draws alone",
                "due: a distribution in the PosteriorSample",
                plugin=self._posterior,
                hook="posterior_sample",
            )
        points = z.reshape(-1, 1, z.shape[-1]).expand(-1, len(self.lengths), -1)  # (N, M, D)
        log_parts = components.log_prob(points)  # (N, M)
        if self.training:
            self.log(**usage(log_parts))
        return log_parts.logsumexp(1).view(z.shape[:-1]) - math.log(len(self.lengths))

    @property
    def _posterior(self) -> str:
        return self.model.composition.owners["posterior_sample"]

    @hookimpl
    def prior_sample(self, n: int) -> Tensor:
        """A pseudo-sentence at random, then z from its posterior: (n, D)."""
        features = self.cached(self.features)
        chosen = torch.randint(len(features), (n,), device=features.device)
        return self.model.posterior_sample(features[chosen]).z.squeeze(1)
