"""docs/composing.md says what `compose` decides, and what it says of the pairs that are built is
so.
"""

import json
import re
import tomllib
from itertools import combinations
from pathlib import Path

import pytest
import torch

import aecore
from aecore.assembly import assemble
from aecore.catalogue import Catalogue
from aecore.composition import compose
from aecore.errors import CompositionError

PLUGINS = Path(__file__).parents[1] / "plugins"
PAGE = (Path(__file__).parents[1] / "docs" / "composing.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \+ `(\w+)` \| (built|refused) \| (.+) \|$", PAGE, re.MULTILINE)
NAMES = ["ae", "ae_pretrain", "annealing", "betavae", "controlvae", "cyclical", "free_bits"]
BUILT = [(one, other) for one, other, decided, _ in ROWS if decided == "built"]
TINY = {
    "model.embedding": 4,
    "model.hidden": 6,
    "model.latent": 3,
    "train.device": "cpu",
    "train.log_every": 1,
}


def decide(*names):
    """The composition, or the text of the error that refuses it."""
    catalogue = Catalogue.discover()
    try:
        return compose([catalogue.part(name) for name in names], catalogue.defaults)
    except CompositionError as error:
        return str(error)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from support import make_corpus

    folder = tmp_path_factory.mktemp("data")
    make_corpus(folder)
    return folder


def trained(names, data, out, **settings):
    return aecore.train(names, str(data), {**TINY, **settings}, max_steps=3, out=out)


def rows_of(run):
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


COLUMNS = [
    [{"annealing": {}}, {"betavae": {}}, {"cyclical": {}}],
    [{"controlvae": {}}],
    [{"free_bits": {"mode": "dimension"}}, {"free_bits": {"mode": "kingma"}}],
    [{"free_bits": {"mode": "sentence"}}],
    [{"free_bits": {"mode": "batch"}}],
    [{"ae_pretrain": {}}],
    [{"ae": {}}],
]
METHODS = re.findall(
    r"^\| `(\w+)`(, `learned=true`)? ((?:\| (?:built|refused) ){7})\|$", PAGE, re.MULTILINE
)


@pytest.mark.parametrize(("name", "learned", "cells"), METHODS)
def test_a_method_is_what_the_page_says_under_its_settings(name, learned, cells):
    catalogue, method = Catalogue.discover(), {name: {"learned": True} if learned else {}}
    for decided, others in zip(cells.replace("|", " ").split(), COLUMNS, strict=True):
        for other in others:
            if decided == "built":
                assemble(method | other, catalogue)
                assemble(other | method, catalogue)
            else:
                with pytest.raises(CompositionError, match=f"'{name}'") as caught:
                    assemble(method | other, catalogue)
                assert f"'{next(iter(other))}'" in str(caught.value).splitlines()[0]


def test_every_method_has_a_row():
    owners = {"posterior_sample", "prior_logprob", "before_step"}
    ours = [tomllib.loads(path.read_text()) for path in PLUGINS.glob("*/src/*/plugin.toml")]
    found = {
        name for tables in ours for name, told in tables.items() if owners & set(told["hooks"])
    }
    assert found == {name for name, _, _ in METHODS}


def test_every_pair_has_one_row():
    found = [tuple(sorted(row[:2])) for row in ROWS]
    assert sorted(found) == sorted(combinations(NAMES, 2))


@pytest.mark.parametrize(("one", "other", "decided", "reason"), ROWS)
def test_a_pair_is_what_the_page_says_in_either_order(one, other, decided, reason):
    for names in ((one, other), (other, one)):
        found = decide(*names)
        if decided == "built":
            assert not isinstance(found, str), found
        else:
            assert isinstance(found, str), f"{names} are built"
            assert sorted(re.findall(r"'(\w+)'", found.splitlines()[0])) == sorted(names)
            both = re.fullmatch(r"both own (\w+)", reason)
            assert (f" both own {both[1]}" if both else reason) in found


