"""curves.svg: what is drawn, that equal rows give equal bytes, and that a drawing never costs a
training.
"""

import hashlib
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from support import build, trainer_of

from aecore.progress import Silent
from aecore.reports import curves
from aecore.reports.curves import Curves, draw, set_points, title_of
from aecore.runs.config import build_config
from aecore.runs.folder import RunFolder
from aecore.training.trainer import Trainer

VALID = {"split": "valid"}
SVG = "{http://www.w3.org/2000/svg}"


def rows(steps=10, every=50):
    found = []
    for step in range(every, every * steps + 1, every):
        values = {"kl": 3.0 + step % 3, "rec": 20 + 100 / step, "beta": step / 1000}
        found.append({"stage": "joint", "split": "train", "span": "window", "step": step, **values})
        if step % (5 * every) == 0:
            found.append(
                {
                    "stage": "joint",
                    "split": "valid",
                    "step": step,
                    "kl": 3.0,
                    "rec": 21.0,
                    "beta": None,
                }
            )
    return found


def lines(svg):
    """The vertices of every curve: (colour, number of points)."""
    found = []
    for path in ET.fromstring(svg).iter(f"{SVG}path"):
        style = path.get("style", "")
        for name, colour in (
            ("train", curves.TRAIN),
            ("valid", curves.VALID),
            ("target", curves.TARGET),
        ):
            if f"stroke: {colour}" in style and "fill: none" in style:
                found.append((name, path.get("d").count("L") + 1))
    return found


def test_three_panels_with_train_and_validation():
    drawn = lines(draw(rows(), "a run"))
    assert drawn.count(("train", 10)) >= 3
    assert drawn.count(("valid", 2)) >= 2
    assert "target" not in dict(drawn)


def test_a_set_point_is_a_line_through_the_first_panel():
    with_one = [name for name, _ in lines(draw(rows(), "a run", [3.0]))]
    without = [name for name, _ in lines(draw(rows(), "a run"))]
    assert with_one.count("target") == 2  # the line, and its sample in the legend
    assert "target" not in without


def test_what_is_missing_or_null_or_of_a_stage_is_left_out():
    holes = [{**row, "kl": None} if row["step"] == 100 else row for row in rows()]
    stage = [{**row, "stage": "ae"} for row in rows(3)]
    assert ("train", 9) in lines(draw(holes, "a run"))
    assert draw([*stage, *rows()], "a run") == draw(rows(), "a run")
    assert ET.fromstring(draw([], "$nothing_{yet"))


def test_windows_that_an_epoch_cut_short_are_left_out():
    short = {
        "stage": "joint",
        "split": "train",
        "span": "window",
        "step": 503,
        "kl": 99.0,
        "rec": 1.0,
        "beta": 0.0,
    }
    assert draw([*rows(), short], "a run") == draw(rows(), "a run")


@pytest.mark.verify
def test_equal_rows_give_equal_bytes_in_any_process():
    script = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); from test_curves import rows\n"
        "from aecore.reports.curves import draw; assert 'matplotlib' not in sys.modules\n"
        "print(hashlib.sha256(draw(rows(), 'a run', [3.0])).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1"}
    command = [sys.executable, "-c", script, os.path.dirname(__file__)]
    environment["PYTHONPATH"] = os.path.join(os.path.dirname(__file__), "..")
    other = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=True
    ).stdout.strip()
    assert other == hashlib.sha256(draw(rows(), "a run", [3.0])).hexdigest()


def test_the_settings_of_others_change_nothing():
    import matplotlib

    before = draw(rows(), "a run")
    with matplotlib.rc_context({"lines.linewidth": 9, "svg.fonttype": "none", "font.size": 30}):
        assert draw(rows(), "a run") == before
        assert matplotlib.rcParams["font.size"] == 30


def test_title_and_set_point_come_from_the_configuration():
    settings = {"data.spec": "/home/somebody/with/a/long/path/ptb[:20%]", "controlvae.target_kl": 4}
    config = build_config(None, {}, settings, ["controlvae", "x"])
    assert title_of(config) == "controlvae + x on ...dy/with/a/long/path/ptb[:20%], seed 0"
    assert set_points(config) == [4.0]
    assert title_of(build_config(None, {}, {}, [])) == "vae on toy, seed 0"


class Hearing(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def heard():
    return Hearing()


@pytest.fixture
def drawing(tmp_path, heard):
    (tmp_path / "metrics.jsonl").write_text("")
    return Curves(RunFolder(tmp_path), build_config(None, {}, {}, []), heard.note)


def test_without_matplotlib_there_is_one_note(drawing, heard, tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "find_spec", lambda name: None)
    drawing.row(VALID)
    drawing.finish({})
    assert heard.notes == ["no curves.svg without matplotlib: pip install 'aecore[plots]'"]
    assert not (tmp_path / "curves.svg").exists()


def test_a_drawing_that_fails_costs_no_training(drawing, heard, monkeypatch):
    monkeypatch.setattr(curves, "draw", lambda *_: 1 / 0)
    drawing.finish({})
    assert heard.notes == ["curves.svg could not be drawn: ZeroDivisionError: division by zero"]


def test_an_epoch_draws_only_where_that_is_cheap(drawing, monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock, drawn = Clock(), []
    monkeypatch.setattr(curves, "time", clock)

    def slow(*_):
        clock.now += 2
        drawn.append(clock.now)
        return b"<svg/>"

    monkeypatch.setattr(curves, "draw", slow)
    drawing._drawn_at = 0.0
    while clock.now < 1000:
        clock.now += 10
        drawing.row(VALID)
    assert drawn[0] == 62
    assert min(later - earlier for earlier, later in pairwise(drawn)) >= 200


def drawn_by(trainer):
    return Curves(trainer.folder, trainer.config, print)


def test_a_run_that_died_ends_with_the_same_curves(corpus, tmp_path):
    whole, cut = (
        trainer_of(build(), corpus, tmp_path / name, log_every=1) for name in ("whole", "cut")
    )
    whole.progress = drawn_by(whole)
    while whole.advance():
        pass
    cut.advance()
    again = Trainer(build(), corpus, cut.config, cut.folder, drawn_by(cut))
    again.restore()
    while again.advance():
        pass
    svg = whole.folder.curves.read_bytes()
    assert again.folder.curves.read_bytes() == svg
    assert ("train", 3) in lines(svg)
