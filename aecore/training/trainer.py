"""The loop: one unit of work at a time, and a checkpoint between any two, so that a killed run can go on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from aecore.batch import Batch
from aecore.data.batching import Plan, epoch_plan
from aecore.data.corpus import Corpus
from aecore.errors import RunError, Stopped
from aecore.evaluation.protocol import Figures, evaluate_split
from aecore.model import Model
from aecore.progress import Progress, Silent
from aecore.reports.curves import Curves
from aecore.runs.checkpoint import load_tensors, save_tensors, select
from aecore.runs.config import RunConfig
from aecore.runs.files import to_json, write_atomic
from aecore.runs.folder import RunFolder
from aecore.streams import Streams
from aecore.training.averaging import Average
from aecore.training.journal import Journal
from aecore.training.phases import JointPhase, Phase, StagePhase
from aecore.training.plateau import Plateau
from aecore.training.schedule import Schedule
from aecore.training.selection import Candidate, Selection
from aecore.training.session import Session
from aecore.training.signals import StopSignals
from aecore.training.stages import AuthoredStage, ask_for_stages
from aecore.training.state import Best, TrainState, changed, environment
from aecore.training.watch import COLLAPSED, announce, look


class _Abandoned(Exception):
    """An evaluation that a stop signal cut short; it is done again by the resumed run."""


class Trainer:
    """Trains a model on a corpus into a run folder.

    Args:
        model, corpus, config, folder: what to train, on what, how, and where to.
        progress: a listener.

    ``run()`` does everything; ``advance()`` does one unit of work, so that two runs can take turns
    in one process.
    """

    def __init__(
        self,
        model: Model,
        corpus: Corpus,
        config: RunConfig,
        folder: RunFolder,
        progress: Progress | None = None,
    ) -> None:
        self.model = model
        self.corpus = corpus
        self.config = config
        self.folder = folder
        self.progress: Progress = progress or Silent()
        self.streams = Streams(config.train.seed, model.device)
        self.state = TrainState()
        self.plateau = Plateau(config.train.lr)
        self.selection = Selection(config.train, model.composition)
        self.average = Average(model, config.train.average)
        self.best: dict[str, Tensor] = {}
        self.steps_per_epoch = -(-len(corpus.train) // config.train.batch_size)
        batches = (config.train.batch_size, config.evaluate.batch_size)
        self.session = Session(model, corpus, self.streams, *batches, self.steps_per_epoch)
        self.journal = Journal(folder.metrics, self.progress)
        self.curves = Curves(folder, config, self.progress)
        self._stages: list[AuthoredStage] = []
        self._phase: Phase | None = None
        self._plan: tuple[tuple[int, int], Plan] | None = None
        self._saved_at = time.monotonic()
        self._stop_requested: Callable[[], bool] = lambda: False

    # Starting

    @property
    def total_steps(self) -> int:
        """The joint steps that the run plans."""
        planned = self.config.train.epochs * self.steps_per_epoch
        return min(planned, self.config.train.max_steps or planned)

    def start(self) -> None:
        """Begin a new run: ask the plugins for their stages, and write the files that must exist before the first step."""
        self._ask_for_stages()
        self.state.phases = len(self._stages) + 1
        write_atomic(self.folder.tokenizer, self.corpus.vocabulary.to_json().encode())
        self.journal.create()
        self._enter_phase()
        self.checkpoint()

    def restore(self) -> None:
        """Go on from the checkpoint.

        Raises:
            RunError: when it is damaged, or the corpus is not the one it was written with.
        """
        tensors, meta = load_tensors(self.folder.checkpoint)
        if meta["data"] != self.corpus.fingerprint:
            raise RunError(
                f"the corpus '{self.config.data.spec}' has changed since '{self.folder.path}' was started",
                "a resumed run must see the same sentences: put the old files back, or train a new run",
            )
        self.state = TrainState.from_json(meta["state"])
        if not self.state.joint:
            self._ask_for_stages()
        self.model.load_state_dict(select(tensors, "model."))
        self.best = select(tensors, "best.")
        self.average.restore(select(tensors, "average."))
        self.plateau = Plateau(**self.state.plateau)
        self.session.draws = self.state.draws
        self.journal.restore(meta["journal"])
        self._enter_phase().restore(tensors)
        if changes := changed(meta["environment"], environment(self.model.device)):
            self.progress.note(
                "versions, device or threads differ from those of the checkpoint: the run goes on, but not bit for bit "
                f"({changes})"
            )

    def _ask_for_stages(self) -> None:
        # of the joint phase, for stages that are to be a share of it
        self.session.total_steps = self.total_steps
        with self.streams("pre_train_init"):
            self._stages = ask_for_stages(self.model, self.session)

    def _enter_phase(self) -> Phase:
        state, train = self.state, self.config.train
        if state.joint:
            self._phase = JointPhase(
                self.model, train, self.total_steps, self.plateau.lr, state.began
            )
        else:
            self._phase = StagePhase(
                self.model, train, self._stages[state.phase], self.steps_per_epoch, train.lr
            )
        self.session.total_steps = self._phase.total_steps
        self.session.updater = lambda: self.phase.updater
        self.progress.begin(
            self._phase.name, state.step, self._phase.total_steps, self.steps_per_epoch
        )
        return self._phase

    def restart_schedule(self) -> None:
        """Let the learning-rate schedule of the joint phase begin at ``state.began``; its optimisers go on."""
        assert isinstance(self.phase, JointPhase)
        self.phase.schedule = Schedule(self.config.train, self.total_steps, self.state.began)

    @property
    def phase(self) -> Phase:
        """The phase that runs."""
        return self._phase or self._enter_phase()

    # Working

    def run(self) -> None:
        """Train to the end, with a checkpoint every ``train.checkpoint_seconds``.

        Raises:
            Stopped: after SIGINT or SIGTERM, with the checkpoint written.
            DivergedError: when a step is not finite; the last checkpoint is kept.
        """
        with StopSignals() as signals:
            self._stop_requested = lambda: signals.received is not None
            try:
                while self.advance():
                    if signals.received is not None:
                        self.checkpoint()
                        raise self._stopped(signals.received)
                    if time.monotonic() - self._saved_at >= self.config.train.checkpoint_seconds:
                        self.checkpoint()
            finally:
                self._stop_requested = lambda: False
                self.progress.end()

    def _stopped(self, number: int) -> Stopped:
        return Stopped(
            f"stopped at step {self.state.step} of {self.phase.total_steps} ({self.phase.name}); the checkpoint is written",
            f"to go on: aecore resume {self.folder.path}",
            signal_number=number,
        )

    def advance(self) -> bool:
        """One unit of work: a step, the end of an epoch, or the end of a phase; false when nothing is left."""
        state, phase = self.state, self.phase
        if state.finished:
            return False
        more = state.step < phase.total_steps and not state.ended
        try:
            if more and state.cursor < self.steps_per_epoch:
                self._step()
            elif state.checked < state.step:
                self._end_epoch()
            elif not more:
                self._end_phase()
        except _Abandoned:
            pass  # run() sees the signal next; the work is done again after the resume
        return True

    def _step(self) -> None:
        state, phase = self.state, self.phase
        batch = self._next_batch()
        self.session.index = state.step
        self.model.train()
        with self.streams("step", *self._key(), state.step):
            values = phase.step(batch, self.session)
        state.step += 1
        state.cursor += 1
        if state.joint:
            self.average.update(state.step)
        state.draws = self.session.draws
        tokens = int(batch.lengths.sum())
        self.journal.add(values, len(batch), tokens)
        if state.step % self.config.train.log_every == 0:
            self.journal.end_window(self._where())
        self.progress.step(state.step, tokens, self.journal.span.means)

    def _key(self) -> tuple[str, ...]:
        """Part of the streams' keys: nothing in the joint phase, so that a stage before it changes none of its draws."""
        return () if self.state.joint else (self.phase.name,)

    def _next_batch(self) -> Batch:
        here = (self.state.phase, self.state.epoch)
        if self._plan is None or self._plan[0] != here:
            with self.streams("data", *self._key(), self.state.epoch):
                mode = self.model.composition.batching
                self._plan = (
                    here,
                    epoch_plan(self.corpus.train, self.config.train.batch_size, mode),
                )
        return self.corpus.train.batch(self._plan[1][self.state.cursor]).to(self.model.device)

    def _end_epoch(self) -> None:
        """At the end of an epoch, or of a phase inside one: validation, selection, schedules."""
        state = self.state
        self.journal.end_window(self._where())
        if state.joint:
            self._validate()
        else:
            self.journal.end_span(self._where())
            if self._until():
                state.ended = "its own condition"
        state.checked = state.step
        if state.cursor == self.steps_per_epoch:
            state.epoch += 1
            state.cursor = 0
        self.checkpoint()
        self.curves.refresh()
        self.journal.restart_clock()

    def _until(self) -> bool:
        planned = self._stages[self.state.phase]
        with self.streams("until", planned.name, self.state.step):
            return planned.ends(self.session)

    def _evaluate(self, split: str) -> Figures:
        def tick(done: int, total: int) -> None:
            self.progress.check(done, total)
            if self._stop_requested():
                raise _Abandoned

        size, last = self.config.evaluate.batch_size, split == "test"
        return evaluate_split(
            self.model, self.corpus.split(split), self.streams, size, tick=tick, mi=last
        )

    def _validate(self) -> None:
        """Measure and log the validation split, keep the weights if the selection prefers them, and look for a plateau."""
        with self.average.in_place():
            figures = self._evaluate("valid")
            seen = look(
                self.model, self.corpus.valid, self.streams, self.config.evaluate.batch_size
            )
            row = {**self._where(), "split": "valid", **figures.row(), **seen}
            self.journal.end_span(self._where())
            self.journal.write(row)
            self.state.alarms = announce(self.progress, self.model, row, self.state.alarms)
            candidate = self._candidate(figures)
            kept = None if self.state.best is None else self.state.best.candidate
            arrived = kept is not None and kept.moving and not candidate.moving
            if self.selection.prefers(candidate, kept):
                self._keep(candidate)
        if self.config.train.schedule == "plateau":
            self._look_for_plateau(candidate, figures, arrived)

    def _candidate(self, figures: Figures) -> Candidate:
        phase = self.phase
        moving = isinstance(phase, JointPhase) and bool(phase.moved != 0)
        value, beta = self.selection.value(figures), float(self.model.beta)
        return Candidate(value, beta, moving, COLLAPSED in self.state.alarms)

    def _keep(self, candidate: Candidate) -> None:
        where = self._where()
        self.state.best = Best(where["step"], where["epoch"], self.selection.metric, candidate)
        self.best = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        save_tensors(self.folder.weights, self.best, {"step": where["step"]})

    def _look_for_plateau(self, candidate: Candidate, figures: Figures, arrived: bool) -> None:
        """Halve the rate where the validation objective stalls; while its weight moves, the bound at weight 1 stands for it."""
        if arrived:
            self.plateau.reference = None
        bound = (
            figures.nll_elbo
            if candidate.moving and figures.nll_elbo is not None
            else candidate.value
        )
        if self.plateau.update(bound, self.state.epoch, self.config.train):
            self._decay()

    def _decay(self) -> None:
        """Reload the best parameters, not the buffers of controllers and schedules, and start new optimisers."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.best[name])
        self.model.weights_changed()
        if self.plateau.exhausted(self.config.train):
            self.state.ended = f"the learning rate was halved {self.plateau.decays} times"
        else:
            self.progress.note(
                f"no improvement: learning rate {self.plateau.lr:g}, best weights reloaded"
            )
        self._enter_phase()

    def _end_phase(self) -> None:
        state = self.state
        if state.joint:
            self._finish()
            return
        with self.streams("done", self.phase.name):
            self._stages[state.phase].end(self.session)
        state.phase += 1
        state.step = state.epoch = state.cursor = state.checked = 0
        state.ended = ""
        self._enter_phase()
        self.checkpoint()

    def _finish(self) -> None:
        """Measure the selected weights on the test split and write the summary; the checkpoint keeps the last weights."""
        last = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(self.best or last)
        try:
            figures = self._evaluate("test")
        finally:
            self.model.load_state_dict(last)
        best = self.state.best
        summary = {
            **figures.report(),
            "split": "test",
            "selected": None
            if best is None
            else {
                "step": best.step,
                "epoch": best.epoch,
                "by": best.metric,
                "value": best.candidate.value,
            },
            "precision": self.config.train.precision,
            "steps": self.state.step,
            "ended": self.state.ended or "the planned steps are done",
        }
        write_atomic(self.folder.summary, (to_json(summary, indent=2) + "\n").encode())
        self.curves.finish()
        self.state.finished = True
        self.checkpoint()

    # Writing

    def _where(self) -> dict[str, Any]:
        """How every line of metrics.jsonl begins."""
        epoch = round(self.state.step / self.steps_per_epoch, 4)
        return {"stage": self.phase.name, "step": self.state.step, "epoch": epoch}

    def checkpoint(self) -> None:
        """Write all that a resume needs, in one file with one rename.

        Raises:
            RunError: when it cannot be written; the one before is kept.
        """
        self.state.plateau = self.plateau.state()
        tensors = {
            **{f"model.{name}": tensor for name, tensor in self.model.state_dict().items()},
            **{f"best.{name}": tensor for name, tensor in self.best.items()},
            **{f"average.{name}": tensor for name, tensor in self.average.weights.items()},
            **self.phase.tensors(),
        }
        meta = {
            "state": self.state.to_json(),
            "journal": self.journal.state(),
            "data": self.corpus.fingerprint,
            "environment": environment(self.model.device),
        }
        try:
            save_tensors(self.folder.checkpoint, tensors, meta)
        except RunError as error:
            way_out = (
                f"make room, then go on from the last checkpoint: aecore resume {self.folder.path}"
            )
            raise RunError(error.what, *error.evidence, way_out) from error
        self._saved_at = time.monotonic()
