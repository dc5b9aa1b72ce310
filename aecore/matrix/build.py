"""Building the matrix: every company on worker processes, kept as it goes, and taken up again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aecore.assembly import versions
from aecore.catalogue import Catalogue
from aecore.composition import compose
from aecore.errors import AecoreError, Stopped
from aecore.executor import Executor, Job, Outcome, Processes, cores
from aecore.manifest import Kept
from aecore.matrix.cells import Cell
from aecore.matrix.companies import Company, companies, names, refusal
from aecore.matrix.record import Matrix, fingerprint
from aecore.matrix.trial import examined
from aecore.testing.evidence import gathered, invariants_of

#: Seconds between two writings of an unfinished matrix.
SAVE_EVERY = 5.0
#: Hears (done, all, the company that was done last).
Tell = Callable[[int, int, str], None]


@dataclass
class Work:
    """What is to be looked at, and what is known already.

    Attributes:
        sizes: how many plugins a company has; 1 and 2 by default.
        row: a plugin that every company has to have.
        evidence: whether invariants are measured.
        out: a file that keeps what is done; cells of the same code that it has are not done again.
    """

    catalogue: Catalogue
    sizes: Sequence[int] = (1, 2)
    row: str | None = None
    evidence: bool = False
    out: Path | None = None
    known: dict[Company, Cell] = field(default_factory=dict)
    _saved: float = 0.0

    def __post_init__(self) -> None:
        if self.row is not None:
            self.row = self.catalogue.entry(self.row).name
        self._code = fingerprint(self.catalogue)
        if self.out is not None and self.out.exists():
            old = Matrix.read(self.out)  # also so that no other file is overwritten
            if old.code == self._code:
                self.known = {cell.plugins: cell for cell in old.cells}

    def companies(self) -> list[Company]:
        """Every company, the smaller ones first."""
        return [
            company for size in self.sizes for company in companies(self.catalogue, size, self.row)
        ]

    def jobs(self) -> list[Job]:
        """Trials that are still to be made."""
        due = [company for company in self.companies() if company not in self.known]
        found = []
        for company in due:
            kind, reason = refusal(company, self.catalogue) or ("", "")
            found.append(Job("+".join(company), examined, (company, kind, reason)))
        return found

    def evidence_jobs(self) -> list[Job]:
        """Evidence that is still to be gathered, of companies that are sound."""
        found = []
        for company in self.companies():
            cell, asked = self.known[company], invariants_of(company, self.catalogue)
            if cell.status == "sound" and set(asked) - set(cell.invariants):
                found.append(Job(cell.name, gathered, (company,)))
        return found

    def matrix(self) -> Matrix:
        """All that is known of the companies."""
        defaults = compose([], self.catalogue.defaults)
        found = versions(defaults)
        usable = names(self.catalogue)
        for name in usable:
            entry = self.catalogue.entry(name)
            found[entry.distribution] = entry.version
        plugins = {name: self.catalogue.part(name).manifest.summary for name in usable}
        says = {name: one.says for name, one in invariants_of(usable, self.catalogue).items()}
        cells = [self.known[one] for one in self.companies() if one in self.known]
        return Matrix(
            code=self._code, versions=found, plugins=plugins, says=says, cells=tuple(cells)
        )

    def keep(self, last: bool = False) -> None:
        """Write what is known, now and then."""
        if self.out is not None and (last or time.monotonic() - self._saved > SAVE_EVERY):
            self.matrix().write(self.out)
            self._saved = time.monotonic()


def built(work: Work, executor: Executor, tell: Tell = lambda done, total, name: None) -> Matrix:
    """Do what is left of the work; what is done is kept, even where it is broken off."""
    try:
        for outcome in _told(work.jobs(), executor, tell):
            work.known[_company(outcome)] = _cell(outcome)
            work.keep()
        if work.evidence:
            for outcome in _told(work.evidence_jobs(), executor, tell):
                company = _company(outcome)
                found = _found(outcome, work.catalogue)
                work.known[company] = work.known[company].model_copy(update={"invariants": found})
                work.keep()
    finally:
        work.keep(last=True)
    return work.matrix()


def compatibility(
    plugin: str | None = None,
    *,
    triples: bool = False,
    evidence: bool = False,
    out: str | Path | None = None,
    workers: int | None = None,
    registries: Sequence[str | Path] = (),
    tell: Tell = lambda done, total, name: None,
) -> Matrix:
    """``aecore matrix --json``: what every company of installed plugins does when it is trained.

    Args:
        plugin: only companies that it is part of.
        triples: companies of three as well.
        evidence: measure what plugins say that they keep up; see `aecore.testing.Trial`.
        out: a file that is written as it goes; what it has of the same code is not done again.
        workers: processes; as many as there are cores unless given.

    Raises:
        CompositionError: when there is no such plugin.
        RunError: when ``out`` holds something else than a matrix, or cannot be written.
        Stopped: after Ctrl-C; what is done is in ``out``.
    """
    sizes = (1, 2, 3) if triples else (1, 2)
    place = None if out is None else Path(out)
    work = Work(Catalogue.discover(registries), sizes, plugin, evidence, place)
    try:
        return built(work, Processes(workers or cores()), tell)
    except KeyboardInterrupt:
        kept = "nothing is kept; --out FILE keeps it" if out is None else f"to go on: --out {out}"
        done = f"stopped after {len(work.known)} of {len(work.companies())} companies"
        raise Stopped(done, kept, signal_number=signal.SIGINT) from None


def again(executor: Executor) -> Callable[[Cell], Cell]:
    """A function that looks at a cell a second time, invariants too where it has any."""

    def look(cell: Cell) -> Cell:
        (outcome,) = executor.run(
            [Job(cell.name, examined, (cell.plugins, cell.kind, cell.reason))]
        )
        found = _cell(outcome)
        if cell.invariants:
            (evidence,) = executor.run([Job(cell.name, gathered, (cell.plugins,))])
            kept = _found(evidence, Catalogue.discover())
            found = found.model_copy(update={"invariants": kept})
        return found

    return look


def _told(jobs: Sequence[Job], executor: Executor, tell: Tell) -> Iterator[Outcome]:
    for done, outcome in enumerate(executor.run(jobs), 1):
        yield outcome
        tell(done, len(jobs), outcome.job.name)


def _company(outcome: Outcome) -> Company:
    company: Company = outcome.job.arguments[0]
    return company


def _cell(outcome: Outcome) -> Cell:
    """The cell; one whose worker died is broken, and the others go on."""
    if outcome.error is None:
        cell: Cell = outcome.value
        return cell
    company, kind, reason = outcome.job.arguments
    return Cell(plugins=company, kind=kind, reason=reason, wrong=(_said(outcome.error),))


def _found(outcome: Outcome, catalogue: Catalogue) -> dict[str, Kept]:
    if outcome.error is None:
        found: dict[str, Kept] = outcome.value
        return found
    asked = invariants_of(_company(outcome), catalogue)
    return {name: Kept(kept=False, found=_said(outcome.error)) for name in asked}


def _said(error: BaseException) -> str:
    return error.what if isinstance(error, AecoreError) else f"{type(error).__name__}: {error}"
