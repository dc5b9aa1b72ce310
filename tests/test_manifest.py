"""plugin.toml: what it may say, and what it may not."""

import importlib
import re
import time
import tomllib
from pathlib import Path

import pytest

from aecore.hookspec import HOOKS
from aecore.manifest import (
    GIVEN_BY,
    LEVELS,
    MEANINGS,
    Capabilities,
    ManifestError,
    parse_manifest,
    read_manifest,
)

PLAIN = {"summary": "s", "api": ">=1,<2", "hooks": ["beta_schedule"]}
KL = {"kl": "penalty", "kl_estimator": "penalty", "kl_gradient": []}


def problems(table):
    with pytest.raises(ManifestError) as caught:
        parse_manifest(table, "x", "plugin.toml")
    return caught.value


def test_a_plain_manifest():
    manifest = parse_manifest(PLAIN, "x", "plugin.toml")
    assert (manifest.hooks, manifest.batching, manifest.select_on, manifest.compatible) == (
        ("beta_schedule",),
        "bucketed",
        "objective",
        True,
    )
    assert manifest.provides.stated() == {}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"hooks": ["klterm"]},
            "hooks.0 = 'klterm': no hook is called 'klterm'. Did you mean 'kl_term'?",
        ),
        ({"api": "one"}, "api = 'one': 'one' is no range of API numbers, such as '>=1,<2'"),
        (
            {"hook": "red"},
            "hook = 'red': it is unknown. Did you mean 'hooks'? known: summary, api, hooks, "
            "against, paper, provides, requires, batching, couples, data, base, select_on, "
            "published, invariants, exceptions",
        ),
        ({"batching": "random"}, "batching = 'random': input should be 'bucketed' or 'mixed'"),
        (
            {"requires": {"prior": "x"}},
            "requires.prior = 'x': input should be 'samples', 'density' or 'standard'",
        ),
        (
            {"requires": {"kll": "sentence"}},
            "requires.kll = 'sentence': it is unknown. Did you mean 'kl'? known: posterior, prior, "
            "kl, kl_estimator, kl_gradient, objective_gradient, geometry",
        ),
        (
            {"provides": {"kl_gradient": ["critic"]}},
            "provides.kl_gradient.0 = 'critic': input should be 'encoder' or 'prior'",
        ),
        ({"paper": {"title": "t", "venue": "v"}}, "paper.year: field required"),
    ],
)
def test_what_breaks_the_schema_is_named_with_its_place(change, line):
    error = problems({**PLAIN, **change})
    assert str(error) == f"the manifest of 'x' is not valid\n  file: plugin.toml\n  {line}"


def test_missing_keys_are_all_named():
    assert problems({}).evidence == (
        "file: plugin.toml",
        "summary: field required",
        "api: field required",
        "hooks: field required",
    )


def test_a_table_that_is_none():
    assert "it = 3: input should be a valid dictionary" in str(problems(3))


@pytest.mark.parametrize("word", GIVEN_BY)
def test_a_capability_belongs_to_the_owner_of_its_hook(word):
    value = {
        "kl_gradient": ["encoder"],
        "objective_gradient": ["encoder"],
        "geometry": "ball",
        "kl_estimator": "dual",
    }.get(word)
    error = problems({**PLAIN, "provides": {word: value or LEVELS[word][0]}})
    owners = " or ".join(GIVEN_BY[word])
    assert error.what == "the manifest of 'x' contradicts itself"
    assert error.evidence[1:] == (
        f"provides.{word} belongs to the owner of {owners}, which is not among its hooks",
    )


@pytest.mark.parametrize(
    ("hooks", "provides", "line"),
    [
        (
            ["posterior_sample"],
            {},
            "hooks names posterior_sample, so provides.posterior must say what it gives",
        ),
        (
            ["objective"],
            {},
            "hooks names objective, so provides.objective_gradient must say what it gives",
        ),
        (
            ["kl_term"],
            {"kl": "penalty", "kl_gradient": []},
            "hooks names kl_term, so provides.kl_estimator must say what it gives",
        ),
        (
            ["prior_logprob"],
            {"prior": "density"},
            "prior_logprob and prior_sample are owned together",
        ),
        (["prior_sample"], {}, "prior_logprob and prior_sample are owned together"),
        (["kl_term", "kl_term"], KL, "hooks names kl_term more than once"),
    ],
)
def test_hooks_and_capabilities_that_do_not_agree(hooks, provides, line):
    assert problems({**PLAIN, "hooks": hooks, "provides": provides}).evidence[1:] == (line,)


def test_every_contradiction_is_named_at_once():
    error = problems({**PLAIN, "hooks": ["kl_term"], "provides": {"prior": "standard"}})
    assert len(error.evidence) == 1 + 4


@pytest.mark.parametrize(
    ("api", "fits"), [(">=1,<2", True), ("==1", True), (">=2", False), ("<1", False), ("", True)]
)
def test_which_cores_a_plugin_fits(api, fits):
    assert parse_manifest({**PLAIN, "api": api}, "x", "").compatible is fits


def test_an_empty_set_is_said_and_none_is_not():
    assert Capabilities(kl_gradient=frozenset()).stated() == {"kl_gradient": frozenset()}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "'x' has no plugin.toml"),
        (b"[x\n", "the plugin.toml of 'x' cannot be read"),
        (b"summary = '\xff'\n", "the plugin.toml of 'x' cannot be read"),
        (b"[y]\n[z]\n", "plugin.toml has no table [x]"),
    ],
)
def test_files_that_are_none(tmp_path, content, what):
    path = tmp_path / "plugin.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, "x")
    assert caught.value.what == what
    assert str(path) in str(caught.value)
    if what.startswith("plugin.toml"):
        assert "tables: y, z" in caught.value.evidence


def test_the_words_of_the_schema_are_the_levels():
    for word, levels in LEVELS.items():
        for level in levels:
            assert getattr(Capabilities.model_validate({word: level}), word) == level
    assert set(GIVEN_BY) == set(Capabilities.model_fields)
    assert {hook for hooks in GIVEN_BY.values() for hook in hooks} <= set(HOOKS)


def test_the_page_of_the_manifest_is_that_of_the_schema(monkeypatch):
    """docs/manifest.md is written from aecore.manifest: every word, every level and its meaning."""
    root = Path(__file__).parents[1]
    monkeypatch.syspath_prepend(str(root / "tools"))
    written = importlib.import_module("manifest_page").page()
    assert (root / "docs" / "manifest.md").read_text(encoding="utf-8") == written
    for word, levels in LEVELS.items():
        assert list(MEANINGS[word]) == list(levels)
    (name, table), *more = tomllib.loads(re.search(r"```toml\n(.*?)```", written, re.S)[1]).items()
    assert parse_manifest(table, name, "the page").hooks == ("kl_penalty",)
    assert not more


def test_a_list_without_end_is_cut_off_before_it_is_looked_through():
    began = time.monotonic()
    error = problems({**PLAIN, "hooks": ["kl_trem"] * 100_000})
    assert "at most" in str(error)
    assert time.monotonic() - began < 2
