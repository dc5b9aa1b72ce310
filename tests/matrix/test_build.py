"""The matrix is built on workers, kept as it goes, and taken up where it was broken off."""

import json
import subprocess
import sys

import pytest

from aecore.catalogue import Catalogue
from aecore.errors import CompositionError, RunError
from aecore.executor import Outcome
from aecore.matrix.build import Work, again, built, compatibility
from aecore.matrix.record import Matrix


class Here:
    """An executor of this process, that stops after so many jobs."""

    def __init__(self, most=10**6):
        self.most, self.done = most, []

    def run(self, jobs):
        for job in jobs:
            if len(self.done) == self.most:
                raise KeyboardInterrupt
            self.done.append(job.name)
            try:
                yield Outcome(job, job.function(*job.arguments))
            except RuntimeError as error:
                yield Outcome(job, error=error)


@pytest.fixture
def few(monkeypatch):
    """Three plugins are all there is."""
    whole = Catalogue.discover()
    kept = {n: e for n, e in whole.entries.items() if n in {"vae", "ae", "annealing", "betavae"}}
    found = Catalogue(kept, {})
    monkeypatch.setattr(Catalogue, "discover", lambda *_: found)
    return found


def test_what_was_broken_off_is_taken_up(few, tmp_path):
    out = tmp_path / "m.json"
    with pytest.raises(KeyboardInterrupt):
        built(Work(few, out=out), Here(4))
    assert len(Matrix.read(out).cells) == 4
    rest = Here()
    whole = built(Work(few, out=out), rest)
    assert rest.done == ["ae+betavae", "annealing+betavae"]
    assert Matrix.read(out) == whole
    assert whole.counts(1) == {"sound": 3}
    assert whole.counts(2) == {"refused: needs": 2, "refused: owners": 1}


def test_cells_of_other_code_are_made_again(few, tmp_path):
    out = tmp_path / "m.json"
    built(Work(few, sizes=(2,), out=out), Here())
    table = json.loads(out.read_text())
    out.write_text(json.dumps({**table, "code": "older"}))
    executor = Here()
    built(Work(few, sizes=(2,), out=out), executor)
    assert len(executor.done) == 3


def test_no_other_file_is_overwritten(few, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="is no matrix"):
        Work(few, out=tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_row(few):
    with pytest.raises(CompositionError, match="no plugin is called 'annealin'"):
        Work(few, row="annealin")
    companies = Work(few, row="annealing").companies()
    assert companies == [("annealing",), ("ae", "annealing"), ("annealing", "betavae")]


def test_evidence_is_gathered_of_sound_companies_alone_and_once(few, tmp_path, monkeypatch):
    from aecore.manifest import Kept
    from aecore.matrix import build

    asked = []

    def gathered(company):
        asked.append(company)
        if len(company) == 2:
            raise RuntimeError("no memory")
        return {"annealing.arrives": Kept(kept=True, found="beta 1, due 1")}

    monkeypatch.setattr(build, "gathered", gathered)
    out = tmp_path / "m.json"
    for _ in range(2):
        whole = built(Work(few, evidence=True, out=out), Here())
    assert asked == [("annealing",)]  # its pairs are refused
    cells = {cell.name: cell for cell in whole.cells}
    assert cells["annealing"].word == "sound; kept"
    assert Matrix.read(out) == whole
    assert whole.says["annealing.arrives"].startswith("after 600 toy steps beta")


def test_another_look_at_a_cell(few):
    work = Work(few, sizes=(1,))
    (one, *_) = built(work, Here()).cells
    assert again(Here())(one).model_copy(update={"seconds": one.seconds}) == one


MODULE = """
import os, signal
from aecore import Plugin, hookimpl
class Method(Plugin):
    @hookimpl
    def beta_schedule(self):
        {line}
"""


def test_a_plugin_that_kills_its_worker_costs_no_other(site):
    deadly = "os.kill(os.getpid(), signal.SIGKILL)"
    for name, line in (("deadly", deadly), ("mild", "return 0.5")):
        manifest = f'[{name}]\nsummary = "-"\napi = ">=1"\nhooks = ["beta_schedule"]\n'
        site.add(
            f"aecore-{name}",
            {name: f"zoo_{name}:Method"},
            package=f"zoo_{name}",
            module=MODULE.format(line=line),
            manifest=manifest,
        )
    code = (
        "from aecore.matrix.build import Work, built\n"
        "from aecore.executor import Processes\n"
        "from aecore.catalogue import Catalogue\n"
        "if __name__ == '__main__':\n"
        "    work = Work(Catalogue.discover(), sizes=(1,))\n"
        "    keep = {('deadly',), ('mild',)}\n"
        "    work.companies = lambda: sorted(keep)\n"
        "    for cell in built(work, Processes(2, retries=1)).cells:\n"
        "        print(cell.name, cell.status, cell.wrong)\n"
    )
    script = site.path / "main.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines() == [
        "deadly broken (\"the worker of 'deadly' died, 2 times\",)",
        "mild sound ()",
    ]


def test_ctrl_c_says_what_is_kept(few, tmp_path, monkeypatch):
    from aecore.errors import Stopped
    from aecore.matrix import build

    monkeypatch.setattr(build, "Processes", lambda workers: Here(2))
    with pytest.raises(Stopped, match="stopped after 2 of 6 companies") as caught:
        compatibility(out=tmp_path / "m.json")
    assert caught.value.evidence == (f"to go on: --out {tmp_path / 'm.json'}",)
    assert caught.value.exit_code == 130
    assert len(Matrix.read(tmp_path / "m.json").cells) == 2
