"""The bootstrap against what is known in closed form, and Holm's correction by hand."""

import math

import pytest
import torch

from aecore.comparing.bootstrap import LEVEL, POWER, contrast, holm, interval, means
from aecore.streams import stream


def drawn(key, seeds, sentences, between=0.0, within=1.0, common=None, mean=0.0):
    """Energies (S, N): a common part of each sentence, one of each seed, and noise."""
    with stream("energies", *key):
        base = torch.randn(sentences, dtype=torch.float64) if common is None else common
        offsets = between * torch.randn(seeds, 1, dtype=torch.float64)
        noise = within * torch.randn(seeds, sentences, dtype=torch.float64)
        return mean + base + offsets + noise


def test_one_seed_has_the_standard_error_of_the_mean_of_sentences():
    values = drawn((1,), 1, 400)
    (found,) = means([values], 4000)
    due = float(values.std(unbiased=False)) / math.sqrt(400)
    assert float(found.std()) == pytest.approx(due, rel=0.05)
    its = interval(values, found)
    assert its.mean == pytest.approx(float(values.mean()))
    assert its.high - its.low == pytest.approx(2 * LEVEL * due, rel=0.08)


def test_what_sentences_share_drops_out_of_a_difference():
    with stream("hard sentences"):
        hard = 20 * torch.randn(500, dtype=torch.float64)
    one = drawn((2,), 1, 500, within=0.5, common=hard)
    other = drawn((3,), 1, 500, within=0.5, common=hard, mean=0.1)
    found = means([one, other])
    assert float(found[0].std()) > 0.8  # 20 / sqrt(500)
    apart = contrast(one, other, (found[0], found[1]))
    due = math.sqrt(0.5) / math.sqrt(500)
    assert apart.detectable == pytest.approx((LEVEL + POWER) * due, rel=0.1)
    assert apart.p < 0.01


def test_seeds_widen_the_interval():
    values = drawn((4,), 8, 2000, between=1.0)
    (found,) = means([values], 4000)
    of_seeds = float(values.mean(1).std(unbiased=False)) / math.sqrt(8)
    of_sentences = float(values.mean(0).std()) / math.sqrt(2000)
    assert float(found.std()) == pytest.approx(math.hypot(of_seeds, of_sentences), rel=0.06)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """20 seeds, 60 sentences, 200 repetitions: 95 % to three standard errors, less a little."""
    hits = 0
    for key in range(200):
        values = drawn((5, key), 20, 60, between=0.3)
        (found,) = means([values], 400)
        its = interval(values, found)
        hits += its.low <= 0.0 <= its.high
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200) - 0.02 <= hits / 200


def test_p_is_uniform_where_there_is_no_difference():
    small = 0
    for key in range(200):
        one, other = (drawn((6, key, side), 1, 80) for side in (0, 1))
        found = means([one, other], 400)
        small += contrast(one, other, (found[0], found[1])).p < 0.1
    assert abs(small / 200 - 0.1) <= 3 * math.sqrt(0.1 * 0.9 / 200)


def test_the_detectable_difference_is_seen_in_four_of_five_cases():
    seen = 0
    with stream("same sentences"):
        common = torch.randn(100, dtype=torch.float64)
    for key in range(150):
        one = drawn((7, key, 0), 1, 100, common=common)
        other = drawn((7, key, 1), 1, 100, common=common)
        found = means([one, other], 400)
        size = contrast(one, other, (found[0], found[1])).detectable
        shifted = other + size
        seen += contrast(one, shifted, (found[0], found[1] + size)).p < 0.05
    assert abs(seen / 150 - 0.8) <= 3.5 * math.sqrt(0.8 * 0.2 / 150)


def test_the_same_runs_have_the_same_draws():
    values = drawn((8,), 2, 30)
    assert torch.equal(means([values], 300)[0], means([values], 300)[0])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
