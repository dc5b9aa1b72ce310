"""Data parallelism: steps by two ranks, in two threads, against those of one process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from aecore import ranks
from aecore.errors import AecoreError
from aecore.testing.lab import TinyTrainer, double, training
from aecore.testing.noise import SentenceNoise
from aecore.testing.registry import Case, promise
from aecore.testing.subject import Subject

#: Ranks; sentences of the global batch; joint steps that are compared, since some methods let the
#: first one pass.
RANKS, STEPS = 2, 2
#: What losses and gradients may differ by, relative to the loss and to the norm of the gradient.
TOLERANCE = 1e-5
#: Loss and gradients of one step.
Found = tuple[str, float, dict[str, Tensor]]


class Turns:
    """Ranks as threads that take turns: one runs until it needs what the others have not given yet.

    torch's global generator is each thread's own while it runs.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._turn, self._change = 0, threading.Condition()
        self._rounds: list[dict[int, Tensor]] = []
        self._done = [0] * size
        self._going = [True] * size

    def run(self, work: Callable[[], Any]) -> list[Any]:
        """What ``work`` returns on each rank; an exception of its own is raised first."""
        found: list[Any] = [None] * self.size
        state = torch.get_rng_state()

        def thread(rank: int) -> None:
            self._wait(rank)
            torch.set_rng_state(state)
            try:
                with ranks.together(_Rank(rank, self)):
                    found[rank] = work()
            except BaseException as error:  # raised by the thread that waits for them
                found[rank] = error
            self._going[rank] = False
            self._pass_on(rank)

        threads = [threading.Thread(target=thread, args=(rank,)) for rank in range(self.size)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        torch.set_rng_state(state)
        errors = [error for error in found if isinstance(error, BaseException)]
        for error in sorted(errors, key=lambda error: isinstance(error, _Parted)):
            raise error
        return found

    def exchange(self, rank: int, value: Tensor) -> list[Tensor]:
        """What all ranks gave in this round."""
        number = self._done[rank]
        self._done[rank] += 1
        if number == len(self._rounds):
            self._rounds.append({})
        given = self._rounds[number]
        given[rank] = value.clone()
        if len(given) < self.size:
            state = torch.get_rng_state()
            self._pass_on(rank)
            self._wait(rank)
            torch.set_rng_state(state)
        if len(given) < self.size:
            raise _Parted("one process waits for values that the other never gives")
        return [given[other] for other in range(self.size)]

    def _pass_on(self, rank: int) -> None:
        order = [(rank + step) % self.size for step in range(1, self.size + 1)]
        with self._change:
            self._turn = next((other for other in order if self._going[other]), -1)
            self._change.notify_all()

    def _wait(self, rank: int) -> None:
        with self._change:
            self._change.wait_for(lambda: self._turn == rank)


class _Parted(AecoreError):
    """The ranks took different ways."""


class _Rank:
    def __init__(self, rank: int, turns: Turns) -> None:
        self.rank, self.size, self._turns = rank, turns.size, turns

    def exchange(self, value: Tensor) -> list[Tensor]:
        return self._turns.exchange(self.rank, value)

    def total(self, value: Tensor) -> Tensor:
        return torch.stack(self.exchange(value)).sum(0)


@promise(owes=3)
def check_two_halves_are_one_batch(case: Case) -> None:
    """Two processes that share a batch have the loss and the gradients of one that holds it all."""
    with double():  # rounding is no difference, even where many updates follow one another
        (whole,) = Turns(1).run(lambda: steps_of(case.subject))
        halves = Turns(RANKS).run(lambda: steps_of(case.subject))
    for number, half in enumerate(halves):
        for (where, loss, gradients), (_, other, others) in zip(whole, half, strict=True):
            line = f"{where}: {loss:.7g} in one process, {other:.7g} on rank {number} of {RANKS}"
            likely = (
                "likely: a mean or a decision over the batch; step.mean and session.agree have all "
                "of it"
            )
            close = abs(loss - other) <= TOLERANCE * max(1.0, abs(loss))
            case.require(close, "two halves of a batch have another loss", line, likely)
            norm = float(torch.stack([g.norm() for g in gradients.values()]).norm())
            name, apart = max(
                ((name, float((g - others[name]).norm())) for name, g in gradients.items()),
                key=lambda found: found[1],
            )
            line = f"{where}, {name}: {apart:.3g} apart, of a gradient of norm {norm:.3g}"
            close = gradients.keys() == others.keys() and apart <= TOLERANCE * max(1.0, norm)
            case.require(close, "two halves of a batch have another gradient", line, likely)


def steps_of(subject: Subject) -> list[Found]:
    """Every step of the stages and the first joint ones, by whatever ranks there are."""
    # small steps: a difference of rounding stays one
    config: dict[str, Any] = {"dropout": 0.0, "optimiser": "sgd", "lr": 1e-4}
    noise = SentenceNoise(subject.manifest.couples == "training")
    with training(subject, observer=noise, **config) as trainer:
        found = []
        while not (trainer.state.joint and trainer.state.step == STEPS):
            before = (trainer.state.phase, trainer.state.step)
            trainer.advance()
            if (trainer.state.phase, trainer.state.step - 1) == before:
                found.append(_step_of(trainer))
    return found


def _step_of(trainer: TinyTrainer) -> Found:
    """Where the trainer is, and the loss and the gradients of its last step."""
    row = trainer.rows[-1]
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in trainer.model.named_parameters()
        if parameter.grad is not None
    }
    return f"{row['stage']} step {row['step']}", float(row["loss"]), gradients
