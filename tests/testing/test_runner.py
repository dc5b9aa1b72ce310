"""The kit itself: results as records, exceptions, checks that look at nothing, and what importing
it costs.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import aecore
from aecore import Plugin, hookimpl
from aecore import testing as kit
from aecore.testing import registry, runner


class Halved(Plugin):
    @hookimpl
    def beta_schedule(self):
        return 0.5


class Same(Plugin):
    @hookimpl
    def beta_schedule(self):
        return 1.0


@pytest.fixture
def few(monkeypatch):
    """Three checks, so that these tests are quick."""
    names = (
        "check_exceptions_are_known",
        "check_plugin_has_an_effect",
        "check_posterior_mass",
        "check_shapes",
    )
    monkeypatch.setattr(runner, "CHECKS", {name: kit.CHECKS[name] for name in names})


def statuses(results):
    return {result.check.removeprefix("check_"): result.status for result in results}


@pytest.mark.usefixtures("few")
def test_every_check_has_a_result_and_progress_hears_it(subject_of):
    heard = []
    results = kit.run_checks(subject_of(Halved), progress=heard.append)
    assert heard == results
    assert statuses(results) == {
        "exceptions_are_known": "passed",
        "plugin_has_an_effect": "passed",
        "posterior_mass": "not applicable",
        "shapes": "passed",
    }
    assert results[2].message == "it does not implement posterior_sample"
    assert results[3].seconds > 0
    assert results[3].promise.startswith("Values have their shapes and are finite")


@pytest.mark.usefixtures("few")
def test_a_failure_is_a_record_too(subject_of):
    result = kit.run_checks(subject_of(Same))[1]
    assert result.status == "failed"
    assert result.message.startswith(
        "'same' (test_runner) fails check_plugin_has_an_effect: training is the same without it\n"
    )


@pytest.mark.usefixtures("few")
def test_an_exception_is_shown_with_its_reason(subject_of):
    excepted = {"check_plugin_has_an_effect": "beta 1 is the point of the method"}
    result = kit.run_checks(subject_of(Same, exceptions=excepted))[1]
    assert (result.status, result.message) == ("excepted", "beta 1 is the point of the method")


@pytest.mark.usefixtures("few")
def test_an_exception_that_is_not_needed_is_a_failure(subject_of):
    result = kit.run_checks(subject_of(Halved, exceptions={"check_shapes": "they are odd"}))[3]
    assert result.status == "failed"
    assert result.message == (
        "'halved' passes check_shapes, which plugin.toml excepts\n"
        "  reason given: they are odd\n"
        "  due: remove it from [halved.exceptions]"
    )


def test_an_exception_without_a_reason_is_no_manifest(subject_of):
    with pytest.raises(aecore.AecoreError, match=r"exceptions.check_shapes"):
        subject_of(Halved, exceptions={"check_shapes": " "})


@pytest.fixture
def registered(monkeypatch):
    """Checks that a test adds are gone afterwards."""
    monkeypatch.setattr(registry, "CHECKS", dict(registry.CHECKS))


@pytest.mark.usefixtures("registered")
def test_a_check_that_looks_at_nothing_fails(subject_of):
    @registry.promise()
    def check_nothing(case):
        for _ in case.subject.manifest.exceptions:
            case.require(True, "never reached")

    with pytest.raises(
        kit.CheckFailure, match=r"'halved' .* fails check_nothing: the check verified nothing"
    ):
        check_nothing(subject_of(Halved))


@pytest.mark.usefixtures("registered")
def test_a_check_that_looks_at_too_little_fails(subject_of):
    @registry.promise(owes=4)
    def check_half(case):
        case.require(True, "one")
        case.require(True, "two")

    with pytest.raises(
        kit.CheckFailure, match="fails check_half: the check verified 2 of 4 things"
    ):
        check_half(subject_of(Halved))


def test_a_promise_that_is_not_made_is_not_kept_silently(subject_of):
    with pytest.raises(
        kit.NotApplicable,
        match="check_posterior_mass does not apply to 'halved': it does not implement",
    ):
        kit.check_posterior_mass(subject_of(Halved))


def test_threads_and_generators_are_given_back(subject_of):
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        kit.check_same_seed_same_result(subject_of(Halved))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), state)


def test_settings_reach_the_plugin():
    subject = kit.Subject.installed("betavae", {"beta": 1.0})
    with pytest.raises(kit.CheckFailure, match=r"'betavae' .* training is the same without it"):
        kit.check_plugin_has_an_effect(subject)


def test_an_unknown_plugin_is_an_error_of_the_user():
    with pytest.raises(
        aecore.AecoreError, match=r"no plugin is called 'controlvea'. Did you mean 'controlvae'"
    ):
        kit.run_checks("controlvea")


def test_pytest_parameters_are_the_promises(subject_of):
    subject = subject_of(
        Same, exceptions={"check_plugin_has_an_effect": "beta 1 is the point of the method"}
    )
    parameters = kit.parametrize_with_checks(subject).args[1]
    assert [p.id for p in parameters] == [check.name for check in kit.promised_checks(subject)]
    (excepted,) = [p for p in parameters if p.marks]
    assert excepted.id == "check_plugin_has_an_effect"
    assert excepted.marks[0].kwargs["reason"] == "beta 1 is the point of the method"
    assert excepted.marks[0].kwargs["strict"]
    both = kit.parametrize_with_checks(subject, kit.Subject.defaults()).args[1]
    assert both[0].id.startswith("same-check_")


@pytest.mark.verify
def test_the_kit_does_not_import_pytest():
    code = "import aecore.testing, sys; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_check_is_exported_and_has_a_plugin_that_it_bites():
    here = Path(__file__).parent
    text = "".join(path.read_text() for path in here.glob("test_*.py"))
    bitten = set(re.findall(r"fails\(\s*kit\.(check_\w+)", text))
    assert bitten == set(kit.CHECKS)
    assert {name for name in kit.__all__ if name.startswith("check_")} == set(kit.CHECKS)


def test_the_kit_names_no_plugin():
    names = {"betavae", "annealing", "controlvae"}
    sources = list(Path(kit.__file__).parent.glob("*.py"))
    found = [
        (path.name, name)
        for path in sources
        for name in names
        if name in re.sub(r'"""(.|\n)*?"""', "", path.read_text())
    ]
    assert found == []
