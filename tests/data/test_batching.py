"""Plans: every sentence once, little padding, and random where they should be."""

from itertools import chain, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aecore.data.batching import POOL_BATCHES, Plan, epoch_plan, evaluation_plan
from aecore.streams import stream

MODES = ["bucketed", "mixed"]


def draw(lengths: torch.Tensor, batch_size: int, mode: str, seed: int = 0) -> Plan:
    with stream(seed, "data", 0):
        return epoch_plan(lengths, batch_size, mode)


def some_lengths(n: int) -> torch.Tensor:
    return torch.randint(2, 40, (n,), generator=torch.Generator().manual_seed(7))


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), max_size=400), st.integers(1, 9), st.sampled_from([*MODES, "evaluation"]))
def test_every_sentence_once_and_one_batch_at_most_not_full(lengths, batch_size, mode):
    rows = torch.tensor(lengths, dtype=torch.int64)
    plan = evaluation_plan(rows, batch_size) if mode == "evaluation" else draw(rows, batch_size, mode)
    batches = [batch.tolist() for batch in plan]
    assert sorted(chain.from_iterable(batches)) == list(range(len(lengths)))
    assert len(plan) == len(batches) == -(-len(lengths) // batch_size)
    assert sum(len(batch) != batch_size for batch in batches) == (len(lengths) % batch_size > 0)


def test_batches_by_number():
    plan = Plan(torch.tensor([4, 0, 3, 1, 2]), torch.tensor([0, 2, 3, 5]))
    assert [batch.tolist() for batch in plan] == [[4, 0], [3], [1, 2]]
    assert plan[2].tolist() == [1, 2]
    for number in (3, -1):
        with pytest.raises(IndexError, match=f"batch {number} of a plan of 3"):
            plan[number]


@pytest.mark.parametrize("mode", MODES)
def test_same_stream_same_plan_other_stream_other_plan(mode):
    lengths = some_lengths(500)
    first, again, other = draw(lengths, 8, mode), draw(lengths, 8, mode), draw(lengths, 8, mode, seed=1)
    assert torch.equal(first.order, again.order)
    assert torch.equal(first.bounds, again.bounds)
    assert not torch.equal(first.order, other.order)


def test_bucketed_batches_within_one_pool_do_not_overlap_in_length():
    lengths = some_lengths(POOL_BATCHES * 4)
    spans = sorted((int(lengths[batch].min()), int(lengths[batch].max())) for batch in draw(lengths, 4, "bucketed"))
    assert len(spans) == POOL_BATCHES
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_bucketing_saves_padding_and_mixing_does_not():
    lengths = some_lengths(4000)

    def full(plan: Plan) -> float:
        return sum(int(lengths[batch].sum()) for batch in plan) / sum(int(lengths[batch].max()) * len(batch) for batch in plan)

    assert full(draw(lengths, 32, "bucketed")) > 0.97
    assert full(draw(lengths, 32, "mixed")) < 0.6


def test_bucketed_batches_come_in_random_order_and_composition():
    lengths = some_lengths(4000)
    plan = draw(lengths, 32, "bucketed")
    longest = torch.tensor([int(lengths[batch].max()) for batch in plan]).double()
    trend = torch.corrcoef(torch.stack([longest, torch.arange(len(plan)).double()]))[0, 1]
    assert abs(trend) < 0.3  # 125 batches: three standard errors are 0.27
    other = {frozenset(batch.tolist()) for batch in draw(lengths, 32, "bucketed", seed=1)}
    assert not other & {frozenset(batch.tolist()) for batch in plan}


def test_the_batch_that_is_not_full_comes_anywhere():
    lengths = some_lengths(50)
    places = {[len(batch) for batch in draw(lengths, 8, "bucketed", seed)].index(2) for seed in range(60)}
    assert places == set(range(7))


def test_evaluation_goes_from_short_to_long_ties_by_number():
    plan = evaluation_plan(torch.tensor([5, 2, 9, 2, 5]), 2)
    assert [batch.tolist() for batch in plan] == [[1, 3], [0, 4], [2]]


def test_evaluation_draws_nothing():
    before = torch.get_rng_state()
    evaluation_plan(some_lengths(100), 8)
    assert torch.equal(before, torch.get_rng_state())
