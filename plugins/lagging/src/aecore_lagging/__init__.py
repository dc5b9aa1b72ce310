"""Lagging inference networks: aggressive encoder updates before each decoder step.

Source: He et al., ICLR 2019, https://arxiv.org/abs/1901.05534, Algorithm 1; text.py of the authors
    (windows of 15 updates, at most 99, the mutual information of batches as the stop rule).
Deviations: inner batches are drawn among the sentences, with mixed lengths, not among batches of
    one length, so the loss of a window varies less. The divergence in the loss of a window has the
    weight of the last joint step, one step behind; before the first one there is none, so that step
    is an ordinary one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from pydantic import Field
from torch import Tensor

from aecore import Batch, CompositionError, Plugin, PluginConfig, Session, Sizes, hookimpl

#: Sentences that show whether mutual information can be measured at all.
PROBE = 2
#: Nats below which mutual information falls or rises by chance.
NEAR = 0.05


class Lagging(Plugin):
    """Before a joint step, update the encoder until its loss per token stops falling.

    The joint step then moves the decoder alone. This ends for good at the first epoch whose mutual
    information, in batches of validation sentences, is below that of the epoch before; it begins at
    0.

    State: ``aggressive``, and ``information``, the last figure in nats.
    """

    class Config(PluginConfig):
        """Settings of aggressive training."""

        window: int = Field(
            15, gt=0, description="encoder updates whose losses are compared with those before them"
        )
        inner_steps: int = Field(
            99, gt=0, description="encoder updates before a joint step, at most"
        )
        sentences: int | None = Field(
            None,
            ge=2,
            description="validation sentences, the first ones, that the stop rule looks at; all "
            "unless set",
        )

        clip_encoder_alone: bool = Field(
            False,
            description="whether the clip norm of an inner update is the encoder's alone; "
            "the authors' is that of encoder and decoder",
        )

    config: Config
    aggressive: Tensor
    information: Tensor

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.register_buffer("aggressive", torch.tensor(True))
        self.register_buffer("information", torch.zeros((), dtype=torch.float64))

    @hookimpl
    def before_step(self, session: Session, batch: Batch) -> Iterable[str]:
        """The encoder's updates; then ``encoder`` rests in the joint step, while this goes on."""
        if session.index == 0:
            self._measure(session, PROBE)  # an epoch later would be too late to find out
        elif session.index % session.steps_per_epoch == 0 and bool(self.aggressive):
            self._judge(session)
        busy = session.index > 0 and bool(self.aggressive)
        self.log(
            inner_steps=self._chase(session, batch) if busy else 0,
            information=self.information.clone(),
        )
        return ["encoder"] if busy else []

    def _chase(self, session: Session, batch: Batch) -> int:
        """Update the encoder on this step's batch, then on others; how many times."""
        nothing = self.information.new_zeros(())
        before, losses, tokens = nothing + torch.inf, nothing, nothing
        beside = [] if self.config.clip_encoder_alone else ["decoder"]
        for step in range(1, self.config.inner_steps + 1):
            batch = batch if step == 1 else session.batch()
            loss = session.loss(batch)
            n = batch.global_size
            losses = losses + loss.detach() * n
            tokens = tokens + session.mean(batch.lengths.to(tokens), batch) * n
            session.update(loss, ["encoder"], clipped_with=beside)
            if step % self.config.window == 0:
                mean = losses / tokens
                if bool(mean > before):
                    return step
                before, losses, tokens = mean, nothing, nothing
        return self.config.inner_steps

    def _judge(self, session: Session) -> None:
        """End the aggressive training if the mutual information has fallen."""
        found, before = self._measure(session, self.config.sentences), float(self.information)
        self.aggressive.copy_(self.information <= found)
        self.information.fill_(found)
        if before > found:
            chance = "; so near to 0 it falls by chance" if before < NEAR else ""
            warnings.warn(
                f"lagging: aggressive training ends at step {session.index}: mutual information "
                f"fell from {before:.3f} to {found:.3f} nats{chance}",
                stacklevel=2,
            )

    def _measure(self, session: Session, sentences: int | None) -> float:
        found = session.evaluate("valid", "mi_batch", limit=sentences)["mi_batch"]
        if found is None:
            raise CompositionError(
                "'lagging' cannot tell when to stop: the mutual information of this posterior "
                "cannot be measured",
                "due: a posterior that returns a distribution, whose density can be asked at any z",
            )
        return found
