"""beta-VAE: a constant weight on the divergence, L = rec + beta KL.

Source: Higgins et al., ICLR 2017, https://openreview.net/forum?id=Sy2fzU9gl, Eq. 4. For text, beta
    < 1 keeps z in use.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from aecore import Plugin, PluginConfig, hookimpl


class BetaVAE(Plugin):
    """beta_t = beta, dimensionless."""

    class Config(PluginConfig):
        """Settings of beta-VAE."""

        beta: float = Field(
            0.5,
            ge=0,
            description="weight of the divergence, dimensionless, above 0; 0 is the plugin ae",
        )

        @field_validator("beta")
        @classmethod
        def _charged(cls, beta: float) -> float:
            if beta == 0:  # a posterior that nothing holds is measured otherwise, as ae's is
                raise ValueError("0 charges no divergence: that is the plugin ae, --plugin ae")
            return beta

    config: Config

    @hookimpl
    def beta_schedule(self) -> float:
        """The constant."""
        return self.config.beta
