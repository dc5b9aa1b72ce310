"""docs/metrics.md says what `aecore evaluate --json` returns, what a summary holds and what
validation logs.
"""

import json
import re
from pathlib import Path

import pytest

import aecore
from aecore.evaluation.figures import CHEAP, REPORTED

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from support import make_corpus

    data = tmp_path_factory.mktemp("data")
    make_corpus(data)
    settings = {
        "model.embedding": 4,
        "model.hidden": 8,
        "model.latent": 2,
        "evaluate.iw_samples": 3,
        "train.device": "cpu",
    }
    return aecore.train([], str(data), settings, max_steps=2, out=data / "run")


def test_a_section_for_every_key_in_order(run):
    sections = re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE)
    assert list(run.evaluate(limit=4)) == sections == [*REPORTED, "estimators"]


def test_the_page_says_where_each_figure_is_found(run):
    where = PAGE.partition("## Where a figure is found")[2].partition("`nll_iw` decodes")[0]
    cheap, latent, costly = (
        set(re.findall(r"`(\w+)`", row))
        for row in re.findall(r"^\| (`.*?) \|", where, re.MULTILINE)
    )
    assert cheap == set(CHEAP)
    assert cheap | latent | costly == set(REPORTED)
    valid = [row for row in run.metrics() if row["split"] == "valid"][-1]
    assert set(CHEAP) < set(valid)
    assert not (latent | costly) & set(valid)
    summary = json.loads((run.path / "summary.json").read_text())
    assert set(REPORTED) < set(summary)
    assert all(summary[name] is not None for name in (cheap | latent) - {"penalty"})
    assert summary["penalty"] is None
    assert summary["nll_iw"] is summary["ppl_iw"] is summary["estimators"]["nll_iw"] is None


def test_every_figure_has_its_estimator_and_null_has_none(run):
    found = run.evaluate(iw_samples=0)
    assert found["nll_iw"] is found["estimators"]["nll_iw"] is None
    assert all(
        found["estimators"][name]
        for name in ("nll_elbo", "rec", "kl", "mi", "mi_batch", "au", "kl_per_dimension")
    )


def test_the_samples_are_those_of_the_run_unless_given(run):
    assert run.evaluate()["estimators"]["nll_iw"].startswith(
        "importance-weighted, 3 samples of the posterior"
    )
    assert run.evaluate(iw_samples=7)["estimators"]["nll_iw"].startswith(
        "importance-weighted, 7 samples"
    )


def test_a_session_measures_information(run, corpus):
    from support import Joint, build

    found = Joint(build(), corpus).session.evaluate("valid", "mi", "mi_batch", "au")
    assert found["mi"] == pytest.approx(0, abs=1e-3)
    assert found["mi_batch"] == pytest.approx(0, abs=1e-3)
    assert found["au"] == 0


def test_a_session_measures_the_first_sentences(corpus):
    from support import Joint, build

    session = Joint(build(), corpus).session
    first = session.evaluate("valid", "sentences", "rec", limit=4)
    assert first["sentences"] == 4
    assert first["rec"] != session.evaluate("valid", "rec")["rec"]


def test_the_page_has_the_figures_of_a_judge(run, tmp_path):
    page = PAGE.partition("## With a judge")[2]
    named = {
        name
        for row in re.findall(r"^\| (`judge_.*?) \|", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    judge = aecore.train(
        ["lstm_lm"],
        run.config.data.spec,
        {"train.device": "cpu"},
        max_steps=1,
        out=tmp_path / "judge",
    )
    found = aecore.api.evaluate(run.path, judge.path, "cpu", limit=4, iw_samples=0)
    assert {name for name in found if name.startswith("judge_")} == named
    assert list(found)[-1] == "estimators"
    assert set(found["estimators"]) >= {name for name in named if "unknown" not in name}
    theirs = {name for name in named if name.endswith("_transfers")}  # of runs that rewrite
    assert {name for name in named if found[name] is None} == theirs
