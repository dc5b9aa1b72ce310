"""The classifier of styles, and how it moves codes.

Deviations:
    - The loss is that of a single sentence, on logits, for the target style. The reimplementation
      that came with Emb2Emb takes the mean over weights and batch, so that its steps depend on how
      many sentences are asked for, applies the sigmoid twice, and asks for the source's label.
    - The first weight that convinces the classifier is kept, as the authors say; their published
      code compares with human references and keeps the best, which no user has.
    - The classifier learns from codes with noise, which theirs does not (``noise`` 0): the gradient
      of theirs finds what deceives it sooner than what the decoder would say otherwise.
    - A code that no weight brings there is left where its probability was largest.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from aecore import (
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
from aecore.matching import blurred, mlp
from aecore_fgim.walk import Walk


class Fgim(Plugin):
    """z <- z - w_t grad -log p(target | z), w_{t+1} = decay w_t, until p >= 1 - threshold.

    The classifier p is an MLP on codes, trained in the joint steps by its cross-entropy (nats),
    which reaches no other parameter. Weights are tried from the smallest up, and the first that
    gets there is kept. Behind another plugin that maps codes it begins where that one ends.

    Logged: ``right``, the share of training sentences whose label the classifier knows. Told of
    each transfer: ``weight`` and ``steps`` that were taken (0 where the code stayed), and
    ``target``, the probability of the target at the end.

    Source: Wang et al., NeurIPS 2019, equations 4 and 5.
    """

    class Config(PluginConfig):
        """Settings of FGIM."""

        autoencoder: str = Field("", description="the run whose encoder and decoder are used")
        target: str = Field("positive", description="the label that sentences are to get")
        weights: list[Annotated[float, Field(gt=0)]] = Field(
            [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0],
            description="sizes of the first step, from small to large",
            min_length=1,
        )
        decay: float = Field(0.9, gt=0, le=1, description="a step's size against the one before")
        steps: int = Field(30, ge=1, description="steps with one weight, at most")
        threshold: float = Field(
            0.1, gt=0, lt=1, description="how far the probability of the target may be from 1"
        )
        noise: float = Field(
            0.6, ge=0, description="on the classifier's codes, in deviations of a dimension"
        )
        width: int = Field(512, ge=1, description="hidden units of the classifier")
        layers: int = Field(2, ge=1, description="hidden layers of the classifier")

    config: Config
    roles: ClassVar[dict[str, Role]] = {"judge": "encoder"}
    wanted: Tensor

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.register_buffer("wanted", torch.zeros((), dtype=torch.long))
        self.judge = mlp(sizes.latent, self.config.width, self.config.layers)
        c = self.config
        self.walk = Walk(c.weights, c.decay, c.steps, 1 - c.threshold)

    @hookimpl
    def pre_train_init(self, session: Session) -> list[Stage]:
        """Learns which label is wanted; there is no stage."""
        if self.config.target not in session.labels:
            raise PluginError(
                f"no label of the corpus is called '{self.config.target}'",
                f"labels: {', '.join(session.labels)}",
                "due: --set fgim.target=LABEL",
                plugin="fgim",
                hook="pre_train_init",
            )
        self.wanted.fill_(session.labels.index(self.config.target))
        return []

    @hookimpl
    def extra_loss(self, step: Step) -> Tensor:
        """(B,): the classifier's cross-entropy on the codes with noise, nats."""
        assert step.batch.labels is not None
        due = (step.batch.labels == self.wanted).to(step.code)
        logits = self._logit(blurred(step.code, self.config.noise))
        self.log(right=step.mean(((logits > 0) == (due > 0)).float()))
        return F.binary_cross_entropy_with_logits(logits, due, reduction="none")

    def _logit(self, z: Tensor) -> Tensor:
        logits: Tensor = self.judge(z).squeeze(1)
        return logits

    @hookimpl
    def latent_map(self, z: Tensor, request: TransferRequest) -> Tensor:
        """(N, D): where the walk of each code ends, or ``strength`` of the way there."""
        space = self.model.space
        end = self.walk.from_codes(z, self._logit, space.project)
        request.tell("fgim", weight=end.weight, steps=end.steps, target=end.probability)
        return space.project(z + request.strength * (end.z - z))
