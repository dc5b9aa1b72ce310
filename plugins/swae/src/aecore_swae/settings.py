"""What both have: the weight of the MMD, and the MMD of a step."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from aecore import PluginConfig, Step
from aecore.matching import Kernel, imq, mmd_of_draws


class MmdConfig(PluginConfig):
    """The setting that both share."""

    weight: float = Field(10.0, gt=0, description="lambda of the MMD, nats per unit of MMD^2")


def kernel_for(latent: int) -> Kernel:
    """The inverse multiquadric at 4 D, as the authors have it: twice the constant of the WAE."""
    return imq(4 * latent)


def batch_mmd(step: Step, kernel: Kernel) -> Tensor:
    """0-d: MMD^2 of the codes of the whole batch and as many draws of the prior."""
    return mmd_of_draws(step.gather(step.sample.z), step.gather(step.prior_sample()), kernel)
