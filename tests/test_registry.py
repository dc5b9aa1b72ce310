"""Registries of one's own, and plugins that are broken in every way: they are listed, explained,
and disturb nobody.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from aecore.catalogue import Catalogue, hook_kinds
from aecore.errors import CompositionError
from aecore.manifest import ManifestError
from aecore.registries import Registries, read_registry, registry_path
from aecore_cli.__main__ import main

LISTING = """
[{name}]
distribution = "{distribution}"
install = "pip install {distribution}"
summary = "Known to a lab"
hooks = ["kl_penalty", "hook_of_the_future"]
paper = {{ title = "Far Away", venue = "ICML", year = 2027, url = "https://example.org/far" }}
"""
MANIFEST = """
[{name}]
summary = "A schedule"
api = "{api}"
hooks = ["beta_schedule"]
"""
MODULE = """
from aecore import Plugin, hookimpl


class Method(Plugin):
    @hookimpl
    def beta_schedule(self):
        return 0.5
"""


def listing(path, name="far_away", distribution="aecore-far-away"):
    """A registry with one plugin."""
    path.write_text(LISTING.format(name=name, distribution=distribution))
    return path


@pytest.fixture
def say(capsys, tmp_path, monkeypatch):
    """A command line in an empty folder: its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


# Registries


def test_the_environment_and_the_caller_name_further_ones(tmp_path, monkeypatch):
    one, two = listing(tmp_path / "one.toml", "one"), listing(tmp_path / "two.toml", "two")
    three = listing(tmp_path / "three.toml", "three")
    monkeypatch.setenv("AECORE_REGISTRY", os.pathsep.join([str(one), "", str(two)]))
    found = Catalogue.discover([three])
    assert {"betavae", "one", "two", "three"} <= set(found.known)
    assert found.registries.origins["one"] == one
    assert found.registries.origins["three"] == three
    assert found.registries.origins["betavae"] == registry_path()
    assert found.registries.warnings() == []


def test_a_name_that_is_listed_twice_is_reported_and_the_first_counts(tmp_path):
    one = listing(tmp_path / "one.toml", "betavae", "other-betavae")
    two, three = (listing(tmp_path / f"{n}.toml", "new", f"aecore-{n}") for n in ("two", "three"))
    found = Registries.read(registry_path(), [one, two, three, two])
    assert found.listings["betavae"].distribution == "aecore-betavae"
    assert found.listings["new"].distribution == "aecore-two"
    assert found.warnings() == [
        f"'betavae' is listed twice: {registry_path()} counts, {one} does not",
        f"'new' is listed twice: {two} counts, {three} does not",
    ]


def test_the_same_entry_in_two_files_is_no_conflict(tmp_path):
    one, two = listing(tmp_path / "one.toml"), listing(tmp_path / "two.toml")
    assert Registries.read(registry_path(), [one, two]).warnings() == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = [", "the registry cannot be read"),
        ("[far]\nsummary = 'x'\n", "far.distribution: field required"),
        (LISTING.format(name="Far", distribution="d"), "'Far' is no name for a plugin"),
        (LISTING.format(name="train", distribution="d"), "'train' is a section of config.toml"),
        (
            LISTING.format(name="a-b", distribution="d")
            + LISTING.format(name="a_b", distribution="d"),
            "with - and with _",
        ),
    ],
)
def test_a_broken_one_is_one_readable_error(tmp_path, text, reason):
    path = tmp_path / "theirs.toml"
    path.write_text(text)
    with pytest.raises(ManifestError) as raised:
        read_registry(path)
    assert reason in str(raised.value)
    assert f"file: {path}" in str(raised.value)


def test_one_that_is_not_there_is_an_error_where_it_was_named(tmp_path):
    found = Registries.read(tmp_path / "ours.toml", [tmp_path / "theirs.toml"])
    assert [problem.what for problem in found.problems] == ["the registry is not there"]
    with pytest.raises(ManifestError):
        found.require()


def test_dashes_in_a_registry_are_underscores(tmp_path):
    assert set(read_registry(listing(tmp_path / "r.toml", "far-away"))) == {"far_away"}


def test_hooks_of_a_later_api_are_shown():
    assert hook_kinds(("kl_penalty", "hook_of_the_future")) == [
        "kl_penalty (chain)",
        "hook_of_the_future (not in API 1)",
    ]


# Registries on the command line


def test_a_known_plugin_is_listed_and_explained(say, tmp_path):
    path = listing(tmp_path / "lab.toml")
    code, out, err = say("plugins", "list", "--registry", path)
    assert (code, err) == (0, "")
    (line,) = (line for line in out.splitlines() if line.startswith("far_away"))
    assert line.split()[-4:] == ["ICML", "2027", "not", "installed"]
    code, out, _ = say("plugins", "info", "far-away", "--registry", path)
    assert code == 0
    for text in (
        "aecore-far-away",
        "pip install aecore-far-away",
        str(path),
        "Far Away",
        "kl_penalty (chain)",
    ):
        assert text in out


