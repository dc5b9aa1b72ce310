"""Pretraining: the encoder learns as an autoencoder's; then the decoder starts afresh.

Source: Li et al., EMNLP 2019, https://arxiv.org/abs/1909.00868, section 3; the authors'
    text_beta.py with beta = 0, then text_anneal_fb.py with --reset_dec.
Deviations:
    - The authors select the autoencoder by its validation reconstruction and halve the learning
      rate on plateaus; the stage here has a constant rate, stops by ``patience`` and keeps its last
      weights. With their plateaus: train a run with ``--plugin ae --set train.optimiser=sgd``, and
      name it in ``autoencoder``.
    - Parameters of plugins that belong to encoder or decoder are treated as the autoencoder's own.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from aecore import Plugin, PluginConfig, Session, Sizes, Stage, Step, hookimpl

#: The longest stage unless one is asked for, epochs, and its share of a shorter run.
EPOCHS, SHARE = 20.0, 1 / 3


class Pretraining(Plugin):
    """A stage: min E_q[-log p(x given z)] over encoder and decoder, then a fresh decoder."""

    class Config(PluginConfig):
        """Settings of the pretraining."""

        epochs: float | None = Field(
            None,
            gt=0,
            description="length of the stage, epochs, at most; a third of the joint epochs, 20 at "
            "most, unless set",
        )
        steps: int | None = Field(
            None, ge=1, description="length of the stage, steps; replaces epochs"
        )
        lr: float | None = Field(
            None, gt=0, description="learning rate of the stage; that of the run unless set"
        )
        patience: int | None = Field(
            None,
            ge=1,
            description="epochs without a better validation rec after which the stage ends; it "
            "never does unless set",
        )
        reset_decoder: bool = Field(
            True,
            description="draw the decoder again before the joint phase; false keeps the "
            "autoencoder's",
        )
        autoencoder: str | None = Field(
            None, description="a run whose encoder is taken instead of training one in a stage"
        )

    config: Config
    best: Tensor
    waited: Tensor

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.register_buffer("best", torch.full((), math.inf, dtype=torch.float64))
        self.register_buffer("waited", torch.zeros((), dtype=torch.int64))

    @hookimpl
    def pre_train_init(self, session: Session) -> list[Stage]:
        """One stage, or none where the encoder comes from a run."""
        c = self.config
        if c.autoencoder is not None:
            roles = ("encoder",) if c.reset_decoder else ("encoder", "decoder")
            session.take(c.autoencoder, *roles)
            self._finish(session)
            return []
        planned = (
            min(EPOCHS, SHARE * session.total_steps / session.steps_per_epoch)
            if c.epochs is None
            else c.epochs
        )
        length = {"epochs": planned} if c.steps is None else {"steps": c.steps}
        until = None if c.patience is None else self._stalled
        return [Stage("autoencoder", self._loss, lr=c.lr, until=until, done=self._finish, **length)]

    def _loss(self, step: Step) -> Tensor:
        """(B,): -log p(x | z), the mean over K draws, nats."""
        return step.rec.mean(1)

    def _stalled(self, session: Session) -> bool:
        """Early stopping: no better validation rec for ``patience`` epochs, as checkpointed."""
        found = self.best.new_tensor(session.evaluate("valid", "rec")["rec"])
        self.waited.copy_(torch.where(found < self.best, 0, self.waited + 1))
        self.best.copy_(torch.minimum(found, self.best))
        return int(self.waited) >= (self.config.patience or math.inf)

    def _finish(self, session: Session) -> None:
        if self.config.reset_decoder:
            self.model.reset_decoder()
