"""WAE-D: a point for each sentence, matched with the prior by the MMD of a batch."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from aecore import Plugin, PluginConfig, PosteriorSample, Role, Sizes, Step, hookimpl, initialise
from aecore_swae.settings import MmdConfig, batch_mmd, kernel_for


class WaeD(Plugin):
    """L = -log p(x | W f) + weight MMD^2(q(z), p(z)). Logged: ``mmd``, before the weight."""

    class Config(MmdConfig):
        """Settings of the deterministic WAE."""

    config: Config
    roles: ClassVar[dict[str, Role]] = {"head": "encoder"}

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.head = nn.Linear(sizes.hidden, sizes.latent, bias=False)
        initialise(self)
        self.kernel = kernel_for(sizes.latent)

    @hookimpl
    def posterior_sample(self, features: Tensor) -> PosteriorSample:
        """z = W f, (B, 1, D)."""
        return PosteriorSample(self.head(features).unsqueeze(1))

    @hookimpl
    def kl_term(self, step: Step) -> Tensor:
        """weight MMD^2, (B, 1), the same for all sentences."""
        found = batch_mmd(step, self.kernel)
        self.log(mmd=found.detach())
        return (self.config.weight * found).expand(len(step.batch), 1)
