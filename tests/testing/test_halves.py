"""Two halves are one batch: the kit's check on methods that reduce their batch rightly and wrongly,
and the seam itself.
"""

import pytest
import torch

from aecore import Plugin, hookimpl, ranks
from aecore import testing as kit
from aecore.testing import CheckFailure, check_two_halves_are_one_batch
from aecore.testing.halves import Turns

PENALTY = {"requires": {"kl": "batch", "kl_gradient": ["encoder"]}}


class Floor(Plugin):
    """A floor under the mean of the batch."""

    @hookimpl
    def kl_penalty(self, kl, step):
        total = kl.sum(1, keepdim=True)
        return self.mean(total, step).square().expand(len(kl), 1)

    def mean(self, total, step):
        return step.mean(total)


class LocalFloor(Floor):
    def mean(self, total, step):
        return total.mean(0)


class Gathered(Plugin):
    """Every pair of sentences is pushed apart."""

    @hookimpl
    def extra_loss(self, step):
        z = step.gather(step.sample.z[:, 0])
        return torch.cdist(step.sample.z[:, 0], z).square().mean(1)


class Neighbours(Gathered):
    @hookimpl
    def extra_loss(self, step):
        z = step.sample.z[:, 0]
        return torch.cdist(z, z).square().mean(1)


class LocalRule(Plugin):
    """Updates until its own part of a batch has a small loss."""

    @hookimpl
    def before_step(self, session, batch):
        own = float(batch.lengths.double().mean())
        if own > float(session.mean(batch.lengths.double(), batch)):
            session.update(session.loss(batch), ["encoder"])
        return []


@pytest.mark.parametrize("cls", [Floor, Gathered])
def test_a_method_that_asks_the_step_passes(subject_of, cls):
    check_two_halves_are_one_batch(subject_of(cls, **(PENALTY if cls is Floor else {})))


@pytest.mark.parametrize(("cls", "what"), [(LocalFloor, "loss"), (Neighbours, "loss")])
def test_a_method_that_looks_at_its_own_half_fails(subject_of, cls, what):
    table = PENALTY if cls is LocalFloor else {}
    with pytest.raises(CheckFailure, match=f"two halves of a batch have another {what}"):
        check_two_halves_are_one_batch(subject_of(cls, **table))


def test_what_a_failure_says(fails):
    fails(
        kit.check_two_halves_are_one_batch,
        LocalFloor,
        """two halves of a batch have another loss
  joint step <n>: <n> in one process, <n> on rank <n> of <n>
  likely: a mean or a decision over the batch; step.mean and session.agree have all of it""",
        **PENALTY,
    )


def test_a_decision_that_each_half_takes_alone_fails(subject_of):
    with pytest.raises(CheckFailure):
        check_two_halves_are_one_batch(subject_of(LocalRule))


# The seam


def halves(function, values):
    """What two ranks make of the rows of ``values``."""
    return Turns(2).run(lambda: function(values[ranks.rows(len(values))]))


@pytest.mark.parametrize("n", [2, 5, 8])
def test_mean_total_and_gather_are_those_of_all_rows(n):
    values = torch.randn(n, 3, dtype=torch.float64)
    for found in halves(lambda rows: ranks.mean(rows, n), values):
        torch.testing.assert_close(found, values.mean(0))
    for found in halves(lambda rows: ranks.total(rows.sum(0)), values):
        torch.testing.assert_close(found, values.sum(0))
    for found in halves(ranks.gather, values):
        assert torch.equal(found, values)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, n: ranks.mean(x.square().sum(1), n),
        lambda x, n: ranks.mean(x, n).exp().sum(),
        lambda x, n: torch.cdist(g := ranks.gather(x) + 0.1, g.flip(0)).square().sum(),
        lambda x, n: ranks.mean(ranks.mean(x, n).exp() * x, n).sum(),
    ],
)
def test_gradients_are_those_of_one_process(loss):
    values = torch.randn(5, 2, dtype=torch.float64)

    def gradient(rows):
        leaf = rows.clone().requires_grad_()
        (loss(leaf, len(values)) / ranks.size()).backward()
        return leaf.grad

    leaf = values.clone().requires_grad_()
    loss(leaf, len(values)).backward()
    torch.testing.assert_close(torch.cat(halves(gradient, values)), leaf.grad)


def test_a_second_derivative_passes_through_the_total():
    value = torch.tensor([1.5, -0.5], dtype=torch.float64)

    def curvature(row):
        leaf = row.clone().requires_grad_()
        (first,) = torch.autograd.grad(ranks.total(leaf).pow(3).sum(), leaf, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), leaf)
        return second

    # of (a + b)^3 on both ranks: dL/da = 2 * 3 (a + b)^2, its derivative 2 * 2 * 6 (a + b)
    for found in halves(curvature, value):
        torch.testing.assert_close(found, torch.tensor([24.0], dtype=torch.float64))


def test_ranks_agree_where_one_says_so_and_one_writes():
    assert Turns(2).run(lambda: ranks.agree(ranks.rank() == 1)) == [True, True]
    assert Turns(2).run(lambda: ranks.agree(False)) == [False, False]
    assert Turns(2).run(ranks.first) == [True, False]
    assert (ranks.rank(), ranks.size(), ranks.first(), ranks.key()) == (0, 1, True, ())


def test_each_rank_has_a_generator_of_its_own():
    def draws():
        first = torch.rand(1)
        ranks.agree(True)
        return torch.cat([first, torch.rand(1)])

    before = torch.get_rng_state()
    one, other = Turns(2).run(draws)
    assert torch.equal(one, other)
    assert one[0] != one[1]
    assert torch.equal(torch.get_rng_state(), before)


def test_ranks_that_take_different_ways_are_told_apart():
    def work():
        if ranks.first():
            ranks.agree(True)

    with pytest.raises(Exception, match="one process waits"):
        Turns(2).run(work)


def test_what_one_rank_raises_is_raised():
    def work():
        ranks.agree(True)
        if not ranks.first():
            raise ZeroDivisionError("mine")
        ranks.agree(True)

    with pytest.raises(ZeroDivisionError, match="mine"):
        Turns(2).run(work)
