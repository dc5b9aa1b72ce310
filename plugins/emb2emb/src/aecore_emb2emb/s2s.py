"""Sequence-to-sequence baselines: the words of the target teach, through the decoder.

What the four have in common is `translated`; they differ in what is taken from an autoencoder, what
of it is trained, and whether there is a mapping between encoder and decoder.

Deviations:
    - Sentences are read by their words alone; the authors' decoder reads its own in half of the
      batches.
    - The authors' code has a command for `s2s_freeze` alone (rate 5e-5, 20 epochs), and none that
      begins from scratch.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from aecore import Plugin, PluginConfig, Role, Sizes, Step, TransferRequest, hookimpl
from aecore_emb2emb.mappings import mapping


def translated(step: Step, z: Tensor) -> Tensor:
    """-log p(y | z), (B,), nats per sentence: the target's words, for codes z (B, D)."""
    model, target = step.model, step.batch.target
    assert target is not None
    inputs = model.decoder_input(target) if step.training else None
    return model.decoder.nll(target, model.condition(z.unsqueeze(1)), inputs).squeeze(1)


class S2SScratch(Plugin):
    """L = -log p(y | z_x): encoder and decoder from random weights, all trained on pairs.

    Source: Mai et al., EMNLP 2020, table 1.
    """

    @hookimpl
    def objective(self, step: Step) -> Tensor:
        """(B,), nats per target sentence."""
        return translated(step, step.code)

    @hookimpl
    def latent_map(self, z: Tensor, request: TransferRequest) -> Tensor:
        """z: the decoder itself writes the target."""
        return z.clone()


class S2SPretrain(Plugin):
    """L = -log p(y | z_x): encoder and decoder begin as an autoencoder's, and all is trained.

    Source: Mai et al., EMNLP 2020, table 1.
    """

    class Config(PluginConfig):
        """Settings of the baseline."""

        autoencoder: str = Field("", description="the run whose encoder and decoder are used")

    @hookimpl
    def objective(self, step: Step) -> Tensor:
        """(B,), nats per target sentence."""
        return translated(step, step.code)

    @hookimpl
    def latent_map(self, z: Tensor, request: TransferRequest) -> Tensor:
        """z: the decoder itself writes the target."""
        return z.clone()


class S2SMapped(Plugin):
    """L = -log p(y | Phi(z_x)), Phi an MLP between encoder and decoder, which were trained before.

    `s2s_mlp` trains all three. `s2s_freeze` trains Phi alone, by a gradient that comes back through
    the frozen decoder; not to need that is what Emb2Emb is for.

    Source: Mai et al., EMNLP 2020, table 1.
    """

    class Config(PluginConfig):
        """Settings of a baseline with a mapping."""

        autoencoder: str = Field("", description="the run whose encoder and decoder are used")
        width: int = Field(0, ge=0, description="hidden units of Phi; 0 takes 16 D")
        layers: int = Field(1, ge=1, description="hidden layers of Phi")

    config: Config
    roles: ClassVar[dict[str, Role]] = {"phi": "encoder"}

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        width = self.config.width or 16 * sizes.latent
        self.phi = mapping("mlp", sizes.latent, width, self.config.layers)

    @hookimpl
    def objective(self, step: Step) -> Tensor:
        """(B,), nats per target sentence."""
        return translated(step, self._mapped(step.code))

    @hookimpl
    def latent_map(self, z: Tensor, request: TransferRequest) -> Tensor:
        """z + strength (Phi(z) - z), (N, D), on the latent space."""
        return self.model.space.project(z + request.strength * (self._mapped(z) - z))

    def _mapped(self, z: Tensor) -> Tensor:
        return self.model.space.project(self.phi(z))
