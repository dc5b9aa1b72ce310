"""Running the checks: as a list of results, or as pytest parameters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aecore.testing.registry import CHECKS, Check, CheckFailure, Inconclusive
from aecore.testing.subject import Subject

Status = Literal["passed", "failed", "excepted", "inconclusive", "not applicable"]


@dataclass(frozen=True)
class CheckResult:
    """What came of one check.

    Attributes:
        status: passed; failed; excepted, where plugin.toml says why it fails; inconclusive, where
            an estimate is too noisy to tell; not applicable, where nothing is promised.
        message: the failure, the reason of the exception, or why the check does not apply.
        cause: of a failure, what is wrong; equal in all checks that fail for one fault.
    """

    check: str
    promise: str
    status: Status
    seconds: float = 0.0
    message: str = ""
    cause: str = ""


def promised_checks(subject: Subject) -> list[Check]:
    """The checks whose promises follow from the plugin's hooks, roles and capability levels."""
    return [check for check in CHECKS.values() if not check.not_applicable(subject)]


def run_checks(
    plugin: str | Subject,
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[CheckResult], None] | None = None,
) -> list[CheckResult]:
    """Hold a plugin to every promise that it makes.

    Args:
        plugin: the name of an installed plugin, or a `Subject`.
        settings: what differs from its default settings.
        progress: called with each result as it comes.

    Returns:
        One result for every check of the kit, in its order.

    Raises:
        AecoreError: when the plugin is not there, cannot be imported, does not compose, or refuses
            the settings.
    """
    subject = plugin if isinstance(plugin, Subject) else Subject.installed(plugin, settings)
    results = []
    for check in CHECKS.values():
        result = _result(check, subject)
        results.append(result)
        if progress is not None:
            progress(result)
    return results


def _result(check: Check, subject: Subject) -> CheckResult:
    """An exception that is not needed at default settings fails: it would hide the next one."""
    if reason := check.not_applicable(subject):
        return CheckResult(check.name, check.promise, "not applicable", 0.0, reason)
    exception = excepted(check, subject)
    began = time.perf_counter()
    status: Status = "passed"
    message = cause = ""
    try:
        check(subject)
        if exception and not subject.settings:
            status, message = "failed", _needless(check, subject, exception)
    except CheckFailure as failure:
        status, message = ("excepted", exception) if exception else ("failed", str(failure))
        cause = "" if exception else failure.cause
    except Inconclusive as doubt:
        status, message = "inconclusive", str(doubt)
    seconds = time.perf_counter() - began
    return CheckResult(check.name, check.promise, status, seconds, message, cause)


def by_cause(results: Iterable[CheckResult]) -> list[list[CheckResult]]:
    """The failed checks, those with one cause together, the most frequent first."""
    groups: dict[str, list[CheckResult]] = {}
    for result in results:
        if result.status == "failed":
            groups.setdefault(result.cause or result.message, []).append(result)
    return sorted(groups.values(), key=len, reverse=True)


def excepted(check: Check, subject: Subject) -> str:
    """Why the plugin cannot pass the check, by its manifest; empty where it claims nothing."""
    return (
        ""
        if check.name == "check_exceptions_are_known"
        else subject.declared.exceptions.get(check.name, "")
    )


def _needless(check: Check, subject: Subject, exception: str) -> str:
    failure = CheckFailure(
        f"'{subject.name}' passes {check.name}, which plugin.toml excepts",
        f"reason given: {exception}",
        f"due: remove it from [{subject.name}.exceptions]",
        plugin=subject.name,
        check=check.name,
    )
    return str(failure)


def parametrize_with_checks(
    *plugins: str | Subject, settings: Mapping[str, Any] | None = None
) -> Any:
    """A pytest decorator: a test per promise and plugin; excepted ones are strict xfails.

    Example:
        >>> @parametrize_with_checks("vae")  # doctest: +SKIP
        ... def test_conformance(subject, check):
        ...     check(subject)
    """
    import pytest

    parameters = []
    for plugin in plugins:
        subject = plugin if isinstance(plugin, Subject) else Subject.installed(plugin, settings)
        for check in promised_checks(subject):
            name = check.name if len(plugins) == 1 else f"{subject.name}-{check.name}"
            reason = excepted(check, subject)
            strict = not subject.settings
            marks = (
                [pytest.mark.xfail(reason=reason, raises=CheckFailure, strict=strict)]
                if reason
                else []
            )
            parameters.append(pytest.param(subject, check, id=name, marks=marks))
    return pytest.mark.parametrize(("subject", "check"), parameters)
