"""The verbs over runs that rewrite sentences: transfer, evaluate, tradeoff; what train prints."""

import json

import pytest

import aecore

QUICK = {"train.max_steps": 4}
SENTENCES = ["the doctor frowns in the castle", "this young king was awful in the park"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    aecore.train(["ae"], "toy[:5%]", {"train.max_steps": 30}, out=folder / "ae")
    over = {"fgim.autoencoder": str(folder / "ae"), **QUICK}
    for name, threshold in (("fgim", 0.1), ("sure", 0.5)):
        settings = {**over, "fgim.threshold": threshold}
        aecore.train(["fgim"], "toy:labelled[:5%]", settings, out=folder / name)
    return folder


def test_transfer_tells_what_the_plugins_did(cli, runs, tmp_path):
    file = tmp_path / "sentences.txt"
    file.write_text("\n".join(SENTENCES) + "\n")
    said = cli("transfer", runs / "fgim", file, "--json")
    rows = json.loads(said.out)
    assert [row["sentence"] for row in rows] == SENTENCES
    assert set(rows[0]) == {
        *("sentence", "transferred", "fgim.weight", "fgim.steps", "fgim.target"),
    }
    plain = cli("transfer", runs / "fgim", file)
    assert [line.split("\t") for line in plain.out.splitlines()] == [
        [row["sentence"], row["transferred"]] for row in rows
    ]
    assert "fgim.steps: " in plain.err
    assert "median" in plain.err


def test_empty_lines_are_dropped_and_counted(cli, runs, tmp_path):
    file = tmp_path / "sentences.txt"
    file.write_text(f"{SENTENCES[0]}\n\n   \n{SENTENCES[1]}\n")
    said = cli("transfer", runs / "fgim", file)
    assert len(said.out.splitlines()) == 2
    assert "2 empty lines" in said.err
    file.write_text("\n\n")
    said = cli("transfer", runs / "fgim", file)
    assert said.code == 2
    assert said.out == ""


def test_evaluate_prints_what_was_measured_and_how(cli, runs):
    said = cli("evaluate", runs / "fgim", "--limit", "6")
    assert said.code == 0
    for word in ("self_bleu", "judge_accuracy", "toy_both", "output against input", "right on"):
        assert word in said.out
    assert "bleu  " not in said.out.replace("self_bleu  ", "")  # there is no reference
    found = json.loads(cli("evaluate", runs / "fgim", "--limit", "6", "--json").out)
    assert found["transfer_sentences"] == 6
    assert found["nll_iw"] is None


def test_training_ends_with_sentences_rewritten(cli, runs, tmp_path):
    settings = ["--set", f"fgim.autoencoder={runs / 'ae'}", "--max-steps", "2"]
    said = cli("train", "--plugin", "fgim", "--data", "toy:labelled[:5%]", *settings)
    assert said.code == 0
    assert "test sentences, rewritten" in said.out
    assert said.out.count("    -> ") == 5
    assert "samples from the prior" not in said.out
    assert "  loss " in said.err
    assert "| valid" not in said.err  # its objective is 0: it has an extra loss
    assert "nll_elbo" not in said.err


def test_a_trade_off_has_a_line_a_run(cli, runs):
    said = cli("tradeoff", runs / "fgim", runs / "sure", "--limit", "4")
    assert said.code == 0
    assert "fgim.threshold=0.5" in said.out
    rows = json.loads(cli("tradeoff", runs / "fgim", "--limit", "4", "--json").out)
    assert rows[0]["transfer_sentences"] == 4
    wrong = cli("tradeoff", runs / "ae", "--limit", "4")
    assert wrong.code == 2
    assert "gives sentences no label" in wrong.err
