"""The denoising adversarial autoencoder: noise, and a critic between codes and prior.

Deviations:
    - The critic is updated before the step of encoder and decoder, the authors' after it.
    - The weight of the adversarial term is 0.3; their 10 is that of ``train.recipe=published``.
    - The penalty on log-variances of their LAAE is left out: its weight is 0 for the DAAE.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from aecore import (
    Batch,
    CriticConfig,
    DetachedStep,
    Plugin,
    PluginConfig,
    PluginError,
    Role,
    Sizes,
    Step,
    TransferRequest,
    hookimpl,
)
from aecore.matching import mlp, told_apart
from aecore_dae.noise import NoiseConfig, corrupted


class Daae(Plugin):
    """L = E[-log p(x | z) - weight log sigmoid(D(z))], z of the noisy sentence.

    ``aecore transfer`` adds the difference of the mean codes of two sets of examples.

    Logged: ``guessed``, the share of codes and draws of the prior that the critic tells right.
    """

    class Config(CriticConfig, NoiseConfig):
        """Settings of the denoising adversarial autoencoder."""

        weight: float = Field(0.3, gt=0, description="lambda, of the critic's cross-entropy")
        width: int = Field(512, ge=1, description="hidden units of the critic's layers")
        layers: int = Field(1, ge=1, description="hidden layers of the critic")

    config: Config
    roles: ClassVar[dict[str, Role]] = {"net": "critic"}

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.critic = self.config
        self.net = mlp(sizes.latent, self.config.width, self.config.layers)

    @hookimpl
    def corrupt_input(self, batch: Batch) -> Batch:
        """The same sentences with words shuffled, dropped, blanked, substituted."""
        return corrupted(batch, self.config, self.sizes.vocabulary)

    @hookimpl
    def critic_loss(self, step: DetachedStep) -> Tensor:
        """-log sigmoid(D(p)) - log(1 - sigmoid(D(z))), mean over the batch, 0-d."""
        losses, right = told_apart(self.net(step.z), self.net(step.prior_sample()))
        self.log(guessed=step.mean(right))
        return step.mean(losses)

    @hookimpl
    def kl_term(self, step: Step) -> Tensor:
        """-weight log sigmoid(D(z)), (B, 1), mean over the draws."""
        score = self.net(step.sample.z)  # (B, K, 1)
        return self.config.weight * F.softplus(-score).mean(1)

    @hookimpl
    def latent_map(self, z: Tensor, request: TransferRequest) -> Tensor:
        """z + k (mean of after - mean of before), the paper's latent arithmetic, (N, D)."""
        if request.before is None or request.after is None:
            raise PluginError(
                "daae moves codes by the difference of two sets of examples, and none were given",
                "due: aecore transfer RUN --from FILE --to FILE",
                plugin="daae",
                hook="latent_map",
            )
        return z + request.strength * (request.after.mean(0) - request.before.mean(0))
