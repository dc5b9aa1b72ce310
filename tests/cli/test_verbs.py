"""The verbs on a real run."""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise

import pytest

import aecore
from aecore.runs.checkpoint import load_tensors

TINY = ("--set", "train.max_steps=3", "--set", "train.batch_size=8", "--device", "cpu")


def test_train_ends_with_figures_examples_and_what_to_type_next(trained):
    path, said = trained
    assert said.code == 0, said.err
    heads, figures = [line.split() for line in said.out.splitlines()[:2]]
    summary = json.loads((path / "summary.json").read_text())
    assert heads == [
        "split",
        "sentences",
        "tokens",
        "nll_elbo",
        "ppl_elbo",
        "rec",
        "kl",
        "mi",
        "mi_batch",
        "au",
    ]
    assert figures[:4] == ["test", "500", f"{summary['tokens']:,}", f"{summary['nll_elbo']:.2f}"]
    assert "\nkl        analytic\n" in said.out
    assert "selected  the last weights, step 3 (epoch 0.003)" in said.out
    assert said.out.count("\n    -> ") == 3
    head, _, rest = said.out.partition("samples from the prior: ")[2].partition("\n")
    counts = re.fullmatch(r"of 20, (\d+) different, (\d+) of these grammatical", head)
    assert counts is not None
    samples = rest.partition("\n\n")[0].splitlines()
    assert len(samples) == 20
    assert len(set(samples)) == int(counts[1])
    assert re.search(
        r"reconstructions, test split: \d+ of 200 word for word, \d+% of their words in place",
        said.out,
    )
    way = (
        said.out.partition("from one test sentence to another\n")[2]
        .partition("\n\n")[0]
        .splitlines()
    )
    assert way
    assert all(one != other for one, other in pairwise(way))


def test_what_to_type_next_can_be_typed(cli, trained):
    path, said = trained
    lines = said.out.partition("what to type next\n")[2].splitlines()
    typed = [shlex.split(line) for line in lines if line.startswith("  aecore")]
    assert [words[1] for words in typed] == ["sample", "reconstruct", "evaluate", "train"]
    for _, *words in typed[:3]:
        assert str(path) in words
        assert cli(*words).code == 0
    assert typed[3][3] not in {"controlvae", "vae"}


def test_train_shows_its_progress_on_stderr_alone(trained):
    _, said = trained
    assert "controlvae on toy: 8,000 sentences" in said.err
    assert "epoch 1/1  step 3/3" in said.err
    assert "| valid nll_elbo" in said.err
    assert "tokens/s" not in said.out


def test_a_run_that_is_finished_says_so(cli, run):
    said = cli("resume", run)
    assert said.code == 0
    assert "is finished; --epochs or --max-steps extend it" in said.err
    assert said.out.startswith("split ")


def test_resume_extends(cli, tmp_path):
    assert cli("train", *TINY, "--out", "r").code == 0
    said = cli("resume", "r", "--max-steps", "5")
    assert said.code == 0
    assert "step 5/5" in said.err
    assert json.loads((tmp_path / "r" / "summary.json").read_text())["steps"] == 5


def test_flags_and_settings_reach_the_run(cli, tmp_path):
    (tmp_path / "c.toml").write_text(
        "[train]\nseed = 3\nbatch_size = 8\nmax_steps = 1\n[plugins.betavae]\nbeta = 0.25\n"
    )
    said = cli(
        "train",
        "--config",
        "c.toml",
        "--data",
        "toy[:100]",
        "--seed",
        "4",
        "--set",
        "model.latent=2",
        "--out",
        "r",
    )
    assert said.code == 0, said.err
    config = (tmp_path / "r" / "config.toml").read_text()
    for line in ('spec = "toy[:100]"', "seed = 4", "latent = 2", "beta = 0.25"):
        assert line in config
    assert "aecore train --plugin annealing --data 'toy[:100]'" in said.out


def test_a_collapsed_posterior_is_pointed_out(trained):
    _, said = trained
    assert "the posterior has collapsed" in said.err


def test_evaluate_prints_json_alone(cli, run):
    said = cli("evaluate", run, "--limit", "20", "--json")
    figures = json.loads(said.out)
    assert figures["sentences"] == 20
    assert figures["nll_elbo"] == pytest.approx(figures["rec"] + figures["kl"])
    assert figures["estimators"]["kl"] == "analytic"
    assert figures["estimators"]["nll_iw"] == "importance-weighted, 5 samples of the posterior"
    assert (
        json.loads(cli("evaluate", run, "--limit", "20", "--iw-samples", "0", "--json").out)[
            "nll_iw"
        ]
        is None
    )


def test_evaluate_prints_a_table(cli, run):
    said = cli("evaluate", run, "--split", "valid", "--limit", "7")
    assert said.out.splitlines()[1].split()[:2] == ["valid", "7"]
    assert "nats per sentence" in said.out
    assert said.err == ""


