"""Throw-away plugins as subjects, and the exact message of a check that fails."""

import re

import pytest

from aecore.plugin import implementations
from aecore.testing import CheckFailure, Subject

NUMBER = r"-?(?:\d[\d.]*(?:e[+-]?\d+)?|nan|inf)"


@pytest.fixture
def subject_of():
    """A class with the manifest that its hooks make true; anything else of the manifest
    by keyword.
    """

    def build(cls, settings=None, hooks=None, **manifest):
        found = sorted(implementation.hook for implementation in implementations(cls))
        return Subject.of_class(cls, {"hooks": hooks or found, **manifest}, settings)

    return build


@pytest.fixture
def fails(subject_of):
    """Run one check on a broken class and hold its message against a text; <n> stands for any
    number, ... for anything.
    """

    def run(check, cls, message, **subject):
        with pytest.raises(CheckFailure) as caught:
            check(subject_of(cls, **subject))
        assert caught.value.check == check.__name__
        assert caught.value.plugin == cls.__name__.lower()
        lines = str(caught.value).split("\n")
        excuse = (
            f"  or, if the method is so: [{caught.value.plugin}.exceptions] {check.__name__} = "
            f'"why", in plugin.toml'
        )
        if lines[-1] == excuse:  # there is none for exceptions and what is not finite
            lines.pop()
        source = cls.__module__.rpartition(".")[2]
        expected = f"'{caught.value.plugin}' ({source}) fails {check.__name__}: {message.strip()}"
        pattern = re.escape(expected).replace("<n>", NUMBER).replace(re.escape("..."), r".*")
        assert re.fullmatch(pattern, "\n".join(lines)), "\n".join(lines)

    return run
