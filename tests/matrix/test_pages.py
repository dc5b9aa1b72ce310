"""The matrix as a page of Markdown and as a heat map."""

import json
import re
from html.parser import HTMLParser
from itertools import combinations

import pytest

from aecore.manifest import Kept
from aecore.matrix.cells import Cell
from aecore.matrix.heatmap import heatmap
from aecore.matrix.page import page
from aecore.matrix.record import Matrix

NAMES = ("ae", "beta", "control", "dae")
BAD = "</script><b>KL & 3"


def kept(yes):
    return {"control.settles": Kept(kept=yes, found="KL 3.63, target 3" if not yes else "KL 3.02")}


@pytest.fixture
def matrix():
    cells = [Cell(plugins=(name,)) for name in NAMES[:2]]
    cells += [Cell(plugins=("control",), invariants=kept(True)), Cell(plugins=("dae",))]
    pairs = {pair: Cell(plugins=pair) for pair in combinations(NAMES, 2)}
    pairs["ae", "beta"] = Cell(
        plugins=("ae", "beta"),
        kind="needs",
        reason="beta needs: a gradient; ae gives: nothing",
        anyway=(),
    )
    pairs["beta", "control"] = Cell(
        plugins=("beta", "control"), kind="owners", reason="both own it"
    )
    pairs["control", "dae"] = Cell(plugins=("control", "dae"), invariants=kept(False))
    pairs["beta", "dae"] = Cell(plugins=("beta", "dae"), wrong=(BAD,))
    both = Cell(plugins=("dae", "ae"), wrong=("only in this order",))
    summaries = {name: f"what {name} does" for name in NAMES}
    return Matrix(
        code="x",
        versions={},
        plugins=summaries,
        says={"control.settles": "the KL settles"},
        cells=(*cells, *pairs.values(), both),
    )


class Page(HTMLParser):
    """Tags with their attributes, and the text in each kind of them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in {"meta", "i"}:
            self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)


def test_a_square_for_each_pair_with_its_reason(matrix):
    text = heatmap(matrix)
    found = Page(text)
    squares = [attributes for tag, attributes in found.tags if tag == "button"]
    assert len(squares) == 16  # four plugins, each with each and alone
    by_label = {square["aria-label"].partition(":")[0]: square for square in squares}
    assert by_label["control and dae"]["class"] == "lost"
    assert by_label["ae and dae"]["class"] == "broken"  # the worse of two orders
    assert len(by_label["ae and dae"]["data-cells"].split()) == 2
    assert by_label["ae and beta"]["class"] == "needs"
    assert by_label["control"]["class"] == "kept"
    cells = json.loads("".join(found.texts["script"]).partition("\n")[0])
    told = cells[int(by_label["beta and dae"]["data-cells"])]
    assert told == {"name": "beta+dae", "word": "broken", "says": [BAD]}
    assert [tag for tag, _ in found.tags].count("script") == 2  # what a plugin says ends none


def test_the_picture_refers_to_nothing_outside(matrix):
    found = Page(heatmap(matrix))
    assert not [a for _, a in found.tags if {"src", "href"} & set(a)]
    assert "url(" not in heatmap(matrix)
    assert "$" not in heatmap(matrix).replace("${", "")


def test_the_page_has_counts_rows_invariants_and_what_is_lost(matrix):
    text = page(matrix)
    assert "## 7 pairs" in text
    assert "| sound | 3 | trained, and each matters |" in text
    assert "| `control` | `ae`, `dae` | `beta` | - |" in text
    assert "| `control.settles` | the KL settles | KL 3.02 | 0 of 1 |" in text
    assert "| `control.settles` | `control` + `dae` | KL 3.63, target 3 |" in text
    assert "| `ae` + `beta` | beta needs: a gradient |" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in rows}
    assert widths <= {3, 4, 5}
