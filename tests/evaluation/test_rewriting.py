"""Figures of rewritten sentences: against sacrebleu by hand, the grammar, and what is missing."""

import builtins
import json
import re
from pathlib import Path

import pytest
import torch

import aecore
from aecore import api
from aecore.data import toy
from aecore.data.corpus import load_corpus
from aecore.errors import CompositionError, DataError
from aecore.evaluation import rewriting
from aecore.evaluation.judge import FIGURES as JUDGED
from aecore.evaluation.rewriting import FIGURES, Scores, Task, bleu, style_judge
from aecore.evaluation.style import StyleJudge

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
QUICK = {"train.max_steps": 4}


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "ae"
    return aecore.train(["ae"], "toy[:5%]", {"train.max_steps": 30}, out=path).path


@pytest.fixture(scope="module")
def by_pairs(autoencoder):
    settings = {"emb2emb.autoencoder": str(autoencoder), **QUICK}
    out = autoencoder.with_name("pairs")
    return aecore.train(["emb2emb"], "toy:pairs[:5%]", settings, out=out)


@pytest.fixture(scope="module")
def by_labels(autoencoder):
    settings = {"fgim.autoencoder": str(autoencoder), **QUICK}
    out = autoencoder.with_name("labels")
    return aecore.train(["fgim"], "toy:labelled[:5%]", settings, out=out)


# What is to be rewritten


def test_pairs_are_rewritten_all_with_their_references():
    corpus = load_corpus("toy:pairs[:5%]")
    task = Task.of(corpus.test, corpus, None, 7, on_toy=True)
    pairs = toy.pairs()["test"][:7]
    assert task.sentences == [source.text for source, _ in pairs]
    assert task.references == [(target.text,) for _, target in pairs]


def test_of_labelled_sentences_those_of_another_label():
    corpus = load_corpus("toy:labelled[:5%]")
    task = Task.of(corpus.test, corpus, "negative", 9, on_toy=True)
    due = [one.text for one in toy.sentences()["test"] if one.sentiment == "positive"][:9]
    assert (task.sentences, task.references) == (due, [])
    assert corpus.labels[task.label] == "negative"


def test_the_training_split_has_its_texts_by_the_vocabulary():
    corpus = load_corpus("toy:pairs[:5%]")
    task = Task.of(corpus.train, corpus, None, 3, on_toy=True)
    source, target = toy.pairs()["train"][0]
    assert (task.sentences[0], task.references[0]) == (source.text, (target.text,))


def test_a_split_without_work_and_a_label_that_is_none_are_said():
    corpus = load_corpus("toy:labelled[:5%]")
    with pytest.raises(DataError, match="no label of the corpus is called 'happy'"):
        Task.of(corpus.test, corpus, "happy", None, on_toy=True)
    labels = torch.full_like(corpus.test.labels, corpus.labels.index("positive"))
    object.__setattr__(corpus.test, "labels", labels)
    with pytest.raises(DataError, match="have the label 'positive' already"):
        Task.of(corpus.test, corpus, "positive", None, on_toy=True)


# Against texts


def test_bleu_is_that_of_the_definition():
    """One sentence, six words, one of them wrong: 5/6, 3/5, 2/4 and 1/3 of the n-grams."""
    score, signature = bleu(["a b c d x f"], [["A b c d e f"]])
    assert score == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)
    assert "case:lc" in signature
    assert "version:" in signature


def test_bleu_takes_the_best_of_several_references_even_where_some_have_fewer():
    several = [["a b c d e", "v w x y z"], ["f g h i j"]]
    assert bleu(["v w x y z", "f g h i j"], several)[0] == pytest.approx(100)


def test_copies_and_self_bleu_tell_of_doing_nothing():
    task = Task(["a b c d", "e f g h"], [("a b c x",), ("e f g y",)])
    scores = Scores()
    scores.against_texts(task, ["a  b c d", "e f g h"])
    assert scores.figures["transfer_copied"] == 1
    assert scores.figures["transfer_self_bleu"] == pytest.approx(100)
    assert 0 < scores.figures["transfer_bleu"] < 100
    assert scores.figures["transfer_sari"] > 0


