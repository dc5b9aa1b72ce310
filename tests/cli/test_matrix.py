"""``aecore matrix``: the table, the row, the file, the picture, and what has changed."""

import json

import pytest

from aecore.catalogue import Catalogue
from aecore.matrix.record import Matrix


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Three plugins are all there is, as far as this process goes."""
    whole = Catalogue.discover()
    kept = {n: e for n, e in whole.entries.items() if n in {"vae", "ae", "annealing", "dae"}}
    monkeypatch.setattr(Catalogue, "discover", lambda *_: Catalogue(kept, {}))


def test_the_whole_of_it(cli, tmp_path):
    out, html = tmp_path / "m.json", tmp_path / "m.html"
    said = cli("matrix", "--workers", "1", "--out", out, "--html", html)
    assert said.code == 0, said.err
    head, *lines = said.out.splitlines()
    assert head.split() == ["plugin", "sound", "owners", "needs", "other", "broken", "kept"]
    assert lines[0].split() == ["ae", "1", "0", "1", "0", "0", "-"]
    assert "3 plugins: 3 sound" in lines
    assert "3 pairs: 2 sound, 1 refused: needs" in lines
    assert f"{html}: a square for each pair" in said.err
    assert html.read_text().startswith("<!doctype html>")

    row = cli("matrix", "--plugin", "dae", "--workers", "1", "--out", tmp_path / "row.json")
    assert row.out.splitlines()[0].split() == ["company", "verdict", "because"]
    assert "annealing+dae  sound" in row.out

    # nothing to do but to compare: a cell that was broken is mended, one that was sound is not
    worse = Matrix.read(out)
    cells = [
        one.model_copy(update={"wrong": ("it was",)}) if one.name == "annealing+dae" else one
        for one in worse.cells
    ]
    worse.model_copy(update={"cells": tuple(cells)}).write(tmp_path / "old.json")
    said = cli(
        "matrix", "--out", out, "--against", tmp_path / "old.json", "--json", "--workers", "1"
    )
    assert said.code == 0
    found = json.loads(said.out)
    assert [(one["change"], one["plugins"]) for one in found["changes"]] == [
        ("mended", ["annealing", "dae"])
    ]
    assert len(found["cells"]) == 6
    worse.model_copy(update={"cells": tuple(cells)}).write(out)
    said = cli("matrix", "--out", out, "--against", tmp_path / "row.json", "--workers", "1")
    assert said.code == 1
    assert "annealing+dae is broken\n  it was" in said.out
    assert "flaky" in said.out  # looked at again, it is sound


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--plugin", "annealin"], "no plugin is called 'annealin'. Did you mean 'annealing'?"),
        (["--against", "none.json"], "'none.json' cannot be read"),
        (["--workers", "0"], "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_said_at_once(cli, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    said = cli("matrix", *words)
    assert said.code == 2
    assert message in said.err
    assert said.out == ""


def test_another_file_is_no_place_for_it(cli, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for option in ("--out", "--against"):
        said = cli("matrix", option, tmp_path / "notes.txt")
        assert said.code == 2
        assert "is no matrix" in said.err
    said = cli("matrix", "--out", tmp_path / "no" / "m.json", "--workers", "1")
    assert said.code == 2
    assert "m.json" in said.err
