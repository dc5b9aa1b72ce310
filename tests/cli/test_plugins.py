"""``aecore plugins`` and ``aecore compose``, with plugins that are whole, broken, doubled, or not
there.
"""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint, entry_points

import pytest

MANIFEST = """
[{name}]
summary = "A plugin of the tests"
api = "{api}"
hooks = ["beta_schedule"]
"""
UNKNOWN = """
[far_away]
distribution = "aecore-far-away"
install = "pip install aecore-far-away"
summary = "Known to the registry alone"
hooks = ["kl_penalty"]
"""


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """Installed plugins of every kind, and one that is only known."""
    broken = {
        "raises": (">=1", "raise ImportError('no module named dragons')"),
        "from_the_future": (">=7", ""),
        "without_manifest": (None, ""),
    }
    points = [
        point
        for point in entry_points(group="aecore.plugins")
        if point.name in {"vae", "controlvae", "betavae"}
    ]
    for name, (api, code) in broken.items():
        package = tmp_path / "site" / f"zoo_{name}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(code)
        if api:
            (package / "plugin.toml").write_text(MANIFEST.format(name=name, api=api))
        points.append(EntryPoint(name, f"zoo_{name}:Method", "aecore.plugins"))
    (tmp_path / "registry.toml").write_text(UNKNOWN)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr("aecore.catalogue.entry_points", lambda group: points)
    monkeypatch.setattr("aecore.catalogue.registry_path", lambda: tmp_path / "registry.toml")


def statuses(said):
    return {plugin["name"]: plugin["status"] for plugin in json.loads(said.out)}


def test_list_names_the_status_of_each_without_importing(cli, zoo):
    assert statuses(cli("plugins", "list", "--json")) == {
        "betavae": "ok",
        "controlvae": "ok",
        "from_the_future": "incompatible",
        "raises": "ok",
        "vae": "ok",
        "without_manifest": "broken",
        "far_away": "not installed",
    }


def test_list_load_shows_what_an_import_raises(cli, zoo):
    said = cli("plugins", "list", "--load")
    assert said.code == 0
    rows = {line.split()[0]: line for line in said.out.splitlines() if line.strip()}
    assert rows["raises"].endswith("broken")
    assert "raises: the plugin 'raises'" in said.out
    assert said.out.endswith("aecore plugins info NAME explains\n")


def test_list_is_aligned_and_whole_in_a_pipe(cli):
    head, *rows = cli("plugins", "list").out.splitlines()
    assert head.split() == ["name", "version", "hooks", "paper", "status"]
    column = head.index("status")
    assert all(row[column:] == "ok" for row in rows)
    assert "ICML 2020" in next(row for row in rows if row.startswith("controlvae"))


def test_info_shows_paper_hooks_and_settings(cli):
    said = cli("plugins", "info", "controlvae")
    assert said.code == 0
    for text in (
        "https://arxiv.org/abs/2004.05988",
        "beta_schedule (owner)",
        "kl batch or better",
        "set point of the raw KL",
    ):
        assert text in said.out
    row = next(line for line in said.out.splitlines() if line.startswith("target_kl"))
    assert row.split()[:5] == ["target_kl", "float", "3.0", ">", "0"]


def test_info_json_holds_the_settings(cli):
    found = json.loads(cli("plugins", "info", "controlvae", "--json").out)
    assert found["paper"]["year"] == 2020
    assert found["settings"][0]["name"] == "target_kl"
    assert found["settings"][0]["default"] == 3.0


def test_info_of_the_defaults(cli):
    said = cli("plugins", "info", "vae")
    assert said.code == 0
    assert "posterior gaussian" in said.out
    assert "part of every run" in said.out


@pytest.mark.parametrize(
    ("name", "due"),
    [
        ("raises", "ImportError: no module named dragons"),
        ("from-the-future", "it is written for API >=7"),
        ("without_manifest", "has no plugin.toml"),
        ("far-away", "pip install aecore-far-away"),
    ],
)
def test_info_explains_what_cannot_be_used(cli, zoo, name, due):
    said = cli("plugins", "info", name)
    assert said.code == 0
    assert due in said.out
    assert "Traceback" not in said.out + said.err
    assert "aecore train" not in said.out


def test_info_of_an_unknown_plugin(cli):
    said = cli("plugins", "info", "control-va")
    assert said.code == 2
    assert "Did you mean 'controlvae'?" in said.err


def test_a_broken_plugin_breaks_nothing_else(cli, zoo):
    assert cli("compose", "controlvae").code == 0
    assert cli("compose", "raises", "--set", "train.epochs=1").code == 2


def test_compose_names_who_answers(cli):
    said = cli("compose", "controlvae")
    rows = [line.split() for line in said.out.splitlines()]
    assert ["beta_schedule", "owner", "controlvae"] in rows
    assert ["kl_term", "owner", "vae"] in rows
    assert ["kl_penalty", "chain", "-"] in rows
    assert ["kl", "dimension", "vae"] in rows
    assert "batches: bucketed" in said.out


def test_compose_with_settings_reads_them(cli):
    found = json.loads(
        cli("compose", "controlvae", "--set", "controlvae.target_kl=5", "--json").out
    )
    assert found["plugins"] == ["controlvae"]
    assert found["hooks"]["beta_schedule"] == ["controlvae"]
    assert found["levels"]["objective_gradient"] == ["decoder", "encoder"]
    said = cli("compose", "controlvae", "--set", "controlvae.target_kl=-5")
    assert said.code == 2
    assert "controlvae.target_kl = -5" in said.err


def test_compose_refuses_with_the_nearest_that_works(cli):
    said = cli("compose", "betavae", "controlvae", "--json")
    assert said.code == 2
    assert said.out == ""
    assert "both own beta_schedule" in said.err
    assert "works: --plugin betavae" in said.err


def test_compose_the_defaults(cli):
    found = json.loads(cli("compose", "vae", "--json").out)
    assert found["plugins"] == []
    assert set(found["given_by"].values()) == {"vae"}
