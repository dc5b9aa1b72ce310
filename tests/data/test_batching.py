"""Plans: every sentence once, little padding, and random where they should be."""

from itertools import chain, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aecore.data import batching
from aecore.data.batching import (
    POOL_BATCHES,
    BlockPlan,
    Plan,
    WholePlan,
    epoch_plan,
    evaluation_plan,
    some_sentences,
)
from aecore.streams import stream

MODES = ["bucketed", "mixed"]


def draw(lengths: torch.Tensor, batch_size: int, mode: str, seed: int = 0) -> Plan:
    with stream(seed, "data", 0):
        return epoch_plan(lengths, batch_size, mode)


def some_lengths(n: int) -> torch.Tensor:
    return torch.randint(2, 40, (n,), generator=torch.Generator().manual_seed(7))


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 30), max_size=400),
    st.integers(1, 9),
    st.sampled_from([*MODES, "evaluation"]),
)
def test_every_sentence_once_and_one_batch_at_most_not_full(lengths, batch_size, mode):
    rows = torch.tensor(lengths, dtype=torch.int64)
    plan = (
        evaluation_plan(rows, batch_size) if mode == "evaluation" else draw(rows, batch_size, mode)
    )
    batches = [batch.tolist() for batch in plan]
    assert sorted(chain.from_iterable(batches)) == list(range(len(lengths)))
    assert len(plan) == len(batches) == -(-len(lengths) // batch_size)
    assert sum(len(batch) != batch_size for batch in batches) == (len(lengths) % batch_size > 0)


def test_batches_by_number():
    plan = WholePlan(torch.tensor([4, 0, 3, 1, 2]), torch.tensor([0, 2, 3, 5]))
    assert [batch.tolist() for batch in plan] == [[4, 0], [3], [1, 2]]
    assert plan[2].tolist() == [1, 2]
    for number in (3, -1):
        with pytest.raises(IndexError, match=f"batch {number} of a plan of 3"):
            plan[number]


@pytest.mark.parametrize("mode", MODES)
def test_same_stream_same_plan_other_stream_other_plan(mode):
    lengths = some_lengths(500)
    first, again, other = (
        draw(lengths, 8, mode),
        draw(lengths, 8, mode),
        draw(lengths, 8, mode, seed=1),
    )
    assert torch.equal(first.order, again.order)
    assert torch.equal(first.bounds, again.bounds)
    assert not torch.equal(first.order, other.order)


def test_bucketed_batches_within_one_pool_do_not_overlap_in_length():
    lengths = some_lengths(POOL_BATCHES * 4)
    spans = sorted(
        (int(lengths[batch].min()), int(lengths[batch].max()))
        for batch in draw(lengths, 4, "bucketed")
    )
    assert len(spans) == POOL_BATCHES
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_bucketing_saves_padding_and_mixing_does_not():
    lengths = some_lengths(4000)

    def full(plan: Plan) -> float:
        return sum(int(lengths[batch].sum()) for batch in plan) / sum(
            int(lengths[batch].max()) * len(batch) for batch in plan
        )

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
    places = {
        [len(batch) for batch in draw(lengths, 8, "bucketed", seed)].index(2) for seed in range(60)
    }
    assert places == set(range(7))


def test_evaluation_goes_from_short_to_long_ties_by_number():
    plan = evaluation_plan(torch.tensor([5, 2, 9, 2, 5]), 2)
    assert [batch.tolist() for batch in plan] == [[1, 3], [0, 4], [2]]


def test_evaluation_draws_nothing():
    before = torch.get_rng_state()
    evaluation_plan(some_lengths(100), 8)
    assert torch.equal(before, torch.get_rng_state())


def test_plans_of_corpora_up_to_a_window_are_pinned():
    """A figure that was trained before must come out again: these are the batches that the first
    version drew.
    """
    with stream(0, "data", 3):
        bucketed = epoch_plan(torch.tensor([3, 1, 4, 1, 5, 9, 2, 6, 5, 3]), 3, "bucketed")
    assert [batch.tolist() for batch in bucketed] == [[5], [4, 8, 7], [0, 9, 2], [1, 3, 6]]
    with stream(0, "data", 3):
        mixed = epoch_plan(torch.tensor([3, 1, 4, 1, 5, 9, 2, 6, 5, 3]), 3, "mixed")
    assert [batch.tolist() for batch in mixed] == [[4, 0, 9], [1, 6, 5], [3, 8, 2], [7]]


# Plans in blocks


class Asked:
    """Sentences that remember which of their lengths were asked for."""

    def __init__(self, lengths):
        self.lengths = lengths
        self.slices = []

    def __len__(self):
        return len(self.lengths)

    def lengths_of(self, numbers):
        self.slices.append((numbers.start, numbers.stop))
        return self.lengths[numbers]


@pytest.fixture
def tiny_windows(monkeypatch):
    """Blocks of 8 sentences or a batch, four to a window, for all corpora."""
    for name, value in (("LARGE", 0), ("BLOCK", 8), ("WINDOW", 4)):
        monkeypatch.setattr(batching, name, value)


@pytest.mark.usefixtures("tiny_windows")
@pytest.mark.parametrize("mode", [*MODES, "evaluation"])
@pytest.mark.parametrize("batch_size", [1, 3, 8, 11])
@pytest.mark.parametrize("n", [1, 7, 8, 32, 33, 100, 203])
def test_blocks_hold_every_sentence_once_and_one_batch_at_most_is_not_full(n, batch_size, mode):
    lengths = some_lengths(n)
    plan = (
        evaluation_plan(lengths, batch_size)
        if mode == "evaluation"
        else draw(lengths, batch_size, mode)
    )
    assert isinstance(plan, BlockPlan)
    batches = [batch.tolist() for batch in plan]
    assert sorted(chain.from_iterable(batches)) == list(range(n))
    assert len(plan) == len(batches) == -(-n // batch_size)
    assert sum(len(batch) != batch_size for batch in batches) == (n % batch_size > 0)


@pytest.mark.usefixtures("tiny_windows")
@pytest.mark.parametrize("mode", MODES)
def test_a_batch_of_blocks_is_a_function_of_stream_and_number(mode):
    """A resumed run asks for batch 17 first; it must be the one that the killed run would have
    seen.
    """
    lengths = some_lengths(301)
    expected = [batch.tolist() for batch in draw(lengths, 3, mode)]
    again, other = draw(lengths, 3, mode), draw(lengths, 3, mode, seed=1)
    turns = torch.randperm(len(again), generator=torch.Generator().manual_seed(0)).tolist()
    before = torch.get_rng_state()
    assert {turn: again[turn].tolist() for turn in turns} == dict(enumerate(expected))
    assert torch.equal(before, torch.get_rng_state())
    assert [batch.tolist() for batch in other] != expected
    assert not {tuple(sorted(batch.tolist())) for batch in other} & {
        tuple(sorted(batch)) for batch in expected if len(batch) == 3
    }


@pytest.mark.usefixtures("tiny_windows")
def test_only_the_window_of_the_batch_is_looked_at():
    sentences = Asked(some_lengths(1000))
    with stream(0, "data", 0):
        plan = epoch_plan(sentences, 4, "bucketed")
    assert sentences.slices == []
    _ = plan[0], plan[7], plan[3]  # a window is four blocks of two batches
    assert len(sentences.slices) == 4
    assert all(end - start == 8 for start, end in sentences.slices)
    _ = plan[8]
    assert len(sentences.slices) == 8


@pytest.mark.usefixtures("tiny_windows")
def test_windows_are_of_distant_blocks_and_shuffled_within():
    lengths = some_lengths(3200)
    plan = draw(lengths, 4, "mixed")
    first = [number for index in range(8) for number in plan[index].tolist()]
    assert len({number // 8 for number in first}) == 4
    assert max(first) - min(first) > 400
    blocks = [number // 8 for number in first]
    # 23 expected of 31; 3 if blocks stayed together
    assert sum(one != two for one, two in pairwise(blocks)) > 12


@pytest.mark.usefixtures("tiny_windows")
def test_bucketing_saves_padding_in_blocks_too(monkeypatch):
    monkeypatch.setattr(batching, "WINDOW", 64)
    lengths = some_lengths(4000)
    plan = draw(lengths, 8, "bucketed")
    padded = sum(int(lengths[batch].max()) * len(batch) for batch in plan)
    assert int(lengths.sum()) / padded > 0.9


@pytest.mark.usefixtures("tiny_windows")
def test_evaluation_in_blocks_sorts_neighbours_and_draws_nothing():
    before = torch.get_rng_state()
    lengths = some_lengths(70)
    plan = evaluation_plan(lengths, 4)
    assert [number for index in range(8) for number in plan[index].tolist()] == lengths[
        :32
    ].argsort(stable=True).tolist()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("large", [0, 10**6])
def test_some_sentences_are_different_ones_drawn_uniformly(monkeypatch, large):
    monkeypatch.setattr(batching, "LARGE", large)
    with stream(0, "session", 0):
        drawn = [some_sentences(10, 3).tolist() for _ in range(2000)]
        everything = some_sentences(5, 9).tolist()
    assert all(len(set(row)) == 3 for row in drawn)
    counts = torch.bincount(torch.tensor(drawn).flatten(), minlength=10)
    assert (counts - 600).abs().max() < 82  # four standard errors of Binomial(2000, 0.3)
    assert sorted(everything) == [0, 1, 2, 3, 4]
