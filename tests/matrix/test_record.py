"""The matrix as a file, and two of them compared."""

import pytest

from aecore.catalogue import Catalogue
from aecore.errors import RunError
from aecore.manifest import Kept
from aecore.matrix.cells import Cell
from aecore.matrix.record import Matrix, compared, fingerprint


def cell(*plugins, wrong=(), kind="", kept=None):
    invariants = {} if kept is None else {"a.holds": Kept(kept=kept, found="1, due 2")}
    return Cell(plugins=plugins, wrong=wrong, kind=kind, invariants=invariants)


def matrix(*cells):
    names = dict.fromkeys(name for one in cells for name in one.plugins)
    return Matrix(
        code="x", versions={"aecore": "0"}, plugins=dict.fromkeys(names, "-"), cells=cells
    )


SOUND = cell("a", "b")
BROKEN = cell("a", "b", wrong=("training is the same without 'a'",))
REFUSED = cell("a", "b", kind="needs")
KEPT, LOST = cell("a", "b", kept=True), cell("a", "b", kept=False)


def test_a_file_is_read_as_it_was_written(tmp_path):
    whole = matrix(cell("a"), KEPT, LOST, REFUSED, BROKEN)
    whole.write(tmp_path / "m.json")
    assert Matrix.read(tmp_path / "m.json") == whole
    before = (tmp_path / "m.json").read_bytes()
    whole.write(tmp_path / "m.json")
    assert (tmp_path / "m.json").read_bytes() == before
    assert sum(b'"plugins": ["a"' in line for line in before.splitlines()) == 5  # one a line


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": 3}', "\x00\x01"])
def test_a_file_that_is_no_matrix_is_refused(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(RunError, match="is no matrix"):
        Matrix.read(tmp_path / "m.json")
    with pytest.raises(RunError, match="cannot be read"):
        Matrix.read(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("before", "now", "change"),
    [
        (SOUND, BROKEN, "regressed"),
        (SOUND, REFUSED, "regressed"),
        (REFUSED, BROKEN, "regressed"),
        (BROKEN, SOUND, "mended"),
        (REFUSED, SOUND, "mended"),
        (KEPT, LOST, "regressed"),
        (LOST, KEPT, "mended"),
        (SOUND, SOUND, None),
        (SOUND, LOST, None),  # it was not measured before
        (KEPT, SOUND, None),  # nor now
        (None, SOUND, "new"),
        (SOUND, None, "gone"),
    ],
)
def test_what_has_changed_is_named(before, now, change):
    old, new = (matrix(*([one] if one else [])) for one in (before, now))
    found = compared(old, new)
    assert [one.change for one in found] == ([change] if change else [])
    if change == "regressed" and now is BROKEN:
        assert found[0].now == "broken (training is the same without 'a')"


def test_what_another_look_does_not_confirm_is_flaky():
    old, new = matrix(SOUND), matrix(BROKEN)
    assert [one.change for one in compared(old, new, lambda one: SOUND)] == ["flaky"]
    assert [one.change for one in compared(old, new, lambda one: BROKEN)] == ["regressed"]


def test_the_counts_are_of_companies_of_one_size():
    whole = matrix(cell("a"), cell("b"), SOUND, cell("b", "c", kind="owners"))
    assert whole.counts(1) == {"sound": 2}
    assert whole.counts(2) == {"sound": 1, "refused: owners": 1}


def test_the_fingerprint_is_of_the_sources(add, site):
    before = fingerprint(Catalogue.discover())
    assert before == fingerprint(Catalogue.discover())
    body = "@hookimpl\ndef beta_schedule(self):\n    return 0.5"
    add("late", body, ["beta_schedule"])
    after = fingerprint(Catalogue.discover())
    assert after != before
    module = site.path / "zoo_late" / "__init__.py"
    module.write_text(module.read_text() + "\n# changed\n")
    assert fingerprint(Catalogue.discover()) != after
