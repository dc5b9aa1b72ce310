"""The training loop: a unit of work at a time, and checkpoints between any two."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

from aecore import ranks
from aecore.batch import Batch
from aecore.data.batching import Plan, epoch_plan
from aecore.data.corpus import Corpus
from aecore.errors import Stopped
from aecore.evaluation.collapse import COLLAPSED, look, raise_alarms
from aecore.evaluation.protocol import Figures, evaluate_split
from aecore.model import Model
from aecore.progress import Progress, Silent
from aecore.runs.checkpoint import check_fit, select
from aecore.runs.config import RunConfig
from aecore.runs.folder import RunFolder
from aecore.streams import Streams
from aecore.training.averaging import Average
from aecore.training.finite import check_figures, check_weights
from aecore.training.phases import JointPhase, Phase, StagePhase
from aecore.training.record import Record
from aecore.training.selection import Selection
from aecore.training.session import Session
from aecore.training.signals import StopSignals
from aecore.training.stages import AuthoredStage, ask_for_stages
from aecore.training.state import TrainState


class _Abandoned(Exception):
    """An evaluation that a stop signal cut short; it is done again by the resumed run."""


class Trainer:
    """Trains a model on a corpus; what it finds goes to its `Record` and to the listener.

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
        self.model, self.corpus, self.config, self.folder = model, corpus, config, folder
        self.progress: Progress = progress or Silent()
        self.streams = Streams(config.train.seed, model.device)
        self.state = TrainState()
        self.selection = Selection(model, config.train)
        self.average = Average(model, config.train.average)
        self.steps_per_epoch = -(-len(corpus.train) // config.train.batch_size)
        batches = (config.train.batch_size, config.evaluate.batch_size)
        self.session = Session(model, corpus, self.streams, *batches, self.steps_per_epoch)
        sources = {part.name: part.distribution for part in model.composition.parts}
        self.record = Record(folder, config, corpus, sources, self.progress)
        self.batching = model.composition.batching
        self._stages: list[AuthoredStage] = []
        self._phase: Phase | None = None
        self._plan: tuple[tuple[int, int], Plan] | None = None
        self._stop_requested: Callable[[], bool] = lambda: False

    # Starting

    @property
    def total_steps(self) -> int:
        """The joint steps that the run plans."""
        planned = self.config.train.epochs * self.steps_per_epoch
        return min(planned, self.config.train.max_steps or planned)

    def start(self) -> None:
        """Begin a new run: ask for stages, write the files that come before the first step."""
        self._ask_for_stages()
        self.state.phases = len(self._stages) + 1
        self.record.create()
        self._enter_phase()
        self.checkpoint()

    def restore(self) -> None:
        """Go on from the checkpoint.

        Raises:
            RunError: when it is damaged, or the corpus is not the one it was written with.
        """
        tensors, state, changes = self.record.restore(self.model.device)
        with self.record.intact():
            self.state = TrainState.from_json(state["loop"], self.steps_per_epoch)
            if not self.state.joint:
                self._ask_for_stages()
            due = self.model.own_state()
            check_fit(select(tensors, "model."), due)
            check_fit(select(tensors, "best."), due, optional=True)
            averaged = {name: due[name] for name in self.model.own_parameters()}
            check_fit(select(tensors, "average."), averaged, optional=True)
            self.model.load_own(select(tensors, "model."))
            self.selection.restore(state["selection"], select(tensors, "best."))
            self.average.restore(select(tensors, "average."))
            self.session.draws = self.state.draws
            self._enter_phase().restore(tensors)
        if changes:
            self.progress.note(
                "versions, device or threads differ from those of the checkpoint: the run goes on, "
                f"but not bit for bit ({changes})"
            )

    def _ask_for_stages(self) -> None:
        # of the joint phase, for stages that are to be a share of it
        self.session.total_steps = self.total_steps
        with self.streams("pre_train_init"):
            self._stages = ask_for_stages(self.model, self.session)

    def _enter_phase(self) -> Phase:
        state, train, lr = self.state, self.config.train, self.selection.plateau.lr
        if state.joint:
            phase: Phase = JointPhase(self.model, train, self.total_steps, lr, state.began)
        else:
            planned = self._stages[state.phase]
            phase = StagePhase(self.model, train, planned, self.steps_per_epoch, train.lr)
        self._phase = phase
        self.session.total_steps = phase.total_steps
        self.session.updater = lambda: self.phase.updater
        self.progress.begin(phase.name, state.step, phase.total_steps, self.steps_per_epoch)
        return phase

    def extend(self) -> None:
        """Let a run with a later end go on; an ended schedule begins anew for what is added."""
        state = self.state
        if not state.joint or state.ended or self.total_steps <= state.step:
            return
        if state.finished and self.config.train.decays_to_zero:
            state.began = state.step
            assert isinstance(self.phase, JointPhase)
            self.phase.restart_schedule(self.total_steps, state.began)
        state.finished = False

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
                    if ranks.agree(signals.received is not None):
                        self.checkpoint()
                        raise self._stopped(signals.received or signal.SIGTERM)
                    due = self.record.saved_at + self.config.train.checkpoint_seconds
                    if ranks.agree(time.monotonic() >= due):
                        self.checkpoint()
            finally:
                self._stop_requested = lambda: False
                self.progress.end()

    def _stopped(self, number: int) -> Stopped:
        where = f"step {self.state.step} of {self.phase.total_steps} ({self.phase.name})"
        return Stopped(
            f"stopped at {where}; the checkpoint is written",
            f"to go on: aecore resume {self.folder.path}",
            signal_number=number,
        )

    def advance(self) -> bool:
        """A step, the end of an epoch, or of a phase; false when nothing is left."""
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
        state, log = self.state, self.record.log
        batch = self._next_batch()
        self.session.index = state.step
        self.model.train()
        with self.streams("step", *self._key(), state.step, *ranks.key()):
            values = self.phase.step(batch, self.session)
        state.step += 1
        state.cursor += 1
        if state.joint:
            self.average.update(state.step)
        state.draws = self.session.draws
        tokens = int(ranks.total(batch.lengths.sum()))
        log.add(values, batch.global_size, tokens)
        if state.step % self.config.train.log_every == 0:
            log.end_window(self._where())
        self.progress.step(state.step, tokens, log.span.means)

    def _key(self) -> tuple[str, ...]:
        """Part of the streams' keys: nothing in the joint phase, whatever stages were before."""
        return () if self.state.joint else (self.phase.name,)

    def _next_batch(self) -> Batch:
        here = (self.state.phase, self.state.epoch)
        if self._plan is None or self._plan[0] != here:
            with self.streams("data", *self._key(), self.state.epoch):
                size = self.config.train.batch_size
                plan = epoch_plan(self.corpus.train, size, self.batching)
                self._plan = (here, plan)
        return self.corpus.train.share(self._plan[1][self.state.cursor]).to(self.model.device)

    def _end_epoch(self) -> None:
        """At the end of an epoch, or of a phase inside one: validation, selection, schedules."""
        state, log = self.state, self.record.log
        log.end_window(self._where())
        if state.joint:
            self._validate()
        else:
            log.end_span(self._where())
            with self.streams("until", self.phase.name, state.step):
                if self._stages[state.phase].ends(self.session):
                    state.ended = "its own condition"
        state.checked = state.step
        if state.cursor == self.steps_per_epoch:
            state.epoch += 1
            state.cursor = 0
        self.checkpoint()
        log.restart_clock()

    def _evaluate(self, split: str) -> Figures:
        agree = ranks.agreement()  # every rank measures the whole split

        def tick(done: int, total: int) -> None:
            self.progress.check(done, total)
            if agree(self._stop_requested()):
                raise _Abandoned

        size, last = self.config.evaluate.batch_size, split == "test"
        return evaluate_split(
            self.model, self.corpus.split(split), self.streams, size, tick=tick, mi=last
        )

    def _validate(self) -> None:
        """Measure and log the validation split, keep preferred weights, look for a plateau."""
        state, where, selection = self.state, self._where(), self.selection
        with self.average.in_place():
            figures = self._evaluate("valid")
            size = self.config.evaluate.batch_size
            seen = look(self.model, self.corpus.valid, self.streams, size)
            row = {**where, "split": "valid", **figures.row(), **seen}
            if self.model.composition.rewrites:
                row["rewrites"] = True  # what it learns is in the objective
            check_figures(row, self.phase.name, state.step)
            self.record.log.end_span(where)
            self.record.log.write(row)
            state.alarms = raise_alarms(self.progress, self.model.composition, row, state.alarms)
            moving = isinstance(self.phase, JointPhase) and bool(self.phase.moved != 0)
            new = selection.candidate(figures, moving, COLLAPSED in state.alarms)
            if selection.offer(new, where["step"], where["epoch"]):
                self.record.weights(selection.weights, where["step"])
        if selection.stalled(new, figures, state.epoch):
            self._decay()

    def _decay(self) -> None:
        """Reload the best parameters at a plateau, with new optimisers at the halved rate."""
        plateau = self.selection.plateau
        self.selection.reload()
        if plateau.exhausted(self.config.train):
            self.state.ended = f"the learning rate was halved {plateau.decays} times"
        else:
            rate = f"learning rate {plateau.lr:g}"
            self.progress.note(f"no improvement: {rate}, best weights reloaded")
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
        """Measure the selected weights on test and write the summary; then the checkpoint."""
        with self.selection.in_place():
            figures = self._evaluate("test")
        summary = {
            **figures.report(),
            "split": "test",
            "selected": self.selection.selected(),
            "precision": self.config.train.precision,
            "steps": self.state.step,
            "ended": self.state.ended or "the planned steps are done",
        }
        self.record.summary(summary)
        self.progress.finish(summary)
        self.state.finished = True
        self.checkpoint()

    def _where(self) -> dict[str, Any]:
        """How every line of metrics.jsonl begins."""
        epoch = round(self.state.step / self.steps_per_epoch, 4)
        return {"stage": self.phase.name, "step": self.state.step, "epoch": epoch}

    def checkpoint(self) -> None:
        """Write all that a resume needs.

        Raises:
            RunError: when it cannot be written; the one before is kept.
            DivergedError: when weights are not finite.
        """
        parameters = dict(self.model.named_parameters())  # a buffer may well be infinite
        check_weights(parameters, self.phase.name, self.state.step)
        parts = {
            "model": self.model.own_state(),
            "best": self.selection.weights,
            "average": self.average.weights,
        }
        tensors = {
            f"{part}.{name}": t for part, found in parts.items() for name, t in found.items()
        }
        state = {"loop": self.state.to_json(), "selection": self.selection.state()}
        self.record.checkpoint({**tensors, **self.phase.tensors()}, state, self.model.device)
