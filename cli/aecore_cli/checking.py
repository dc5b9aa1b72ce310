"""``aecore plugins check``: the conformance kit over installed plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aecore.catalogue import Catalogue
from aecore.errors import AecoreError, ConfigError
from aecore.names import normalise
from aecore.testing import CHECKS, CheckResult, Subject, by_cause, promised_checks, run_checks
from aecore_cli.show import telling

#: Hears which check comes next.
Listener = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """What the kit found out about one plugin.

    Attributes:
        promised: the number of checks that apply.
        problem: why nothing could be checked.
        install: how to get a plugin that is known and not installed.
    """

    name: str
    source: str
    promised: int = 0
    results: list[CheckResult] = field(default_factory=list)
    problem: str = ""
    install: str = ""

    def count(self, status: str) -> int:
        """The checks with this status."""
        return sum(result.status == status for result in self.results)

    @property
    def ran(self) -> int:
        """The checks that came to a verdict."""
        return sum(result.status != "not applicable" for result in self.results)

    @property
    def status(self) -> str:
        """passed; failed, also where fewer ran than were promised; broken; not installed."""
        if self.install or self.problem:
            return "not installed" if self.install else "broken"
        return (
            "failed"
            if self.count("failed") or self.ran < self.promised or not self.promised
            else "passed"
        )

    @property
    def bad(self) -> bool:
        """Whether the exit code is 1."""
        return self.status in {"failed", "broken"}

    def as_data(self) -> dict[str, Any]:
        """For ``--json``."""
        counts = {
            word: self.count(word) for word in ("passed", "failed", "excepted", "inconclusive")
        }
        checks = [
            {
                "check": r.check,
                "promise": r.promise,
                "status": r.status,
                "seconds": round(r.seconds, 3),
                "message": r.message,
            }
            for r in self.results
        ]
        head = {
            "name": self.name,
            "source": self.source,
            "status": self.status,
            "promised": self.promised,
            **counts,
        }
        return {**head, "problem": self.problem, "install": self.install or None, "checks": checks}


def own_settings(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """``floor.free_nats=1`` or ``free_nats=1`` as the plugin's own settings.

    Raises:
        ConfigError: for a key of something else.
    """
    own = {}
    for key, value in settings.items():
        section, dot, word = key.rpartition(".")
        if dot and normalise(section) != normalise(name):
            raise ConfigError(
                f"'{key}' is no setting of '{name}'", f"e.g. --set {normalise(name)}.{word}={value}"
            )
        own[normalise(word)] = value
    return own


def checked(name: str, settings: Mapping[str, Any]) -> Report:
    """The kit over one installed plugin.

    Raises:
        AecoreError: when the plugin is not there, cannot be imported, or refuses the settings.
    """
    subject = Subject.installed(name, settings)
    with telling() as show:
        return _report(subject, show)


def all_checked(catalogue: Catalogue) -> list[Report]:
    """The kit over everything that is installed; what is only known comes last, unchecked."""
    with telling() as show:
        reports = [_tried(name, entry.source, show) for name, entry in catalogue.entries.items()]
    absent = {
        name: listing for name, listing in catalogue.known.items() if name not in catalogue.entries
    }
    return [
        *reports,
        *(
            Report(name, known.distribution, install=known.install)
            for name, known in absent.items()
        ),
    ]


def _tried(name: str, source: str, show: Listener) -> Report:
    try:
        return _report(Subject.installed(name), show)
    except AecoreError as error:
        return Report(name, source, problem=str(error))


def _report(subject: Subject, show: Listener) -> Report:
    promised = promised_checks(subject)
    upcoming, done = [check.name for check in CHECKS.values()], 0

    def progress(_: CheckResult) -> None:
        nonlocal done
        done += 1
        if done < len(upcoming):
            show(f"{subject.name}: {done}/{len(upcoming)} {upcoming[done]}")

    show(f"{subject.name}: 0/{len(upcoming)} {upcoming[0]}")
    return Report(
        subject.name, subject.source, len(promised), run_checks(subject, progress=progress)
    )


# As rows and lines


def check_rows(report: Report) -> list[list[str]]:
    """Check, status, seconds, of those that apply."""
    applied = [result for result in report.results if result.status != "not applicable"]
    return [[result.check, result.status, f"{result.seconds:.2f}"] for result in applied]


def verdict_lines(report: Report) -> list[str]:
    """The count, then failures with their messages and exceptions with their reasons."""
    apart = len(report.results) - report.ran
    counts = (
        f"{report.count('passed')} passed, {report.count('failed')} failed, "
        f"{report.count('excepted')} excepted"
    )
    if report.count("inconclusive"):
        counts += f", {report.count('inconclusive')} inconclusive"
    lines = [f"{report.name} ({report.source}): {counts}; {apart} do not apply"]
    if report.ran < report.promised or not report.promised:
        lines.append(f"failed: {report.ran} of {report.promised} promised checks ran")
    for group in by_cause(report.results):
        lines.append(f"\n{group[0].message}")
        if others := [result.check for result in group[1:]]:
            lines.append(f"  for the same cause fail: {', '.join(others)}")
    doubtful = [result.message for result in report.results if result.status == "inconclusive"]
    excepted = [result for result in report.results if result.status == "excepted"]
    return [
        *lines,
        *(f"\n{message}" for message in doubtful),
        *(f"\nexcepted: {result.check}\n  reason: {result.message}" for result in excepted),
    ]


def report_rows(reports: list[Report]) -> list[list[str]]:
    """Plugin, distribution, checks by outcome, seconds, status."""
    rows = []
    for report in reports:
        counts = [
            str(report.count(word)) if report.results else "-"
            for word in ("passed", "failed", "excepted")
        ]
        seconds = (
            f"{sum(result.seconds for result in report.results):.1f}" if report.results else "-"
        )
        rows.append([report.name, report.source, *counts, seconds, report.status])
    return rows


def report_lines(reports: list[Report]) -> list[str]:
    """What is to be said of plugins that failed, could not be checked, or are not there."""
    lines = []
    for report in reports:
        if report.status == "failed":
            lines += ["", *verdict_lines(report)]
        elif report.problem:
            lines += ["", report.problem]
        elif report.install:
            lines += ["", f"{report.name} is not installed: {report.install}"]
    return lines
