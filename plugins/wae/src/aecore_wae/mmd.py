"""WAE-MMD: the maximum mean discrepancy between codes and draws of the prior.

Source: Tolstikhin et al., ICLR 2018, https://arxiv.org/abs/1711.01558, algorithm 2; the authors'
    wae.py.
Deviations:
    - The reconstruction is -log p(x | z) in nats, not the squared error of an image. The weight of
      the paper, 10, did well on sentences of ten words all the same: 100 and 300 lost them, and
      left a larger MMD.
    - The bandwidth of the Gaussian kernel is the expected squared distance of two draws of the
      prior, a constant; the authors take medians of the batch, zeros of the diagonal among them,
      through which the gradient flows.
    - The start takes as many steps as it is told; theirs ends when the moments are close.
    - Algorithm 2 of the paper names a discriminator by mistake; there is none.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from aecore import (
    Batch,
    ConfigError,
    Manifest,
    Plugin,
    PluginConfig,
    PosteriorSample,
    Role,
    Session,
    Sizes,
    Stage,
    Step,
    hookimpl,
)
from aecore.matching import imq, mmd_of_draws, moments_apart, rbf
from aecore_wae.encoder import EncoderConfig, drawn, head_for, refined

KERNELS = {"imq": imq, "rbf": rbf}


class WaeMmd(Plugin):
    """L = E[-log p(x | z)] + weight MMD^2(q(z), p(z)), q(z) the codes of the batch.

    The estimate is unbiased: near its optimum it is negative half of the time. Logged: ``mmd``,
    before the weight.
    """

    class Config(EncoderConfig):
        """Settings of WAE-MMD."""

        weight: float = Field(10.0, gt=0, description="lambda, nats per unit of MMD^2")
        kernel: Literal["imq", "rbf"] = Field(
            "imq", description="inverse multiquadric, summed over seven scales, or Gaussian"
        )
        prior_std: float = Field(
            1.0, gt=0, description="the prior's deviation, which sets the kernels' width"
        )
        moment_steps: int = Field(
            200, ge=0, description="steps that first bring mean and covariance to the prior's"
        )

    config: Config
    roles: ClassVar[dict[str, Role]] = {"head": "encoder"}

    @classmethod
    def manifest(cls, declared: Manifest, config: PluginConfig) -> Manifest:
        """Of a Gaussian more is known than of a point."""
        assert isinstance(config, cls.Config)
        return refined(declared, config.encoder)

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.head = head_for(self.config.encoder, sizes)
        width = 2 * sizes.latent * self.config.prior_std**2
        self.kernel = KERNELS[self.config.kernel](width)

    @hookimpl
    def posterior_sample(
        self, features: Tensor, n_samples: int, batch: Batch | None
    ) -> PosteriorSample:
        """z = W f, one draw; or draws of a Gaussian."""
        return drawn(self.config.encoder, self.model, self.head(features), n_samples, batch)

    @hookimpl
    def pre_train_init(self, session: Session) -> list[Stage]:
        """A start at which codes and prior overlap, so that the kernels see both."""
        if session.batch_size < 2:
            raise ConfigError(
                "wae_mmd compares pairs of codes, and a batch of one sentence has none",
                "due: train.batch_size of 2 or more; the more, the less noise",
            )
        steps = self.config.moment_steps
        return [Stage("moments", self._moments, ("encoder",), steps=steps)] if steps else []

    def _moments(self, step: Step) -> Tensor:
        codes, drawn = step.gather(step.sample.z[:, 0]), step.gather(step.prior_sample())
        return moments_apart(codes, drawn).expand(len(step.batch))

    @hookimpl
    def kl_term(self, step: Step) -> Tensor:
        """weight MMD^2, (B, 1), the same for all; 0 where a batch is left with one sentence."""
        z, drawn = step.gather(step.sample.z), step.gather(step.prior_sample())
        found = mmd_of_draws(z, drawn, self.kernel)
        self.log(mmd=found.detach())
        return (self.config.weight * found).expand(len(step.batch), 1)
