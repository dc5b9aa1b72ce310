"""Free bits: the divergence is charged down to a floor, below which the model has it for nothing.

Source: Kingma et al., NeurIPS 2016, https://arxiv.org/abs/1606.04934 (``kingma``); Li et al., EMNLP
    2019, https://arxiv.org/abs/1909.00868, and the authors' text_anneal_fb.py (``dimension``,
    ``sentence``, ``batch``: its fb 2, 1 and 3); Pelsmaeker and Aziz, ACL 2020,
    https://arxiv.org/abs/1904.08194 (``batch``).
Deviations:
    - What is charged is max(floor, KL), as the papers print it; the authors' code charges 0 below
      the floor. The gradients are equal, the losses differ by a constant: a charge never reads less
      than ``target_kl`` here.
    - A divergence that equals its floor is free, as in the authors' code; torch's own max and clamp
      have a gradient there.
    - Pelsmaeker and Aziz lose beta where they put the floor; here the floor is under the divergence
      and beta is on both.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from aecore import Manifest, Plugin, PluginConfig, Step, hookimpl

#: The least that each mode needs to know of the divergence.
NEEDS = {"dimension": "dimension", "kingma": "dimension", "sentence": "sentence", "batch": "batch"}


class FreeBits(Plugin):
    """charged = max(floor, KL), per dimension or in total, per sentence or in the batch's mean.

    dimension: sum_d max(lambda / D, KL_id); kingma: sum_d max(lambda / D, mean_i KL_id);
    sentence: max(lambda, sum_d KL_id); batch: max(lambda, mean_i sum_d KL_id); lambda is
        ``target_kl``.
    """

    class Config(PluginConfig):
        """Settings of free bits."""

        target_kl: float = Field(
            8.0, gt=0, description="lambda, nats per sentence in total that are free of charge"
        )
        mode: Literal["dimension", "sentence", "batch", "kingma"] = Field(
            "dimension",
            description="what is compared with its share of target_kl; batch is the papers' FBP",
        )

    config: Config

    @classmethod
    def manifest(cls, declared: Manifest, config: PluginConfig) -> Manifest:
        """A floor in total needs less of the divergence than one for each dimension."""
        assert isinstance(config, cls.Config)
        requires = declared.requires.model_copy(update={"kl": NEEDS[config.mode]})
        return declared.model_copy(update={"requires": requires})

    @hookimpl
    def kl_penalty(self, kl: Tensor, step: Step) -> Tensor:
        """(B, G) -> (B, G) by dimension, else (B, 1); logs ``free``, the part on its floor."""
        mode = self.config.mode
        charged = kl if NEEDS[mode] == "dimension" else kl.sum(1, keepdim=True)
        measured = step.mean(charged).unsqueeze(0) if mode in {"batch", "kingma"} else charged
        floor = self.config.target_kl / charged.shape[1]
        above = measured > floor
        self.log(free=1 - above.to(kl.dtype).mean())
        return torch.where(above, charged, floor)
