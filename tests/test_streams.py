"""Named random streams: the same key gives the same draws, and torch's generator stays as it was
found.
"""

import pytest
import torch

from aecore.streams import Streams, seed_of, stream


def draws(*key):
    with stream(*key):
        return torch.rand(50)


KEYS = [
    (0, "step", 0),
    (0, "step", 1),
    (1, "step", 0),
    (0, "data", 0),
    (0, "step", "0"),
    (0, "step"),
    (0, "step", 0, 0),
    (0, "st", "ep", 0),
    ("0", "step", 0),
]


def test_the_same_key_gives_the_same_draws():
    for key in KEYS:
        assert torch.equal(draws(*key), draws(*key))


def test_other_keys_give_other_draws():
    found = [draws(*key) for key in KEYS]
    for i, one in enumerate(found):
        for other in found[i + 1 :]:
            assert not torch.equal(one, other)
    assert len({seed_of(0, "step", index) for index in range(10_000)}) > 9_990


def test_a_seed_is_the_same_in_every_process():
    """Not Python's hash, which is salted: blake2b of the key's text, so that old runs can be
    trained again.
    """
    assert seed_of(0, "step", 0) == 1_628_664_340


def test_what_ran_before_does_not_matter():
    torch.manual_seed(1)
    one = draws(3, "x")
    torch.rand(17)
    assert torch.equal(draws(3, "x"), one)


def test_the_generator_is_given_back_as_it_was_found():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    with stream("a"):
        torch.rand(100)
    assert torch.equal(torch.rand(4), expected)


def test_also_after_an_exception():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    with pytest.raises(ZeroDivisionError), stream("a"):
        _ = torch.rand(3) / (1 // 0)
    assert torch.equal(torch.rand(4), expected)


def test_also_after_somebody_seeded_inside():
    before = torch.get_rng_state()
    with stream("a"):
        torch.manual_seed(99)
    assert torch.equal(torch.get_rng_state(), before)


def test_nested_streams_do_not_disturb_each_other():
    alone = draws("outer")
    with stream("outer"):
        first = torch.rand(20)
        with stream("inner"):
            inner = torch.rand(50)
        second = torch.rand(30)
    assert torch.equal(torch.cat([first, second]), alone)
    assert torch.equal(inner, draws("inner"))
    with stream("outer"), stream("outer"):
        assert torch.equal(torch.rand(50), alone)


def test_normal_draws_start_afresh_too():
    """A generator that has half a pair of normals in hand must not hand it into the next stream."""
    with stream("n"):
        one = torch.randn(3)
    torch.randn(1)
    with stream("n"):
        assert torch.equal(torch.randn(3), one)


def test_the_streams_of_a_run_are_keyed_by_its_seed():
    with Streams(4)("step", 2):
        one = torch.rand(5)
    with stream(4, "step", 2):
        assert torch.equal(torch.rand(5), one)
    with Streams(5)("step", 2):
        assert not torch.equal(torch.rand(5), one)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_its_generator_is_lent_as_well():
    device = torch.device("cuda", 0)
    before = torch.cuda.get_rng_state(device)
    with stream("a", device=device):
        one = torch.rand(5, device=device)
    assert torch.equal(torch.cuda.get_rng_state(device), before)
    with stream("a", device=device):
        assert torch.equal(torch.rand(5, device=device), one)
