"""The Emb2Emb mapping and its losses.

Deviations:
    - A critic is asked on codes of the whole corpus, or of the targets, as the paper says; the
      mapping's term is -log D(Phi(z)), equation 11, and not their code's log(1 - D(Phi(z))), which
      has no gradient where the critic is sure.
    - The classifier of styles is trained to the end of its stage and then held, without dropout;
      theirs goes on with dropout while the mapping is trained.
    - The classifier learns from codes with noise, and not by dropout: without it the mapping finds
      what deceives the classifier (``style_noise`` 0) and the decoder does not.
    - Sentences of the target style teach the mapping nothing; they are no part of the objective.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from aecore import (
    CriticConfig,
    DetachedStep,
    Manifest,
    Plugin,
    PluginConfig,
    PluginError,
    Role,
    Session,
    Sizes,
    Stage,
    Step,
    TransferRequest,
    hookimpl,
)
from aecore.matching import blurred, mlp, told_apart
from aecore_emb2emb.mappings import Name, mapping


class Emb2Emb(Plugin):
    """L = L_task + adversarial * -log sigmoid(D(Phi(z_x))), Phi the mapping (equations 1, 8, 11).

    L_task of pairs: d(Phi(z_x), z_y), d the mean squared difference or 1 - cos. Of labels, with s
    the weight of the style: -s log c(Phi(z)) + (1 - s) d(Phi(z), z), c the probability of the
    target label by a classifier that is trained first; s rises from 0 over the share ``ramp`` of
    the run.

    Logged: ``apart``, the d that is asked for; ``style``, the share of
    codes that the classifier takes for the target's; ``guessed``, what the critic tells right.
    """

    class Config(CriticConfig):
        """Settings of Emb2Emb."""

        autoencoder: str = Field("", description="the run whose encoder and decoder are used")
        supervision: Literal["pairs", "labels"] = Field(
            "pairs", description="what the mapping learns from"
        )
        target: str = Field("positive", description="labels: the label that sentences are to get")
        mapping: Name = Field("offsetnet", description="Phi")
        width: int = Field(0, ge=0, description="hidden units of Phi; 0 takes 16 D")
        layers: int = Field(1, ge=1, description="hidden layers of Phi")
        loss: Literal["cosine", "mse"] = Field("mse", description="the distance of two codes")
        adversarial: float = Field(0.03, gt=0, description="lambda_adv, of the adversarial term")
        style: float = Field(0.9, ge=0, le=1, description="labels: lambda_sty, the style's weight")
        ramp: float = Field(0.5, ge=0, le=1, description="labels: share of the run until then")
        style_width: int = Field(512, ge=1, description="labels: hidden units of the classifier")
        style_layers: int = Field(2, ge=1, description="labels: hidden layers of the classifier")
        style_epochs: float = Field(10.0, gt=0, description="labels: epochs of the classifier")
        style_lr: float = Field(3e-3, gt=0, description="labels: learning rate of the classifier")
        style_noise: float = Field(
            0.4, ge=0, description="labels: on the classifier's codes, in deviations of a dimension"
        )
        lr: float = Field(1e-4, gt=0, description="the critic's learning rate")

    config: Config
    roles: ClassVar[dict[str, Role]] = {
        "phi": "encoder",
        "judge": "frozen",
        "critic_net": "critic",
    }
    wanted: Tensor
    length: Tensor
    share: Tensor

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        width = self.config.width or 16 * sizes.latent
        self.phi = mapping(self.config.mapping, sizes.latent, width, self.config.layers)
        self.register_buffer("wanted", torch.zeros((), dtype=torch.long))
        self.register_buffer("length", torch.ones(()))  # steps in which the style's weight rises
        self.register_buffer("share", torch.zeros(()))  # what it has risen to
        if self.config.supervision == "labels":
            c = self.config
            self.judge = mlp(sizes.latent, c.style_width, c.style_layers)
        self.critic = self.config
        self.critic_net = mlp(sizes.latent, 300, 2)

    @classmethod
    def manifest(cls, declared: Manifest, config: PluginConfig) -> Manifest:
        """Labels where the mapping learns from them, after a stage for the classifier."""
        assert isinstance(config, cls.Config)
        if config.supervision == "pairs":
            return declared
        return declared.model_copy(update={"data": "labelled", "exceptions": {}})

    @hookimpl
    def pre_train_init(self, session: Session) -> list[Stage]:
        """The classifier of styles, on codes; nothing for pairs."""
        if self.config.supervision == "pairs":
            return []
        if self.config.target not in session.labels:
            raise PluginError(
                f"no label of the corpus is called '{self.config.target}'",
                f"labels: {', '.join(session.labels)}",
                "due: --set emb2emb.target=LABEL",
                plugin="emb2emb",
                hook="pre_train_init",
            )
        self.wanted.fill_(session.labels.index(self.config.target))
        self.length.fill_(max(1.0, self.config.ramp * session.total_steps))
        c = self.config
        return [Stage("style", self._told, ("frozen",), epochs=c.style_epochs, lr=c.style_lr)]

    def _told(self, step: Step) -> Tensor:
        """(B,): the classifier's cross-entropy, nats."""
        assert step.batch.labels is not None
        due = (step.batch.labels == self.wanted).to(step.code)
        codes = blurred(step.code, self.config.style_noise)
        logits = self.judge(codes).squeeze(1)
        self.log(right=step.mean(((logits > 0) == (due > 0)).float()))
        return F.binary_cross_entropy_with_logits(logits, due, reduction="none")

    @hookimpl
    def critic_loss(self, step: DetachedStep) -> Tensor:
        """-log D(real) - log(1 - D(Phi(z))), 0-d; real are codes of targets, or of any sentence."""
        real = step.target.code if self.config.supervision == "pairs" else step.code
        with torch.no_grad():
            made = self._mapped(step.code)
        fake = self.critic_net(made).unsqueeze(1)
        losses, right = told_apart(fake, self.critic_net(real))
        self.log(guessed=step.mean(right))
        return step.mean(losses)

    @hookimpl
    def objective(self, step: Step) -> Tensor:
        """(B,): the task's loss and the adversarial one; 0 for sentences of the target label."""
        mapped = self._mapped(step.code)
        by_pairs = self.config.supervision == "pairs"
        loss = self._by_pairs(step, mapped) if by_pairs else self._by_labels(step, mapped)
        passing = F.softplus(-self.critic_net(mapped).squeeze(1))
        loss = loss + self.config.adversarial * passing
        if by_pairs:
            return loss
        assert step.batch.labels is not None
        return torch.where(step.batch.labels == self.wanted, 0.0, loss)

    def _by_pairs(self, step: Step, mapped: Tensor) -> Tensor:
        apart = self._apart(mapped, step.target.code)
        self.log(apart=step.mean(apart))
        return apart

    def _by_labels(self, step: Step, mapped: Tensor) -> Tensor:
        kept, logits = self._apart(mapped, step.code), self.judge(mapped).squeeze(1)
        self.log(apart=step.mean(kept), style=step.mean((logits > 0).float()))
        if step.training and self.training:
            self.share.copy_((step.index / self.length).clamp(max=1) * self.config.style)
        share = self.share.clone()
        return share * F.softplus(-logits) + (1 - share) * kept

    def _apart(self, one: Tensor, other: Tensor) -> Tensor:
        if self.config.loss == "mse":
            return (one - other).square().mean(1)
        return 1 - F.cosine_similarity(one, other, dim=1)

    @hookimpl
    def latent_map(self, z: Tensor, request: TransferRequest) -> Tensor:
        """z + strength (Phi(z) - z), (N, D), on the latent space."""
        return self.model.space.project(z + request.strength * (self._mapped(z) - z))

    def _mapped(self, z: Tensor) -> Tensor:
        """(N, D): Phi(z), on the latent space of the autoencoder."""
        return self.model.space.project(self.phi(z))