def test_the_grammar_reads_what_came_out():
    source, target = toy.pairs()["test"][0]
    task = Task([source.text] * 3, [], toy=True)
    scores = Scores()
    scores.of_toy(task, [target.text, source.text, "no such words"], "positive")
    found = [scores.figures[f"transfer_toy_{name}"] for name in ("style", "kept", "both")]
    assert found == pytest.approx([1 / 3, 2 / 3, 1 / 3])


# Style


def test_the_judge_says_how_good_it_is_itself():
    corpus = load_corpus("toy:labelled[:20%]")
    judge = style_judge(corpus)
    assert judge.accuracy > 0.97
    positive = [one.text for one in toy.sentences()["test"] if one.sentiment == "positive"][:50]
    assert judge.share(positive, corpus.labels.index("positive")) > 0.9
    assert judge.share(positive, corpus.labels.index("negative")) < 0.1
    assert re.search(r"right on \d+\.\d% of 500 of test", judge.signature)


def test_a_judge_of_few_sentences_that_share_no_word_is_one():
    judge = StyleJudge.train(["good", "bad"], [1, 0], ["good"], [1])
    assert judge.accuracy == 1


def test_a_judge_of_noise_knows_that_it_is_none():
    texts = [f"w{n % 7} v{n % 11}" for n in range(300)]
    labels = torch.randint(2, (300,), generator=torch.Generator().manual_seed(0)).tolist()
    judge = StyleJudge.train(texts[:200], labels[:200], texts[200:], labels[200:])
    assert 0.3 < judge.accuracy < 0.7


# Runs


def test_the_page_and_the_verb_name_the_same_figures(by_pairs):
    rows = PAGE.partition("## Of sentences rewritten")[2].partition("\n## ")[0]
    named = [name for name in re.findall(r"`(transfer_\w+)`", rows) if name in FIGURES]
    assert list(dict.fromkeys(named)) == list(FIGURES)
    assert list(by_pairs.rewriting(limit=4)) == [*FIGURES, "estimators"]


def test_a_run_over_pairs_has_references_and_no_style(by_pairs):
    found = api.evaluate(by_pairs.path, limit=6)
    assert found["transfer_sentences"] == 6
    known = ("bleu", "sari", "self_bleu", "copied", "toy_both", "seconds", "map_seconds")
    assert all(found[f"transfer_{name}"] is not None for name in known)
    assert found["transfer_style"] is found["transfer_judge_accuracy"] is None
    assert found["nll_iw"] is None
    json.dumps(found)


def test_a_run_over_labels_has_a_judge_and_no_references(by_labels):
    found = by_labels.rewriting(limit=20)
    assert found["transfer_style_before"] < 0.2
    assert found["transfer_judge_accuracy"] > 0.9
    assert found["transfer_bleu"] is found["estimators"]["transfer_bleu"] is None
    assert found["estimators"]["transfer_self_bleu"].startswith("output against input")


def test_other_runs_rewrite_nothing(autoencoder):
    run = aecore.load(autoencoder)
    with pytest.raises(CompositionError, match="has not learnt to rewrite sentences"):
        run.rewriting(limit=3)
    assert not set(api.evaluate(autoencoder, iw_samples=0)) & set(FIGURES)


def test_a_judge_of_fluency_reads_both_sides(by_pairs, tmp_path):
    other = aecore.train(["lstm_lm"], "toy[:5%]", QUICK, out=tmp_path / "lm")
    found = by_pairs.judge(other, limit=5)
    told = {name for name in JUDGED if found[name] is not None}
    assert {name.rpartition("_")[2] for name in told} == {"sentences", "transfers"}


@pytest.mark.parametrize(
    ("library", "lost"), [("sacrebleu", "self_bleu"), ("sklearn", "style_before")]
)
def test_a_missing_library_costs_its_figures_and_is_told(by_labels, monkeypatch, library, lost):
    plain, told = builtins.__import__, []

    def without(name, *rest, **named):
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return plain(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    found = by_labels.rewriting(limit=3, tell=told.append)
    assert found[f"transfer_{lost}"] is None
    assert found["transfer_copied"] is not None
    assert rewriting.INSTALL in told[0]
