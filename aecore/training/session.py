"""What a plugin may do around the steps: draw batches, compute losses, update chosen roles, evaluate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from aecore.batch import Batch
from aecore.data.batching import some_sentences
from aecore.data.corpus import Corpus
from aecore.errors import ConfigError
from aecore.evaluation.protocol import evaluate_split
from aecore.model import Model
from aecore.step import Step
from aecore.streams import Streams
from aecore.training.finite import check_norm
from aecore.training.losses import losses_of, total_loss

if TYPE_CHECKING:
    from aecore.training.optimisers import Updater


@dataclass
class Session:
    """The run as ``pre_train_init``, ``before_step``, ``Stage.until`` and ``Stage.done`` see it.

    Attributes:
        model: the composition.
        index: steps done in this phase.
        epoch: real epochs done in this phase.
        steps_per_epoch, total_steps: of this phase.
        draws: batches drawn by ``batch()`` so far; part of the checkpoint.
    """

    model: Model
    corpus: Corpus
    streams: Streams
    batch_size: int
    evaluation_batch: int
    steps_per_epoch: int
    total_steps: int = 0
    index: int = 0
    draws: int = 0
    updater: Callable[[], Updater] | None = None

    @property
    def epoch(self) -> float:
        """Real epochs done."""
        return self.index / self.steps_per_epoch

    def batch(self) -> Batch:
        """A batch of training sentences drawn uniformly, with replacement between calls, from a stream of its own."""
        split = self.corpus.train
        with self.streams("session", self.draws):
            chosen = some_sentences(len(split), self.batch_size)
        self.draws += 1
        return split.batch(chosen).to(self.model.device)

    def loss(self, batch: Batch) -> Tensor:
        """0-d: the mean of objective and extra losses of a batch, training mode, at the last joint step's beta."""
        step = Step(
            self.model,
            batch,
            index=self.index,
            samples=self.model.samples,
            training=True,
            schedule=lambda _: self.model.beta,
        )
        return total_loss(losses_of(step))

    def update(self, loss: Tensor, roles: Iterable[str]) -> Tensor:
        """One clipped optimiser step on the parameters of ``roles`` alone; the gradient norm before clipping, 0-d.

        Raises:
            ConfigError: outside training steps, where there is no optimiser.
            DivergedError: when the norm is not finite; nothing is applied.
        """
        if self.updater is None:
            raise ConfigError(
                "session.update was called outside a training step",
                "pre_train_init returns stages instead",
            )
        updater, roles = self.updater(), list(roles)
        strangers = sorted(set(roles) - updater.roles)
        if strangers:
            raise ConfigError(
                f"session.update was asked for the roles {', '.join(strangers)}, which this phase does not update",
                f"roles of the phase: {', '.join(sorted(updater.roles))}",
            )
        norm = updater.gradients(loss, roles)
        check_norm(norm, "session.update", self.index)
        updater.apply()
        return norm

    def evaluate(
        self, split: str, *names: str, limit: int | None = None
    ) -> dict[str, float | None]:
        """Figures of a split, or its first ``limit`` sentences, by name: ``evaluate("valid", "nll_elbo")``.

        Training is not disturbed.
        """
        mi = not {"mi", "mi_batch"}.isdisjoint(names)
        figures = evaluate_split(
            self.model, self.corpus.split(split), self.streams, self.evaluation_batch, limit, mi=mi
        )
        return {name: getattr(figures, name) for name in names}
