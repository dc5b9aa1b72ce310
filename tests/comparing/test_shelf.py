"""Runs in folders, and two of them side by side."""

import json

import pytest

import aecore
from aecore.comparing.difference import difference
from aecore.comparing.listing import runs_in, shelved
from aecore.errors import RunError
from aecore.runs.files import lock

TINY = {
    "train.max_steps": 3,
    "train.batch_size": 8,
    "train.device": "cpu",
    "model.embedding": 4,
    "model.hidden": 6,
    "model.latent": 3,
    "evaluate.batch_size": 500,
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Runs that differ in seed, plugin, corpus, tokens or estimator, and one that stopped."""
    place = tmp_path_factory.mktemp("shelf")

    def train(name, plugins=(), data="toy[:100]", **settings):
        aecore.train(list(plugins), data, {**TINY, **settings}, out=place / name)

    train("a")
    train("seed", **{"train.seed": 1})
    train("beta", ["betavae"])
    train("ivae", ["ivae"])
    train("ae", ["ae"])
    train("corpus", data="toy[:60]")
    train("char", **{"data.vocabulary": "char"})
    train("deep/below/half")
    (place / "deep/below/half/summary.json").unlink()
    train("bad")
    (place / "bad" / "config.toml").write_text("[train\n")
    (place / "no-run").mkdir()
    return place


def test_every_run_is_listed_with_its_state(shelf):
    found = {str(run.path.relative_to(shelf)): run for run in runs_in([shelf])}
    assert set(found) == {
        *("a", "seed", "beta", "ivae", "ae", "corpus", "char", "bad", "deep/below/half")
    }
    assert found["a"].state == "finished"
    assert found["a"].step == 3
    assert found["a"].figures["nll_elbo"] > 0
    assert found["deep/below/half"].state == "stopped"
    assert found["deep/below/half"].split == "valid"
    assert found["deep/below/half"].figures["nll_elbo"] > 0  # of its last validation
    assert found["bad"].state == "damaged"
    assert "cannot be read" in found["bad"].problem
    assert found["ae"].as_data()["kl"] is None
    with lock(shelf / "deep/below/half"):
        assert shelved(shelf / "deep/below/half").state == "running"


def test_places_that_are_none(shelf):
    with pytest.raises(RunError, match="there is no folder"):
        runs_in([shelf / "nowhere"])
    assert runs_in([shelf / "no-run"]) == []
    with pytest.raises(RunError, match="is no run"):
        difference(shelf / "a", shelf / "no-run")


def reasons(shelf, one, other):
    return {f.name: f.why_not for f in difference(shelf / one, shelf / other).figures}


def test_a_seed_is_chance_and_everything_may_be_compared(shelf):
    found = difference(shelf / "a", shelf / "seed")
    assert found.settings == {"train.seed": (0, 1)}
    assert {figure.why_not for figure in found.figures} == {""}
    assert found.remarks == ["they differ in the seed alone: what is between them is chance"]


def test_a_plugin_and_its_settings_are_a_difference(shelf):
    found = difference(shelf / "a", shelf / "beta")
    assert found.settings["plugins"] == ("vae", "betavae")
    assert found.settings["betavae.beta"][0] is None
    assert set(reasons(shelf, "a", "beta").values()) == {""}
    assert found.remarks == ["one seed each: a difference may be chance"]


def test_other_corpora_and_tokens_share_no_figure(shelf):
    assert set(reasons(shelf, "a", "corpus").values()) == {"other corpora"}
    assert set(reasons(shelf, "a", "char").values()) == {
        "other tokens: data.vocabulary word and char"
    }


def test_other_estimators_are_said(shelf):
    found = reasons(shelf, "a", "ivae")
    assert found["kl"] == "estimated otherwise: analytic; dual"
    assert found["rec"] == ""
    assert found["nll_elbo"] == "only one has it"
    assert reasons(shelf, "a", "ae")["penalty"] == "only one has it"


def test_an_unfinished_run_has_nothing_to_compare(shelf):
    assert set(reasons(shelf, "a", "deep/below/half").values()) == {
        f"'{shelf / 'deep/below/half'}' is stopped"
    }


def test_the_command_lines(shelf, capsys, monkeypatch):
    from aecore_cli.__main__ import main

    monkeypatch.chdir(shelf)
    assert main(["runs", "."]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:5] == ["run", "plugins", "data", "seed", "state"]
    assert "~: of the last validation, not of test" in lines
    assert any(line.startswith("bad: ") for line in lines)
    assert main(["runs", ".", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 9
    assert main(["diff", "a", "ivae"]) == 0
    out = capsys.readouterr().out
    assert "estimated otherwise: analytic; dual" in out
    assert main(["diff", "a", "ivae", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["figure"]: one["comparable"] for one in found["figures"]}["kl"] is False
    assert main(["diff", "a", "a"]) == 0
    assert "the settings are the same" in capsys.readouterr().out
    assert main(["diff", "a", "nowhere"]) == 2
