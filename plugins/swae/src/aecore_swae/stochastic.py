"""WAE-S: Gaussian posteriors under the MMD, kept from shrinking to points.

The paper's theorem: of all Gaussian encoders with the same means the one without variance has the
best reconstruction, and the MMD is content with it, so that a WAE's deviations fall to 0.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from aecore import Plugin, PluginConfig, Sizes, Step, hookimpl
from aecore_swae.settings import MmdConfig, batch_mmd, kernel_for


class WaeS(Plugin):
    """L = E_q[-log p(x | z)] + weight MMD^2 + kl_weight KL(N(mu, sigma^2) || N(mu, I)).

    The KL is sum_d (sigma^2 - 1) / 2 - log sigma: it knows nothing of mu. Logged: ``mmd``, before
    the weight, and ``deviation``, the mean sigma, which goes to 0 where kl_weight is 0.
    """

    class Config(MmdConfig):
        """Settings of the stochastic WAE."""

        kl_weight: float = Field(
            0.1, ge=0, description="of the KL that holds the deviations near 1; the paper's gamma"
        )

    config: Config

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.kernel = kernel_for(sizes.latent)

    @hookimpl
    def kl_term(self, step: Step) -> Tensor:
        """weight MMD^2 + kl_weight sum_d ((sigma^2 - 1) / 2 - log sigma), (B, 1)."""
        normal = step.sample.distribution
        assert normal is not None
        scale: Tensor = normal.stddev  # type: ignore[attr-defined]
        narrow = (0.5 * (scale.square() - 1) - scale.log()).sum(1, keepdim=True)
        found = batch_mmd(step, self.kernel)
        self.log(mmd=found.detach(), deviation=step.mean(scale.detach()).mean())
        return self.config.weight * found + self.config.kl_weight * narrow