def test_the_environment_counts_for_every_command(say, tmp_path, monkeypatch):
    monkeypatch.setenv("AECORE_REGISTRY", str(listing(tmp_path / "lab.toml")))
    _, out, _ = say("plugins", "list", "--json")
    assert next(plugin for plugin in json.loads(out) if plugin["name"] == "far_away")[
        "registry"
    ] == str(tmp_path / "lab.toml")
    for words in (
        ("train", "--plugin", "far_away"),
        ("compose", "far_away"),
        ("plugins", "check", "far_away"),
    ):
        code, out, err = say(*words)
        assert (code, out) == (2, "")
        assert "try: pip install aecore-far-away" in err


def test_train_and_compose_take_one_as_an_option(say, tmp_path):
    path = listing(tmp_path / "lab.toml")
    for words in (("train", "--plugin", "far_away"), ("compose", "far_away")):
        assert "try: pip install" not in say(*words)[2]
        assert "try: pip install aecore-far-away" in say(*words, "--registry", path)[2]


def test_a_broken_registry_is_a_warning_where_it_is_not_needed(say, tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("x = [")
    code, out, err = say("plugins", "list", "--registry", path)
    assert code == 0
    assert "controlvae" in out
    assert err.count("\n") == 1
    assert err.startswith("warning: the registry cannot be read; file: ")
    assert say("compose", "controlvae", "--registry", path)[::2] == (0, "")
    assert say("plugins", "info", "controlvae", "--registry", path)[::2] == (0, "")


def test_a_broken_registry_is_an_error_where_the_name_may_be_in_it(say, tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("x = [")
    for words in (
        ("compose", "far_away"),
        ("plugins", "info", "far_away"),
        ("train", "--plugin", "far_away"),
    ):
        code, _, err = say(*words, "--registry", path)
        assert code == 2
        assert err.count("error: ") == 1
        assert "no plugin is called 'far_away'" in err
        assert f"file: {path}" in err
    code, _, err = say("plugins", "new", "far_away", "--registry", path)
    assert code == 2
    assert err.startswith("error: the registry cannot be read")


def test_a_conflict_is_said_where_plugins_are_listed(say, tmp_path):
    path = listing(tmp_path / "lab.toml", "betavae", "other-betavae")
    assert "listed twice" in say("plugins", "list", "--registry", path)[2]
    assert say("plugins", "info", "betavae", "--registry", path)[2] == ""


# Broken plugins


@pytest.fixture
def zoo(site):
    """One distribution of every broken kind, and a good one."""
    good = {
        "package": "zoo_good",
        "module": MODULE,
        "manifest": MANIFEST.format(name="good", api=">=1,<2"),
    }
    site.add("zoo-good", {"good": "zoo_good:Method"}, **good)
    site.add("zoo-gone", {"gone": "zoo_gone:Method"})
    site.add(
        "zoo-bad",
        {"bad": "zoo_bad:Method"},
        package="zoo_bad",
        module=MODULE,
        manifest="[bad]\nhooks = 3\n",
    )
    for number in (1, 2):
        package = f"zoo_twice{number}"
        manifest = MANIFEST.format(name="twice", api=">=1,<2")
        site.add(
            f"zoo-twice{number}",
            {"twice": f"{package}:Method"},
            package=package,
            module=MODULE,
            manifest=manifest,
        )
    future = MANIFEST.format(name="future", api=">=2")
    site.add(
        "zoo-future",
        {"future": "zoo_future:Method"},
        package="zoo_future",
        module=MODULE,
        manifest=future,
    )
    for name, module in {
        "raises": "import dragons",
        "exits": "raise SystemExit(3)",
        "quiet": "class Method: pass",
    }.items():
        manifest = MANIFEST.format(name=name, api=">=1,<2")
        site.add(
            f"zoo-{name}",
            {name: f"zoo_{name}:Method"},
            package=f"zoo_{name}",
            module=module,
            manifest=manifest,
        )
    nonsense = site.path / "zoo_nonsense-1.0.dist-info"
    nonsense.mkdir()
    (nonsense / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-nonsense\nVersion: 1.0\n")
    (nonsense / "entry_points.txt").write_text("[aecore.plugins]\nno equals sign\n")
    nameless = site.path / "zoo_nameless-1.0.dist-info"
    nameless.mkdir()
    (nameless / "entry_points.txt").write_text("[aecore.plugins]\nnameless = zoo_nameless:Method\n")
    return site


STATUS = {
    "good": ("ok", "ok"),
    "gone": ("broken", "broken"),
    "bad": ("broken", "broken"),
    "twice": ("duplicate", "duplicate"),
    "future": ("incompatible", "incompatible"),
    "raises": ("ok", "broken"),
    "exits": ("ok", "broken"),
    "quiet": ("ok", "broken"),
    "zoo_nonsense": ("broken", "broken"),
    "nameless": ("broken", "broken"),
}


@pytest.mark.parametrize("load", [False, True])
def test_each_is_listed_with_its_status(say, zoo, load):
    code, out, err = say("plugins", "list", "--json", *(["--load"] if load else []))
    assert (code, err) == (0, "")
    found = {plugin["name"]: plugin["status"] for plugin in json.loads(out)}
    assert {name: found[name] for name in STATUS} == {
        name: status[load] for name, status in STATUS.items()
    }
    assert {"vae", "betavae", "controlvae"} <= set(found)
    assert all(found[name] == "ok" for name in ("vae", "betavae", "controlvae"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone", "the package 'zoo_gone' cannot be found"),
        ("bad", "summary: field required"),
        ("twice", "claimed by zoo-twice1 1.0, zoo-twice2 1.0: uninstall all but one"),
        ("future", "it is written for API >=2"),
        ("raises", "ModuleNotFoundError: No module named 'dragons'"),
        ("exits", "SystemExit: 3"),
        ("quiet", "is no plugin class"),
        ("zoo-nonsense", "the entry_points.txt of zoo-nonsense cannot be read"),
        ("nameless", "the package 'zoo_nameless' cannot be found"),
    ],
)
def test_info_explains_each(say, zoo, name, words):
    code, out, err = say("plugins", "info", name)
    assert code == 0, err
    assert words in out
    assert "Traceback" not in out + err


@pytest.mark.parametrize("name", [name for name, status in STATUS.items() if status[1] != "ok"])
def test_each_is_refused_where_it_is_used(say, zoo, name):
    code, _, err = say("compose", name, "--set", f"{name}.x=1")
    assert code == 2
    assert name in err
    assert "Traceback" not in err


def test_the_others_work(say, zoo):
    assert say("compose", "controlvae", "good")[0] == 2  # both own beta_schedule
    assert say("compose", "good")[0] == 0
    assert say("plugins", "info", "controlvae")[0] == 0
    limits = (
        "--max-steps",
        "2",
        "--set",
        "train.batch_size=8",
        "--set",
        "evaluate.batch_size=500",
        "--device",
        "cpu",
    )
    code, _, err = say("train", "--plugin", "good", *limits, "--out", "run")
    assert code == 0, err
    assert Catalogue.discover().load("good").__name__ == "Method"


def test_a_missing_one_is_explained_among_broken_ones(zoo):
    with pytest.raises(CompositionError, match="no plugin is called 'goodly'"):
        Catalogue.discover().entry("goodly")


def test_listing_stays_quick_and_light(zoo):
    heavy = "{'torch', 'numpy', 'zoo_good', 'zoo_raises'} & set(sys.modules)"
    code = (
        f"import sys; from aecore_cli.__main__ import main; main(['plugins', 'list']); "
        f"print({heavy}, file=sys.stderr)"
    )
    environment = {
        name: value for name, value in os.environ.items() if name != "PYDANTIC_DISABLE_PLUGINS"
    }
    taken = []
    for _ in range(3):
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment | {"PYTHONPATH": str(zoo.path)},
            check=True,
        )
        after = os.times()
        taken.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    assert done.stderr == "set()\n"
    assert done.stdout.count("\n") > len(STATUS)
    assert min(taken) < 1.5  # CPU seconds; 0.3 on an idle machine


def test_one_bad_entry_costs_no_other(tmp_path):
    path = tmp_path / "theirs.toml"
    one, two, three = (LISTING.format(name=n, distribution="d") for n in ("one", "two", "three"))
    path.write_text(one + re.sub("paper = .*", "paper = 'ICML 2017'", two) + three)
    found = Registries.read(tmp_path / "none.toml", [path])
    assert list(found.listings) == ["one", "three"]
    (warning,) = found.warnings()
    assert warning.startswith(f"the registry is not valid; file: {path}; two.paper = 'ICML 2017'")


def test_a_relative_name_says_where_it_was_looked_for(tmp_path, monkeypatch):
    listing(tmp_path / "lab.toml", "new")
    monkeypatch.setenv("AECORE_REGISTRY", "lab.toml")
    monkeypatch.chdir(tmp_path)
    assert "new" in Registries.read(registry_path()).listings
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    (problem,) = Registries.read(registry_path()).problems
    assert f"looked at: {tmp_path / 'else' / 'lab.toml'}" in str(problem)
