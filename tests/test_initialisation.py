"""Each law of initialisation against what it promises."""

import pytest
import torch
from torch import nn

from aecore import initialise
from aecore.initialisation import Initialisation, initialising
from aecore.streams import stream


class Parts(nn.Module):
    """One of each kind of layer, and a bare parameter."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(3000, 20)
        self.lstm = nn.LSTM(24, 40)
        self.head = nn.Linear(40, 60)
        self.bare = nn.Parameter(torch.full((30,), 7.0))


def drawn(law):
    made = Parts()
    with stream("drawn"), initialising(law):
        initialise(made)
    return made


def test_published():
    made = drawn(Initialisation("published"))
    for name, parameter in made.named_parameters():
        bound = 0.1 if name == "words.weight" else 0.01
        assert 0.8 * bound < parameter.abs().max() <= bound, name


def test_orthogonal():
    made = drawn(Initialisation("orthogonal", embedding_std=0.3, forget_bias=0.75))
    for gate in made.lstm.weight_hh_l0.chunk(4):
        assert torch.allclose(gate @ gate.t(), torch.eye(40), atol=1e-5)
    for gate in made.lstm.weight_ih_l0.chunk(4):
        bound = (6 / (40 + 24)) ** 0.5
        assert 0.95 * bound < gate.abs().max() <= bound
    assert made.words.weight.std().item() == pytest.approx(0.3, rel=0.02)
    both = (made.lstm.bias_ih_l0 + made.lstm.bias_hh_l0).chunk(4)
    assert [gate.unique().tolist() for gate in both] == [[0.0], [0.75], [0.0], [0.0]]
    assert made.head.weight.abs().max() <= (6 / (40 + 60)) ** 0.5
    assert not made.head.bias.any()
    assert made.bare.abs().max() <= 0.01


def test_outside_of_a_run_it_is_the_published_one():
    made = Parts()
    with stream("drawn"):
        initialise(made)
    assert torch.equal(made.head.weight, drawn(Initialisation("published")).head.weight)


def test_a_layer_without_entries_is_left_alone():
    layer = nn.Linear(0, 5, bias=False)
    with initialising(Initialisation("orthogonal")):
        initialise(layer)
    assert layer.weight.shape == (5, 0)
