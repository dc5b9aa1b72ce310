"""What a check is: a promise with a name, its plugins, and evidence that it gathers."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import NoReturn
from unittest import SkipTest

from aecore.composition import reaches
from aecore.errors import AecoreError
from aecore.testing.lab import laboratory
from aecore.testing.subject import Subject

#: Why a check does not apply to a plugin, as the end of "not applicable: ..."; empty where it
#: applies.
Condition = Callable[[Subject], str]


class CheckFailure(AecoreError):
    """A promise that a plugin does not keep.

    Attributes:
        plugin, check: who does not keep what.
        cause: what is wrong, without these two: one fault may break many promises.
    """

    exit_code = 1

    def __init__(self, what: str, *evidence: str, plugin: str, check: str, cause: str = "") -> None:
        super().__init__(what, *evidence)
        self.plugin, self.check = plugin, check
        self.cause = cause or what


class NotApplicable(AecoreError):
    """A check was called on a plugin that does not make the promise."""

    exit_code = 1


class Inconclusive(AecoreError, SkipTest):
    """A check that could not tell, e.g. since its estimate is too noisy; pytest skips the test."""

    exit_code = 1


class Case:
    """One check on one plugin: it counts what it verified, so that nothing is no pass."""

    def __init__(self, subject: Subject, check: str) -> None:
        self.subject = subject
        self.check = check
        self.verified = 0

    def require(self, ok: bool, what: str, *evidence: str) -> None:
        """Count one verification.

        Raises:
            CheckFailure: when ``ok`` is false: what is wrong, then the evidence and the way out.
        """
        self.verified += 1
        if not ok:
            self.fail(what, *evidence)

    def fail(self, what: str, *evidence: str) -> NoReturn:
        """Raise the failure, with the plugin, the check, and how to state an exception."""
        name = self.subject.name
        excuse = (
            f'or, if the method is so: [{name}.exceptions] {self.check} = "why", in plugin.toml'
        )
        self._raise(what, evidence, (excuse,))

    def broken(self, what: str, *evidence: str) -> NoReturn:
        """Raise a failure that no method can be excused for, such as an exception or NaN."""
        self._raise(what, evidence, ())

    def inconclusive(self, what: str, *evidence: str) -> NoReturn:
        """Say that the check cannot tell, and why."""
        raise Inconclusive(f"{self._who}: {self.check} is inconclusive: {what}", *evidence)

    @property
    def _who(self) -> str:
        name, source = self.subject.name, self.subject.source
        return f"'{name}' ({source})" if source else f"'{name}'"

    def _raise(self, what: str, evidence: tuple[str, ...], excuse: tuple[str, ...]) -> NoReturn:
        raise CheckFailure(
            f"{self._who} fails {self.check}: {what}",
            *evidence,
            *excuse,
            plugin=self.subject.name,
            check=self.check,
            cause="\n".join([what, *evidence]),
        )


@dataclass(frozen=True)
class Check:
    """A promise.

    Attributes:
        name: ``check_...``.
        promise: the first line of its docstring.
        conditions: all must hold for the check to apply; they read manifests and levels, never
            results.
        owes: the verifications that the check must have made, at least.
    """

    name: str
    promise: str
    conditions: tuple[Condition, ...]
    owes: int
    body: Callable[[Case], None]

    def not_applicable(self, subject: Subject) -> str:
        """Why the plugin does not make this promise; empty where it does."""
        return next((reason for condition in self.conditions if (reason := condition(subject))), "")

    def __call__(self, subject: Subject) -> None:
        """Hold the plugin to the promise, on one thread and in a random stream of its own.

        Raises:
            NotApplicable: when it does not make the promise.
            CheckFailure: when it breaks it, or too little was verified to tell.
        """
        if reason := self.not_applicable(subject):
            raise NotApplicable(f"{self.name} does not apply to '{subject.name}': {reason}")
        case = Case(subject, self.name)
        with laboratory(self.name):
            _run(self.body, case)
        if case.verified < self.owes:
            seen = "nothing" if case.verified == 0 else f"{case.verified} of {self.owes} things"
            case.fail(
                f"the check verified {seen}",
                "likely: a hook is declared, but what it gives is empty or never used",
            )


def _run(body: Callable[[Case], None], case: Case) -> None:
    """Turn whatever the plugin makes the core raise into a failure of this check."""
    try:
        body(case)
    except (CheckFailure, Inconclusive):
        raise
    except AecoreError as error:
        case.broken(error.what, *error.evidence)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"at: {'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}"
        try:
            case.broken(f"{type(error).__name__}: {error}", place)
        except CheckFailure as failure:
            raise failure from error


#: Every check by name.
CHECKS: dict[str, Check] = {}


def promise(
    *conditions: Condition, owes: int = 1
) -> Callable[[Callable[[Case], None]], Callable[[Subject], None]]:
    """Register a check; what is decorated becomes a function of a `Subject`."""

    def register(body: Callable[[Case], None]) -> Callable[[Subject], None]:
        name = body.__name__
        check = CHECKS[name] = Check(
            name, (body.__doc__ or "").partition("\n")[0], conditions, owes, body
        )

        @wraps(body)
        def run(subject: Subject) -> None:
            check(subject)

        return run

    return register


# Conditions


def implements(*hooks: str) -> Condition:
    """The plugin has one of these hooks."""

    def condition(subject: Subject) -> str:
        return (
            ""
            if set(hooks) & set(subject.manifest.hooks)
            else f"it does not implement {_either(hooks)}"
        )

    return condition


def at_least(word: str, least: str) -> Condition:
    """The composition reaches a level of ``word``."""

    def condition(subject: Subject) -> str:
        level = subject.level.get(word)
        return "" if reaches(word, level, least) else f"its {word} is '{level}', not '{least}'"

    return condition


def estimated(*estimators: str) -> Condition:
    """The divergence is estimated in one of these ways."""

    def condition(subject: Subject) -> str:
        found = str(subject.level.get("kl_estimator"))
        return (
            "" if found in estimators else f"its divergence is '{found}', not {_either(estimators)}"
        )

    return condition


def has_role(*roles: str) -> Condition:
    """The plugin has parameters of one of these roles."""

    def condition(subject: Subject) -> str:
        return (
            ""
            if set(roles) & set(subject.cls.roles.values())
            else f"it has no parameters of role {_either(roles)}"
        )

    return condition


def named(subject: Subject) -> str:
    """The plugin is not the defaults."""
    return "the defaults are part of every composition" if subject.is_default else ""


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)
