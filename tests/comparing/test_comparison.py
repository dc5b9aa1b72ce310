"""Methods side by side: seeds are one method, and what may not share a table does not."""

import json

import pytest

import aecore
from aecore.comparing.comparison import Column, compare
from aecore.errors import ConfigError, RunError
from aecore.runs.checkpoint import load_tensors

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
    place = tmp_path_factory.mktemp("shelf")

    def train(name, plugins=(), data="toy[:100]", limit=60, **settings):
        run = aecore.train(list(plugins), data, {**TINY, **settings}, out=place / name)
        aecore.api.evaluate(run.path, split="test", limit=limit, iw_samples=0, save=True)

    train("a0")
    train("a1", **{"train.seed": 1})
    train("b0", ["betavae"], **{"betavae.beta": 0.1})
    train("b1", ["betavae"], **{"betavae.beta": 0.1, "train.seed": 1})
    train("c0", ["betavae"], **{"betavae.beta": 0.9})
    train("ivae", ["ivae"])
    train("corpus", data="toy[:60]")
    train("few", limit=50)
    aecore.train([], "toy[:100]", TINY, out=place / "unsaved")
    return place


def test_runs_of_other_seeds_are_one_method(shelf):
    found = compare([shelf / name for name in ("a0", "b0", "a1", "b1", "c0")])
    assert [(method.name, len(method.runs)) for method in found.methods] == [
        ("vae", 2),
        ("betavae betavae.beta=0.1", 2),
        ("betavae betavae.beta=0.9", 1),
    ]
    assert [column.figure for column in found.columns] == ["nll_elbo", "rec", "kl"]
    assert found.sentences == 60
    assert len(found.pairs) == 3 * 3
    column = found.columns[0]
    energies = [
        load_tensors(shelf / name / "evaluation-test.safetensors")[0] for name in ("a0", "a1")
    ]
    due = sum(float(one["nll_elbo"].double().mean()) for one in energies) / 2
    cell = found.cells["vae", column]
    assert cell.mean == pytest.approx(due)
    assert cell.low < due < cell.high
    assert found.remarks[0].startswith("one seed alone: betavae betavae.beta=0.9")
    for pair in found.pairs:
        assert pair.p_holm >= pair.contrast.p


def test_other_estimators_are_other_columns(shelf):
    found = compare([shelf / "a0", shelf / "ivae"])
    kl = [column for column in found.columns if column.figure == "kl"]
    assert kl == [Column("kl", "analytic")]  # the dual is of a batch, and no sentence has its own
    assert ("ivae", kl[0]) not in found.cells
    assert any("kl, analytic: not of ivae" in line for line in found.remarks)
    assert [pair.column.figure for pair in found.pairs] == ["rec"]


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        (["a0"], ConfigError, "a comparison is of two runs or more"),
        (["a0", "a0"], ConfigError, "is named twice"),
        (["a0", "corpus"], ConfigError, "are of other corpora or tokens"),
        (["a0", "few"], ConfigError, "are of 60 and 50 sentences"),
        (["a0", "unsaved"], RunError, "has no energies of single sentences"),
        (["a0", "nowhere"], RunError, "there is no run"),
    ],
)
def test_what_may_not_be_compared(shelf, names, kind, message):
    with pytest.raises(kind, match=message):
        compare([shelf / name for name in names])


def test_the_command_line(shelf, capsys, monkeypatch):
    from aecore_cli.__main__ import main

    monkeypatch.chdir(shelf)
    assert main(["compare", "a0", "a1", "b0", "--draws", "200"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split()[:3] == ["method", "seeds", "nll_elbo"]
    assert "kl (analytic)" in out
    assert "could have shown" in out
    assert main(["compare", "a0", "b0", "--json", "--draws", "200"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in found["methods"]] == ["vae", "betavae"]
    assert main(["compare", "a0", "b0", "--markdown", "--draws", "200"]) == 0
    assert "| method | seeds | nll_elbo" in capsys.readouterr().out
    assert main(["compare", "a0", "b0", "--latex", "--draws", "200"]) == 0
    tex = capsys.readouterr().out
    assert r"nll\_elbo (single-sample bound" in tex
    assert tex.rstrip().endswith(r"\end{tabular}")
    assert main(["compare", "a0", "b0", "--latex", "--json"]) == 2
    assert main(["compare", "a0", "unsaved"]) == 2
    assert "aecore evaluate unsaved --split test --save" in capsys.readouterr().err