def test_sample_prints_a_sentence_a_line(cli, run):
    said = cli("sample", run, "-n", "4", "--temperature", "0.9", "--seed", "1")
    assert len(said.out.splitlines()) == 4
    assert cli("sample", run, "-n", "4", "--temperature", "0.9", "--seed", "1").out == said.out
    assert cli("sample", run, "-n", "4", "--temperature", "0.9", "--seed", "2").out != said.out


def test_sample_json_is_the_same_sentences(cli, run):
    words = ("sample", run, "-n", "3", "--temperature", "1")
    assert json.loads(cli(*words, "--json").out) == cli(*words).out.splitlines()


def test_reconstruct_takes_the_test_split_unless_told(cli, run):
    lines = cli("reconstruct", run).out.splitlines()
    assert len(lines) == 5
    assert lines[0].split("\t")[0] == "this young nurse will be sad near the library tomorrow"


def test_reconstruct_reads_a_file_and_says_what_it_drops(cli, run, tmp_path):
    (tmp_path / "f.txt").write_bytes(b"the cat sat\n\nthe nurse smiled in the school\n")
    said = cli("reconstruct", run, "f.txt", "--json")
    assert [pair["sentence"] for pair in json.loads(said.out)] == [
        "the cat sat",
        "the nurse smiled in the school",
    ]
    assert "warning: f.txt: 1 empty line dropped (line 2)" in said.err
    assert "note: 2 words are not in the run's vocabulary" in said.err


@pytest.mark.parametrize("words", [(), ("-",)])
def test_reconstruct_reads_a_pipe(cli, run, tmp_path, monkeypatch, words):
    (tmp_path / "f.txt").write_text("the nurse smiled in the school\n")
    with (tmp_path / "f.txt").open() as piped:
        monkeypatch.setattr("sys.stdin", piped)
        said = cli("reconstruct", run, *words)
    assert said.out.startswith("the nurse smiled in the school\t")
    assert len(said.out.splitlines()) == 1


def test_figures_that_json_cannot_hold_are_null(cli, run, monkeypatch):
    monkeypatch.setattr(
        "aecore.run.Run.evaluate",
        lambda *_: {"ppl_elbo": float("inf"), "deep": [float("nan")]},
    )
    assert json.loads(cli("evaluate", run, "--json").out) == {"ppl_elbo": None, "deep": [None]}


def test_single_sentences_are_kept_where_asked_for(cli, run):
    kept = run / "evaluation-test.safetensors"
    said = cli("evaluate", run, "--save", "--iw-samples", "3", "--limit", "5", "--json")
    assert said.code == 0
    assert str(kept) in said.err
    figures, (tensors, meta) = json.loads(said.out), load_tensors(kept)
    assert tensors["nll_iw"].mean().item() == pytest.approx(figures["nll_iw"], rel=1e-5)
    assert (meta["split"], meta["seed"]) == ("test", 0)
    assert meta["estimators"] == figures["estimators"]
    kept.unlink()


@pytest.fixture(scope="module")
def mover(tmp_path_factory):
    """A run of daae, which maps codes."""
    path = tmp_path_factory.mktemp("daae") / "run"
    settings = {"model.sizes": "toy", "train.device": "cpu"}
    aecore.train(["daae"], "toy[:200]", settings, max_steps=3, out=path)
    return path


def test_transfer_moves_codes_by_the_difference_of_examples(cli, mover, tmp_path):
    (tmp_path / "a.txt").write_text("the nurse was sad\nthe doctor was angry\n")
    (tmp_path / "b.txt").write_text("the nurse was happy\n")
    (tmp_path / "c.txt").write_text("the old nurse was sad\n")
    said = cli("transfer", mover, "c.txt", "--from", "a.txt", "--to", "b.txt", "--json")
    assert said.code == 0
    (found,) = json.loads(said.out)
    run = aecore.load(mover, "cpu")
    before = run.encode(["the nurse was sad", "the doctor was angry"])
    after = run.encode(["the nurse was happy"])
    z = run.encode(["the old nurse was sad"]) + after.mean(0) - before.mean(0)
    assert found == {"sentence": "the old nurse was sad", "transferred": run.decode(z)[0]}
    words = ("c.txt", "--from", "a.txt", "--to", "b.txt", "--strength", "0", "--json")
    (still,) = json.loads(cli("transfer", mover, *words).out)
    assert still["transferred"] == run.reconstruct(["the old nurse was sad"])[0]


def test_a_transfer_that_cannot_be_says_why(cli, mover, run, tmp_path):
    (tmp_path / "a.txt").write_text("the nurse was sad\n")
    (tmp_path / "none.txt").write_text("")
    for words, why in (
        (("--from", "a.txt"), "none of how they are after"),
        (("--from", "a.txt", "--to", "none.txt"), "holds no sentence"),
        (("--from", "a.txt", "--to", "gone.txt"), "cannot be read"),
        ((), "two sets of examples"),
    ):
        said = cli("transfer", mover, "a.txt", *words)
        assert said.code == 2
        assert why in said.err
        assert "Traceback" not in said.err
    said = cli("transfer", run, "a.txt", "--from", "a.txt", "--to", "a.txt")
    assert said.code == 2
    assert "maps codes to others" in said.err
