"""Ranks: what they agree on, what each does alone, and batches smaller than their number."""

import pytest
import torch

from aecore import distributed, ranks
from aecore.errors import RunError
from aecore.testing.halves import Turns
from aecore.testing.lab import batch_of, corpus


def each(work, size=2):
    return Turns(size).run(work)


def test_the_first_says_and_any_of_them_decides():
    assert each(lambda: ranks.said(f"rank {ranks.rank()} é")) == ["rank 0 é"] * 2
    assert each(lambda: ranks.agree(ranks.rank() == 1)) == [True, True]
    assert each(lambda: ranks.agree(False)) == [False, False]
    assert (ranks.said("alone"), ranks.agree(True), ranks.agree(False)) == ("alone", True, False)


def test_alone_a_mean_is_that_of_the_process_and_agreement_is_still_of_all():
    def work():
        agree = ranks.agreement()
        with ranks.alone():
            value = ranks.mean(torch.tensor([1.0 + ranks.rank(), 3.0]), 2)
            return ranks.size(), float(value), agree(ranks.rank() == 0), ranks.size()

    outside = each(lambda: (ranks.size(), work()))
    assert outside == [(2, (1, 2.0, True, 1)), (2, (1, 2.0, True, 1))]


@pytest.mark.parametrize("sentences", [1, 2, 3, 5])
def test_every_rank_has_sentences_and_the_mean_is_that_of_the_batch(sentences):
    rows = torch.arange(sentences)
    due = float(corpus().train.batch(rows).lengths.double().mean())

    def work():
        batch = corpus().train.share(rows)
        assert len(batch) > 0
        return float(ranks.mean(batch.lengths.double(), batch.global_size))

    for size in (2, 3):
        assert each(work, size) == pytest.approx([due] * size)


def test_the_target_of_a_part_is_a_part():
    (batch, _) = each(lambda: corpus().train.share(torch.arange(5)))
    assert batch.whole == batch.target.whole == 5
    assert batch_of(5).target.whole is None


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, (0, 1)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, (1, 2)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1)),
        ({"WORLD_SIZE": "4"}, (0, 1)),
    ],
)
def test_where_torchrun_has_put_us(monkeypatch, variables, place):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert distributed.place() == place


def test_an_environment_that_is_none_of_torchruns(monkeypatch):
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(RunError, match="and no numbers"):
        distributed.place()


def test_alone_nobody_is_joined(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with distributed.joined(torch.device("cpu")):
        assert ranks.size() == 1
