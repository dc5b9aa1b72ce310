"""What a plugin may do around steps: draw batches, compute losses, update, evaluate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from aecore import ranks
from aecore.batch import Batch
from aecore.data.batching import some_sentences
from aecore.data.corpus import Corpus
from aecore.errors import ConfigError
from aecore.evaluation.protocol import evaluate_split
from aecore.model import Model
from aecore.runs.weights import load_roles
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
        sentences: how many the training split has.
        index: steps done in this phase.
        epoch: real epochs done in this phase.
        steps_per_epoch, total_steps: of this phase.
        draws: batches drawn by ``batch()`` so far; part of the checkpoint.
    """

    model: Model
    _corpus: Corpus
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

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels, whose numbers in this row `Batch.labels` holds."""
        return self._corpus.labels

    @property
    def sentences(self) -> int:
        """Sentences of the training split."""
        return len(self._corpus.train)

    def take(self, run: str | Path, *roles: str) -> None:
        """Copy the parameters of these roles, plugins' too, from another run's weights.

        Raises:
            RunError: when there is no such run or it has no weights yet, its vocabulary is another,
                or a parameter is missing there or has another shape; nothing is copied then.
        """
        load_roles(Path(run), self.model, self._corpus.vocabulary, *roles)

    def batch(self) -> Batch:
        """A batch of training sentences, drawn uniformly, from a stream of its own."""
        split = self._corpus.train
        with self.streams("session", self.draws):
            chosen = some_sentences(len(split), self.batch_size)
        self.draws += 1
        return split.share(chosen).to(self.model.device)

    def loss(self, batch: Batch) -> Tensor:
        """0-d: the mean objective and extra losses of a batch, at the last joint beta."""
        step = Step(
            self.model,
            batch,
            index=self.index,
            samples=self.model.samples,
            training=True,
            schedule=lambda _: self.model.beta,
        )
        return total_loss(step, losses_of(step))

    def mean(self, values: Tensor, batch: Batch) -> Tensor:
        """(B, ...) -> (...): the mean over a batch's sentences, of all processes."""
        return ranks.mean(values, batch.global_size)

    def gather(self, values: Tensor) -> Tensor:
        """(B, ...) -> (global batch, ...): the rows of all processes, in order."""
        return ranks.gather(values)

    def agree(self, flag: bool) -> bool:
        """Whether any process says so: for decisions that all have to take together."""
        return ranks.agree(flag)

    def update(
        self, loss: Tensor, roles: Iterable[str], clipped_with: Iterable[str] = ()
    ) -> Tensor:
        """One clipped optimiser step on ``roles`` alone; the gradient norm before it, 0-d.

        Args:
            clipped_with: further roles whose gradients count in the norm, but which do not move.

        Raises:
            ConfigError: outside training steps, where there is no optimiser.
            DivergedError: when the norm is not finite; nothing is applied.
        """
        if self.updater is None:
            raise ConfigError(
                "session.update was called outside a training step",
                "pre_train_init returns stages instead",
            )
        updater, roles, beside = self.updater(), list(roles), list(clipped_with)
        strangers = sorted({*roles, *beside} - updater.roles)
        if strangers:
            raise ConfigError(
                f"session.update was asked for the roles {', '.join(strangers)}, which this phase "
                "does not update",
                f"roles of the phase: {', '.join(sorted(updater.roles))}",
            )
        norm = updater.gradients(loss, roles, beside)
        check_norm(norm, "session.update", self.index)
        updater.apply()
        return norm

    def evaluate(
        self, split: str, *names: str, limit: int | None = None
    ) -> dict[str, float | None]:
        """Figures of a split, or of its head, by name: ``evaluate("valid", "nll_elbo")``.

        Training is not disturbed.
        """
        mi = not {"mi", "mi_batch"}.isdisjoint(names)
        figures = evaluate_split(
            self.model, self._corpus.split(split), self.streams, self.evaluation_batch, limit, mi=mi
        )
        return {name: getattr(figures, name) for name in names}