def test_three_compose_where_every_pair_does():
    built = {frozenset(pair) for pair in BUILT}
    for names in combinations(NAMES, 3):
        fits = all(frozenset(pair) in built for pair in combinations(names, 2))
        assert (not isinstance(decide(*names), str)) == fits, names


@pytest.mark.filterwarnings("ignore:(annealing|cyclical).*:UserWarning")
@pytest.mark.parametrize(("one", "other"), BUILT)
def test_order_makes_no_difference(data, tmp_path, one, other):
    settings = {} if "ae_pretrain" not in (one, other) else {"ae_pretrain.steps": 2}
    runs = [
        trained(names, data, tmp_path / names[0], **settings)
        for names in ([one, other], [other, one])
    ]
    first, second = (run.model.state_dict() for run in runs)
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_controlvae_steers_the_raw_divergence(data, tmp_path):
    settings = {"controlvae.target_kl": 5, "free_bits.target_kl": 6}
    run = trained(["free_bits", "controlvae"], data, tmp_path / "run", **settings)
    rows = [row for row in rows_of(run) if row.get("span") == "window"]
    assert len(rows) == 3
    for row in rows:
        assert row["kl_loss"] == pytest.approx(6, rel=1e-6)  # all of it lies on the floor
        assert row["kl"] < 1
        assert row["controlvae.error"] == pytest.approx(5 - row["kl"], rel=1e-6)


def test_a_floor_above_the_set_point_leaves_beta_without_a_gradient(data, tmp_path):
    settings = {
        "controlvae.beta_min": 0.9,
        "controlvae.target_kl": 1,
        "free_bits.target_kl": 6,
        "train.select": "last",
    }
    free = trained(["controlvae", "free_bits"], data, tmp_path / "free", **settings)
    heavy = trained(
        ["controlvae", "free_bits"],
        data,
        tmp_path / "heavy",
        **{**settings, "controlvae.beta_min": 0.1},
    )
    assert [row["beta"] for row in rows_of(free) if "beta" in row] != [
        row["beta"] for row in rows_of(heavy) if "beta" in row
    ]
    weights = heavy.model.state_dict()
    for name, value in free.model.state_dict().items():
        if not name.startswith("plugins.controlvae") and name != "beta":
            assert torch.equal(value, weights[name]), name


@pytest.mark.filterwarnings("ignore:(annealing|cyclical).*:UserWarning")
@pytest.mark.parametrize(
    ("schedule", "settings", "betas"),
    [
        ("annealing", {"annealing.warmup_steps": 4}, [0, 0.25, 0.5]),
        ("betavae", {"betavae.beta": 0.3}, [0.3] * 3),
        ("cyclical", {"cyclical.cycles": 1, "cyclical.proportion": 1.0}, [0, 1 / 3, 2 / 3]),
    ],
)
def test_a_schedule_begins_after_the_stage(data, tmp_path, schedule, settings, betas):
    run = trained(
        ["ae_pretrain", schedule], data, tmp_path / "run", **settings, **{"ae_pretrain.steps": 5}
    )
    windows = [row for row in rows_of(run) if row.get("span") == "window"]
    assert [row["stage"] for row in windows] == ["autoencoder"] * 5 + ["joint"] * 3
    assert not any("beta" in row for row in windows[:5])
    assert [row["beta"] for row in windows[5:]] == pytest.approx(betas, abs=1e-6)


def test_a_controller_begins_after_the_stage(data, tmp_path):
    settings = {
        "ae_pretrain.steps": 5,
        "ae_pretrain.lr": 0.1,
        "controlvae.ki": 0.01,
        "controlvae.target_kl": 1e-3,
    }
    run = trained(["ae_pretrain", "controlvae"], data, tmp_path / "run", **settings)
    first = next(row for row in rows_of(run) if row["stage"] == "joint")
    assert first["kl"] > 0.01  # left by the stage, in which the integral would have grown
    assert first["controlvae.integral"] == pytest.approx(0.01 * (first["kl"] - 1e-3), rel=1e-5)
