"""What both have: the weight of the MMD, and the MMD of a step."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from aecore import PluginConfig, Step
from aecore.matching import Kernel, imq, mmd


class MmdConfig(PluginConfig):
    """The setting that both share."""

    weight: float = Field(10.0, gt=0, description="lambda of the MMD, nats per unit of MMD^2")


def kernel_for(latent: int) -> Kernel:
    """The inverse multiquadric at 4 D, as the authors have it: twice the constant of the WAE."""
    return imq(4 * latent)


def batch_mmd(step: Step, kernel: Kernel) -> Tensor:
    """0-d: MMD^2 of the codes of the whole batch and as many draws of the prior, mean over K.

    0 where the batch is left with one sentence, which is no pair.
    """
    z, drawn = step.gather(step.sample.z), step.gather(step.prior_sample())
    if len(z) < 2:
        return 0 * step.sample.z.sum()
    found = [mmd(z[:, k], drawn, kernel) for k in range(z.shape[1])]
    return sum(found[1:], found[0]) / len(found)
