"""Help, version, and words that no command knows."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

VERBS = [
    "train",
    "resume",
    "evaluate",
    "tradeoff",
    "sample",
    "reconstruct",
    "interpolate",
    "encode",
    "decode",
    "compose",
    "matrix",
    "sweep",
    "runs",
    "diff",
    "compare",
    "plugins list",
    "plugins info",
    "plugins new",
    "plugins check",
]


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_says_what_it_prints(cli, verb):
    said = cli(*verb.split(), "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: aecore {verb}")
    assert "Prints" in said.out
    assert said.err == ""


def test_the_help_lists_exactly_the_verbs_that_exist(cli):
    said = cli("--help")
    listed = [
        line.split()[0] for line in said.out.partition("Commands:")[2].splitlines() if line.strip()
    ]
    generating = ["sample", "reconstruct", "interpolate", "transfer", "encode", "decode"]
    assert listed == [
        "train",
        "resume",
        "evaluate",
        "tradeoff",
        *generating,
        "compose",
        "matrix",
        "sweep",
        "runs",
        "diff",
        "compare",
        "plugins",
    ]
    assert "..." not in said.out.partition("Commands:")[2]  # no summary is cut off at 80 columns
    assert "--debug" in said.out
    assert "--install-completion" in said.out


@pytest.mark.parametrize("words", [(), ("plugins",)])
def test_a_group_alone_prints_its_help(cli, words):
    said = cli(*words)
    assert said.code == 0
    assert said.out == cli(*words, "--help").out


def test_version(cli):
    import aecore

    assert cli("--version").out == f"aecore {aecore.__version__}\n"


def test_an_unknown_command_is_met_with_the_closest(cli):
    said = cli("trian")
    assert said.code == 2
    what, way = said.err.splitlines()
    assert what == "error: no such command 'trian'. Did you mean 'train', 'transfer'?"
    assert way == "  see: aecore --help"


def test_an_unknown_option_is_met_with_the_closest(cli):
    said = cli("train", "--plugins", "vae")
    assert said.code == 2
    assert "--plugins" in said.err
    assert "--plugin)" in said.err
    assert "see: aecore train --help" in said.err


def test_a_missing_argument_is_named(cli):
    said = cli("evaluate")
    assert said.code == 2
    assert "RUN" in said.err


LIGHT = [
    ["--help"],
    ["--version"],
    ["train", "--help"],
    ["plugins", "list"],
    ["plugins", "list", "--json"],
    ["compose", "betavae"],
]


@pytest.mark.parametrize("words", LIGHT, ids=" ".join)
def test_looking_around_imports_neither_torch_nor_numpy_nor_a_plugin(words):
    heavy = (
        "{'torch', 'numpy', 'rich', 'aecore_annealing', 'aecore_betavae', 'aecore_controlvae'} & "
        "set(sys.modules)"
    )
    code = (
        f"import sys; from aecore_cli.__main__ import main; code = main({words!r}); print(code, "
        f"{heavy}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stderr == "0 set()\n"
    assert done.stdout


def test_the_module_runs_as_the_program_does():
    done = subprocess.run(
        [sys.executable, "-m", "aecore_cli", "nonsense"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""


def test_a_shell_completes_verbs_and_plugins(cli, monkeypatch):
    """As the script that --install-completion writes asks for them."""
    monkeypatch.setenv("_AECORE_COMPLETE", "complete_bash")
    for words, found in [("aecore re", "resume"), ("aecore train --plugin cyc", "cyclical")]:
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        assert found in cli().out.split()
