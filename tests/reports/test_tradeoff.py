"""tradeoff.svg: what tells runs apart, what is drawn, and what cannot share a figure."""

import xml.etree.ElementTree as ET

import pytest

import aecore
from aecore import api
from aecore.errors import CompositionError, ConfigError
from aecore.reports.tradeoff import Point, differing, draw

SVG = "{http://www.w3.org/2000/svg}"
QUICK = {"train.max_steps": 4}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    aecore.train(["ae"], "toy[:5%]", {"train.max_steps": 30}, out=folder / "ae")
    for style in (0.1, 0.9):
        settings = {
            "emb2emb.autoencoder": str(folder / "ae"),
            "emb2emb.supervision": "labels",
            "emb2emb.style": style,
            "emb2emb.style_epochs": 1.0,
        }
        out = folder / f"style{style}"
        aecore.train(["emb2emb"], "toy:labelled[:5%]", {**settings, **QUICK}, out=out)
    aecore.train(
        ["emb2emb"],
        "toy:pairs[:5%]",
        {"emb2emb.autoencoder": str(folder / "ae"), **QUICK},
        out=folder / "pairs",
    )
    return folder


def test_runs_are_told_apart_by_their_settings(runs, tmp_path):
    paths = [runs / "style0.1", runs / "style0.9"]
    assert differing([aecore.load(path).config for path in paths]) == [
        "emb2emb.style=0.1",
        "emb2emb.style=0.9",
    ]
    told = []
    rows = api.tradeoff(paths, limit=8, out=tmp_path / "t.svg", tell=told.append)
    assert [row["differs"] for row in rows] == ["emb2emb.style=0.1", "emb2emb.style=0.9"]
    assert all(0 <= row["transfer_style"] <= 1 for row in rows)
    assert len(told) == 2
    svg = (tmp_path / "t.svg").read_text()
    ET.fromstring(svg)
    assert "emb2emb.style=0.9" in svg


def test_points_lie_where_their_figures_say():
    """The farther right the more is kept, the higher the more style; equal rows, equal bytes."""
    points = [Point("m", "a", 80.0, 0.2), Point("m", "b", 20.0, 0.9)]
    first = draw(points, "title", 0.1)
    assert first == draw(points, "title", 0.1)
    (curve,) = curves(first)
    (x0, y0), (x1, y1) = (
        map(float, part.split()) for part in curve.replace("M", "").split("L") if part.strip()
    )
    assert x0 > x1
    assert y0 > y1  # an SVG counts downwards


def test_runs_of_two_methods_are_not_joined():
    points = [Point("m", "", 80.0, 0.2), Point("n", "", 20.0, 0.9)]
    assert curves(draw(points, "title", 0.1)) == []


def curves(svg):
    """The lines that join points of the first method."""
    return [
        path.get("d")
        for path in ET.fromstring(svg).iter(f"{SVG}path")
        if "stroke: #4477aa" in path.get("style", "")
        and "fill: none" in path.get("style", "")
        and path.get("d").count("L") == 1
    ]


def test_what_has_no_trade_off_is_refused(runs, tmp_path):
    with pytest.raises(CompositionError, match="gives sentences no label"):
        api.tradeoff([runs / "pairs"], limit=2)
    with pytest.raises(ConfigError, match="no known format"):
        api.tradeoff([runs / "style0.1"], limit=2, out=tmp_path / "t.png")
    with pytest.raises(ConfigError, match="there is no folder"):
        api.tradeoff([runs / "style0.1"], limit=2, out=tmp_path / "nowhere" / "t.svg")


def test_runs_of_other_labels_share_no_figure(runs, tmp_path):
    settings = {"fgim.autoencoder": str(runs / "ae"), "fgim.target": "negative", **QUICK}
    other = aecore.train(["fgim"], "toy:labelled[:5%]", settings, out=tmp_path / "other")
    with pytest.raises(ConfigError, match="do not do the same"):
        api.tradeoff([runs / "style0.1", other.path], limit=2)
