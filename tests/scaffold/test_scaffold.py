"""What `aecore plugins new` writes: any hook, alone or with others, makes a plugin that composes,
trains and is clean code.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from support import SIZES, changed, snapshot, trainer_of

from aecore.catalogue import Catalogue, Listing
from aecore.composition import Part, compose
from aecore.errors import AecoreError
from aecore.hookspec import HOOKS
from aecore.manifest import read_manifest
from aecore.model import build_model
from aecore.plugin import check_class
from aecore.scaffold import DEFAULT_HOOKS, create
from aecore.scaffold.naming import Names, ScaffoldError
from aecore.scaffold.render import Draft, imports
from aecore.scaffold.templates import chosen_for, templates
from aecore.streams import Streams
from aecore.testing import Subject, run_checks

ROOT = Path(__file__).parents[2]
PARTS = sorted((ROOT / "aecore" / "scaffold" / "parts").glob("[a-z]*.py"))
ALONE = [(hook,) for hook in HOOKS]
TOGETHER = [
    tuple(HOOKS),
    ("posterior_sample", "prior_logprob"),
    ("prior_sample", "kl_term"),
    ("posterior_sample", "kl_term", "beta_schedule"),
    ("critic_loss", "kl_term", "kl_penalty"),
    ("critic_loss", "extra_loss"),
    ("pre_train_init", "before_step", "corrupt_input"),
    ("decoder_condition", "objective", "kl_penalty"),
]


def catalogue():
    return Catalogue({}, {})


class Written:
    """A plugin that was written into a folder, imported from there."""

    def __init__(self, made):
        self.made = made
        package = f"aecore_{made.name}"
        folder = made.folder / "src"
        self.manifest = read_manifest(folder / package / "plugin.toml", made.name)
        sys.path.insert(0, str(folder))
        try:
            module = importlib.import_module(package)
        finally:
            sys.path.remove(str(folder))
        project = tomllib.loads((made.folder / "pyproject.toml").read_text())["project"]
        target = project["entry-points"]["aecore.plugins"][made.name]
        assert target.partition(":")[0] == package
        self.cls = getattr(module, target.partition(":")[2])

    @property
    def part(self):
        return Part(self.made.name, self.manifest, "test")

    def build(self):
        name = self.made.name
        composition = compose([self.part], catalogue().defaults)
        return build_model(
            composition, {name: self.cls}, {name: self.cls.Config()}, SIZES, Streams(0), (0.0, 0.0)
        )


@pytest.fixture
def write(tmp_path):
    """Write and import a plugin with these hooks."""
    written = []

    def make(*hooks, name="fresh"):
        written.append(name)
        return Written(create(name, hooks, tmp_path, catalogue()))

    yield make
    for name in written:
        sys.modules.pop(f"aecore_{name}", None)


@pytest.mark.parametrize("hooks", [*ALONE, *TOGETHER], ids="-".join)
def test_it_keeps_the_contract_and_trains(write, corpus, tmp_path, hooks):
    found = write(*hooks)
    assert set(hooks) <= set(found.manifest.hooks)
    check_class(found.cls, "fresh", "test", found.manifest)
    model = found.build()
    before = snapshot(model)
    trainer = trainer_of(model, corpus, tmp_path / "run", select="last", max_steps=2)
    trainer.run()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert all(math.isfinite(summary[name]) for name in ("rec", "kl"))
    still = set(before) - changed(before, model)
    free = {"kl_penalty", "prior_logprob"} <= set(hooks)  # below the floor nothing moves the prior
    assert not still or (
        free and {name.rpartition(".")[2] for name in still} == {"prior_mean", "prior_log_scale"}
    )


def failures(found):
    results = run_checks(Subject("fresh", found.cls, found.manifest, {}, "test"))
    return [result.message for result in results if result.status == "failed"]


@pytest.mark.verify
def test_the_kit_passes_where_every_hook_is_used(write):
    found = write(*HOOKS)
    assert failures(found) == []
    assert not found.manifest.exceptions


@pytest.mark.verify
@pytest.mark.parametrize("hooks", [*ALONE, *TOGETHER[1:]], ids="-".join)
def test_the_kit_passes(write, hooks):
    assert failures(write(*hooks)) == []


@pytest.mark.parametrize("file", PARTS, ids=lambda file: file.stem)
def test_the_numbers_of_a_template_hold(file):
    module = importlib.import_module(f"aecore.scaffold.parts.{file.stem}")
    numbers = [run for name, run in vars(module).items() if name.startswith("test_")]
    assert numbers
    for run in numbers:
        cases = [mark.args[1] for mark in getattr(run, "pytestmark", ())] or [[()]]
        for case in cases[0]:
            run(*case)


@pytest.mark.parametrize("file", PARTS, ids=lambda file: file.stem)
def test_a_plugin_of_one_template_is_its_code(file):
    """Nothing is lost or moved when a template is cut and put together again."""
    source = file.read_text()
    (template,) = [part for part in templates() if part.methods in source]
    files = Draft(Names("method"), chosen_for(template.hooks)).files()
    settings = '"""Settings; `aecore plugins info method` shows them."""'
    found = files["src/aecore_method/__init__.py"].replace(settings, '"""Settings."""')
    code = source[source.index("class Method") :]
    assert (
        found[found.index("class Method") :].rstrip() == code[: code.index("def method")].rstrip()
    )
    tests = code[code.index("def method") :].partition("\n\n\n")[2]
    assert files["tests/test_method.py"].endswith(f"\n\n\n{tests}")


def test_the_code_is_clean(tmp_path):
    """By ruff's defaults and more, and by mypy's strictest, whatever the hooks and however long the
    name.
    """
    folders = [create(f"only_{hook}", [hook], tmp_path, catalogue()).folder for hook in HOOKS]
    folders += [
        create(name, hooks, tmp_path, catalogue()).folder
        for name, hooks in (("a", TOGETHER[-1]), ("every", HOOKS))
    ]
    for words in (
        ["check", "--select", "E,F,W,I,UP,B,C4,SIM,PT,N", "--ignore", "N812"],
        ["format", "--diff"],
    ):
        for folder in folders:  # one by one: where it runs decides which imports are its own
            command = [
                sys.executable,
                "-m",
                "ruff",
                words[0],
                "--quiet",
                "--no-cache",
                "--isolated",
                *words[1:],
                ".",
            ]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.verify
def test_its_types_are_strict(tmp_path):
    source = create("every", HOOKS, tmp_path, catalogue()).folder / "src"
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--follow-imports=silent",
        str(source),
    ]
    cache = os.environ | {
        "MYPYPATH": str(ROOT),
        "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache" / "scaffold"),
    }
    done = subprocess.run(command, cwd=tmp_path, env=cache, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# What comes along, and what it needs


def test_a_hook_brings_the_one_it_cannot_do_without(tmp_path):
    made = create("fresh", ["prior_logprob", "critic-loss"], tmp_path, catalogue())
    assert made.hooks == ("prior_logprob", "prior_sample", "critic_loss", "extra_loss")
    assert set(made.added) == {"prior_sample", "extra_loss"}
    assert all(made.added.values())


def test_the_default_is_one_hook_and_one_setting(write):
    found = write()
    assert found.manifest.hooks == DEFAULT_HOOKS
    (setting,) = found.cls.Config.model_fields.values()
    assert setting.description


def test_what_the_plugin_gives_itself_is_not_required_of_others(write):
    kl = write("kl_term", name="priced").manifest
    both = write("kl_term", "posterior_sample", name="drawn").manifest
    assert kl.requires.stated() == {"posterior": "density", "prior": "density"}
    assert both.requires.stated() == {"prior": "density"}
    assert both.provides.posterior == "gaussian"


def test_every_hook_has_a_worked_method():
    assert {hook for part in templates() for hook in part.hooks} == set(HOOKS)


def test_a_floor_under_the_divergence_by_hand(write):
    floor = write().cls(write(name="other").cls.Config(free_nats=2.0), SIZES)
    assert floor.kl_penalty(torch.tensor([[0.5, 0.5], [2.0, 1.0]])).tolist() == [[2.0], [3.0]]


# Names


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Floor", "[a-z]"),
        ("9lives", "[a-z]"),
        ("", "[a-z]"),
        ("a b", "[a-z]"),
        ("../up", "[a-z]"),
        ("ends-", "not ending in _"),
        ("x" * 41, "at most 40"),
        ("train", "word of aecore"),
        ("cli", "word of aecore"),
        ("controlvae", "installed here"),
        ("vae", "installed here"),
    ],
)
def test_a_name_that_cannot_be(tmp_path, name, words):
    with pytest.raises(ScaffoldError) as raised:
        create(name, (), tmp_path)
    assert words in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_a_registry_lists(tmp_path):
    listed = Listing(distribution="aecore-known", install="pip install aecore-known", summary="")
    with pytest.raises(ScaffoldError, match="pip install aecore-known"):
        create("known", (), tmp_path, Catalogue({}, {"known": listed}))


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("my_idea", "MyIdea"),
        ("x2", "X2"),
        ("stage", "StageMethod"),
        ("none", "NoneMethod"),
        ("method", "Method"),
    ],
)
def test_the_name_of_the_class(name, cls):
    assert Names(name).cls == cls


@pytest.mark.parametrize("name", ["stage", "none", "config", "method", "tensor", "field", "self"])
def test_a_name_that_the_code_uses_is_no_trouble(write, corpus, tmp_path, name):
    found = write(name=name)
    check_class(found.cls, name, "test", found.manifest)


# Hooks and folders


def test_an_unknown_hook_gets_the_closest(tmp_path):
    with pytest.raises(ScaffoldError, match="Did you mean 'kl_penalty'") as raised:
        create("fresh", ["kl_penalti"], tmp_path, catalogue())
    assert "beta_schedule" in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_nothing_is_overwritten(tmp_path, kind):
    there = tmp_path / "aecore-fresh"
    {
        "folder": there.mkdir,
        "file": there.touch,
        "link": lambda: there.symlink_to(tmp_path / "nowhere"),
    }[kind]()
    with pytest.raises(ScaffoldError, match="exists already"):
        create("fresh", (), tmp_path, catalogue())
    assert not there.is_dir() or list(there.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(self, *_, **__):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OSError, match="No space left"):
        create("fresh", (), tmp_path, catalogue())
    assert list(tmp_path.iterdir()) == []


def test_a_broken_registry_is_said_before_anything_is_written(tmp_path, monkeypatch):
    (tmp_path / "broken.toml").write_text("x = [")
    monkeypatch.setenv("AECORE_REGISTRY", str(tmp_path / "broken.toml"))
    with pytest.raises(AecoreError, match="the registry cannot be read"):
        create("fresh", (), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_imports_are_laid_out():
    offered = [line for part in templates() for line in part.imports]
    used = "math.pi, Tensor, nn, F, END, UNKNOWN, hookimpl, Plugin, pytest"
    assert list(imports(offered, used)) == [
        "from __future__ import annotations",
        "",
        "import math",
        "",
        "import pytest",
        "from aecore import Plugin, hookimpl",
        "from aecore.batch import END, UNKNOWN",
        "from torch import Tensor, nn",
        "from torch.nn import functional as F",
    ]
