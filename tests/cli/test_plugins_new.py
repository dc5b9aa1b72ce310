"""``aecore plugins new`` and ``aecore plugins check``."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
from support import Site

from aecore import testing
from aecore_cli import checking
from aecore_cli.checking import own_settings
from aecore_cli.creating import split_hooks

QUICK = [
    "check_exceptions_are_known",
    "check_settings_round_trip",
    "check_penalty_keeps_the_gradient",
]


@pytest.fixture
def quick(monkeypatch):
    """A kit of three checks, one of which applies to kl_penalty alone."""
    kit = {name: testing.CHECKS[name] for name in QUICK}
    for module in ("aecore.testing.runner", "aecore_cli.checking"):
        monkeypatch.setattr(f"{module}.CHECKS", kit)


@pytest.fixture
def installed(cli, tmp_path, monkeypatch):
    """A new plugin called fresh, installed into a folder of sys.path; the file with its class."""
    assert cli("plugins", "new", "fresh").code == 0
    source = tmp_path / "aecore-fresh" / "src"
    site = Site(tmp_path / "site")
    site.add("aecore-fresh", {"fresh": "aecore_fresh:Fresh"})
    for folder in (site.path, source):
        monkeypatch.syspath_prepend(str(folder))
    yield source / "aecore_fresh" / "__init__.py"
    sys.modules.pop("aecore_fresh", None)


# new


def test_new_says_what_it_wrote_and_what_to_type_next(cli, tmp_path):
    said = cli("plugins", "new", "my-idea")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("aecore-my-idea/\n  pyproject.toml\n")
    next_lines = said.out.partition("what to type next\n")[2].splitlines()
    assert next_lines == [
        "  python -m pip install -e ./aecore-my-idea",
        "  python -m pytest ./aecore-my-idea",
        "  aecore plugins check my_idea",
        "  aecore train --plugin my_idea",
        "then edit ./aecore-my-idea/src/aecore_my_idea/__init__.py",
    ]
    listed = [line.strip() for line in said.out.splitlines()[1:6]]
    assert all((tmp_path / "aecore-my-idea" / file).is_file() for file in listed)


def test_new_names_the_hooks_that_came_along(cli):
    said = cli(
        "plugins", "new", "gan", "--hooks", "critic_loss, prior-sample", "--hooks", "kl_penalty"
    )
    assert said.code == 0
    assert "hooks: prior_logprob, prior_sample, critic_loss, kl_penalty, extra_loss" in said.out
    assert "note: extra_loss came along: without it nothing listens to the critic" in said.out


def test_new_writes_where_it_is_told(cli, tmp_path):
    said = cli("plugins", "new", "fresh", "--out", tmp_path / "a folder")
    assert said.code == 0
    assert (tmp_path / "a folder" / "aecore-fresh" / "pyproject.toml").is_file()
    assert f"pip install -e '{tmp_path}/a folder/aecore-fresh'" in said.out


@pytest.mark.parametrize(
    ("words", "due"),
    [
        (["Fresh"], "'Fresh' is no name for a plugin"),
        (["train"], "is a word of aecore"),
        (["controlvae"], "installed here"),
        (["fresh", "--hooks", "kl_penalti"], "Did you mean 'kl_penalty'?"),
        (["fresh", "--out", "file"], "'file/aecore-fresh': Not a directory"),
    ],
)
def test_new_refuses_and_writes_nothing(cli, tmp_path, words, due):
    (tmp_path / "file").touch()
    said = cli("plugins", "new", *words)
    assert (said.code, said.out) == (2, "")
    assert due in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_new_overwrites_nothing(cli, tmp_path):
    cli("plugins", "new", "fresh")
    file = tmp_path / "aecore-fresh" / "README.md"
    file.write_text("mine")
    said = cli("plugins", "new", "fresh")
    assert said.code == 2
    assert "exists already, so nothing was written" in said.err
    assert file.read_text() == "mine"


def test_new_without_rights(cli, tmp_path, monkeypatch):
    def denied(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.mkdir", denied)
    said = cli("plugins", "new", "fresh")
    assert said.code == 2
    assert said.err == "error: 'aecore-fresh': Permission denied\n"


def test_hooks_are_split_at_commas():
    assert split_hooks(["a,b", " c ,", "d"]) == ["a", "b", "c", "d"]
    assert split_hooks(None) == []


# check


def test_check_shows_a_table_and_the_count(cli, installed, quick):
    said = cli("plugins", "check", "fresh")
    assert said.code == 0, said.err
    head, *rows = said.out.splitlines()
    assert head.split() == ["check", "status", "seconds"]
    assert [row.split()[:2] for row in rows[:3]] == [[name, "passed"] for name in QUICK]
    assert rows[-1] == "fresh (aecore-fresh 1.0): 3 passed, 0 failed, 0 excepted; 0 do not apply"


def test_check_leaves_out_what_does_not_apply(cli, quick):
    said = cli("plugins", "check", "betavae")
    assert said.code == 0
    assert "check_penalty" not in said.out
    assert "1 do not apply" in said.out


def test_a_failure_is_explained_and_counts(cli, installed, quick):
    installed.write_text(installed.read_text().replace("kl.sum", "kl.detach().sum"))
    said = cli("plugins", "check", "fresh")
    assert said.code == 1
    assert "2 passed, 1 failed" in said.out
    assert (
        "fails check_penalty_keeps_the_gradient: kl_loss has no gradient in the encoder" in said.out
    )


def test_an_exception_is_shown_with_its_reason(cli, installed, quick):
    installed.write_text(installed.read_text().replace("kl.sum", "kl.detach().sum"))
    with (installed.parent / "plugin.toml").open("a") as file:
        file.write('[fresh.exceptions]\ncheck_penalty_keeps_the_gradient = "it is a constant"\n')
    said = cli("plugins", "check", "fresh")
    assert said.code == 0
    assert said.out.endswith(
        "excepted: check_penalty_keeps_the_gradient\n  reason: it is a constant\n"
    )


def test_check_as_data(cli, installed, quick):
    said = cli("plugins", "check", "fresh", "--json")
    found = json.loads(said.out)
    assert (said.code, found["status"], found["promised"], found["passed"]) == (0, "passed", 3, 3)
    assert [check["check"] for check in found["checks"]] == QUICK


def test_fewer_than_promised_is_a_failure(cli, installed, quick, monkeypatch):
    def lazy(subject, progress):
        return [
            replace(result, status="not applicable")
            for result in testing.run_checks(subject, progress=progress)
        ]

    monkeypatch.setattr(checking, "run_checks", lazy)
    said = cli("plugins", "check", "fresh")
    assert said.code == 1
    assert "failed: 0 of 3 promised checks ran" in said.out


def test_settings_reach_the_plugin(cli, installed, quick):
    assert cli("plugins", "check", "fresh", "--set", "free_nats=1.5").code == 0
    said = cli("plugins", "check", "fresh", "--set", "fresh.free_nats=-1")
    assert said.code == 2
    assert "fresh.free_nats = -1" in said.err
    assert "is no setting of 'fresh'" in cli("plugins", "check", "fresh", "--set", "train.lr=1").err
    assert own_settings("my-idea", {"my_idea.a-b": 1, "c": 2}) == {"a_b": 1, "c": 2}


@pytest.mark.parametrize(
    ("words", "due"),
    [
        (["nothing"], "no plugin is called 'nothing'"),
        ([], "a NAME or --all is due"),
        (["vae", "--all"], "a NAME or --all is due"),
    ],
)
def test_check_of_what_is_not_there(cli, words, due):
    said = cli("plugins", "check", *words)
    assert (said.code, said.out) == (2, "")
    assert due in said.err


def test_check_all_goes_on_past_a_broken_one(cli, installed, quick, tmp_path):
    installed.write_text("import dragons")
    (tmp_path / "lab.toml").write_text(
        '[far]\ndistribution = "aecore-far"\ninstall = "pip install aecore-far"\nsummary = ""\n'
    )
    said = cli("plugins", "check", "--all", "--registry", "lab.toml")
    assert said.code == 1
    rows = {line.split()[0]: line for line in said.out.splitlines() if line.strip()}
    assert rows["fresh"].endswith("broken")
    assert all(rows[name].endswith("passed") for name in ("vae", "betavae", "controlvae"))
    assert "ModuleNotFoundError: No module named 'dragons'" in said.out
    assert said.out.endswith("far is not installed: pip install aecore-far\n")


def test_check_all_as_data(cli, quick):
    said = cli("plugins", "check", "--all", "--json")
    assert said.code == 0
    assert {"vae", "betavae", "controlvae"} <= {report["name"] for report in json.loads(said.out)}
