"""Figures of text, by hand and against sacrebleu and scipy."""

import json
import math
import random

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from aecore.evaluation.diversity import (
    FIGURES,
    dist,
    entropy,
    mean_length,
    measured,
    self_bleu,
    unikl,
)


def words(*sentences):
    return [sentence.split() for sentence in sentences]


def drawn(n, seed=0, vocabulary="abcdefgh", longest=9):
    draw = random.Random(seed)
    return [draw.choices(vocabulary, k=draw.randint(1, longest)) for _ in range(n)]


def test_dist_by_hand():
    text = words("a b a b", "b a", "c")
    assert dist(text, 1) == pytest.approx(3 / 7)
    assert dist(text, 2) == pytest.approx(2 / 4)  # ab ba ab, ba; none across sentences
    assert math.isnan(dist(words("a", "b"), 2))


@pytest.mark.parametrize("n", [2, 3])
def test_self_bleu_is_sacrebleus_of_each_against_the_others(n):
    from sacrebleu.metrics.bleu import BLEU

    text = [row for row in drawn(40) if len(row) >= n]  # shorter ones are told apart below
    metric = BLEU(max_ngram_order=n, tokenize="none", smooth_method="floor", smooth_value=0.1)
    due = [
        metric.sentence_score(
            " ".join(row), [" ".join(o) for k, o in enumerate(text) if k != number]
        ).score
        for number, row in enumerate(text)
    ]
    assert self_bleu(text, n) == pytest.approx(sum(due) / len(due), rel=1e-6)


def test_self_bleu_at_its_ends():
    assert self_bleu(words("a b c", "a b c", "a b c"), 2) == pytest.approx(100)
    apart = self_bleu(words("a b c", "d e f"), 2)
    assert apart == pytest.approx(100 * math.sqrt(0.1 / 3 * 0.1 / 2))
    assert math.isnan(self_bleu(words("a b"), 2))
    assert self_bleu([[], ["a"], ["a"]], 2) == pytest.approx(200 / 3)  # no words score 0
    # one of two copies alone: what is clipped is the other's count, not its own
    assert self_bleu(words("a a a", "a b c"), 2) < 50


def test_entropy_and_unikl_against_scipy():
    text, reference = drawn(50, 1), drawn(80, 2)
    flat, other = ([word for row in rows for word in row] for rows in (text, reference))
    p, q = (np.array([rows.count(word) for word in "abcdefgh"]) for rows in (flat, other))
    assert entropy(text) == pytest.approx(scipy_entropy(p))
    assert unikl(text, reference) == pytest.approx((scipy_entropy(p, q), 0.0))
    assert unikl(reference, reference) == pytest.approx((0.0, 0.0))


def test_words_that_the_reference_has_not_are_told_apart():
    found, share = unikl(words("a a z z"), words("a b"))
    assert share == 0.5
    assert found == pytest.approx(math.log(2))  # all of a, where the reference has half
    assert found >= 0
    assert math.isnan(unikl(words("z"), words("a"))[0])
    assert all(map(math.isnan, unikl([], words("a"))))


def test_every_figure_has_a_signature_with_its_number():
    texts = {
        "samples": ["a b", "b a", "c"],
        "sentences": ["a b c d e", "c b a", "a"],
        "reconstructions": ["a b c d e", "c b a", "a"],
    }
    found = measured(texts, 7, "test")
    assert set(found) == {*FIGURES, "estimators"} == {*found["estimators"], "estimators"}
    assert found["text_bleu_reconstructions"] == pytest.approx(100)
    assert found["text_length_samples"] == pytest.approx(5 / 3)
    said = found["estimators"]
    assert said["text_self_bleu_2_samples"] == (
        "self_bleu_2:n=3|of=samples|seed=7|floor=0.1|tok=space|v1"
    )
    assert said["text_unikl_samples"] == "unikl:n=3|of=samples|seed=7|ref=test|tok=space|v1"
    assert said["text_dist_1_sentences"] == "dist_1:n=3|of=sentences|split=test|tok=space|v1"
    without = measured({"sentences": ["a"], "transfers": ["b"]}, 0, "test")
    assert without["text_dist_1_samples"] is None
    assert without["text_length_sentences"] == 1


def test_nothing_has_no_length():
    assert math.isnan(mean_length([]))


def test_evaluate_prints_it(tmp_path, capsys):
    import aecore
    from aecore_cli.__main__ import main

    tiny = {"model.latent": 3, "model.hidden": 6, "train.device": "cpu", "evaluate.iw_samples": 0}
    run = aecore.train([], "toy[:60]", tiny, max_steps=2, out=tmp_path / "run")
    assert main(["evaluate", str(run.path), "--text", "--limit", "20", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["text_length_sentences"] > 5
    assert found["estimators"]["text_dist_2_samples"].startswith("dist_2:n=20|of=samples|seed=0")
    assert main(["evaluate", str(run.path), "--text", "--limit", "20"]) == 0
    out = capsys.readouterr().out
    assert "self_bleu_3" in out
    assert "dist_1:n=20|of=samples" in out
