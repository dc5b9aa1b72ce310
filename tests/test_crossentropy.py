"""The fused output layer against `torch.nn.functional.cross_entropy` in float64."""

import pytest
import torch
from torch.nn import functional as F

from aecore import crossentropy
from aecore.crossentropy import token_nll
from aecore.streams import stream


def inputs(tokens=37, words=1500, width=6, scale=1.0):
    with stream("inputs"):
        states, weight = scale * torch.randn(tokens, width), torch.randn(words, width)
        targets = torch.randint(words, (tokens,))
        upstream = torch.randn(tokens)
    return states, targets, weight, upstream


def exact(states, targets, weight, upstream):
    states, weight = (t.double().requires_grad_() for t in (states, weight))
    losses = F.cross_entropy(states @ weight.t(), targets, reduction="none")
    return losses.detach(), *torch.autograd.grad(losses @ upstream.double(), (states, weight))


@pytest.mark.parametrize("shape", [(1, 3), (37, 512), (37, 513), (700, 1500)])
def test_values_and_gradients(shape):
    states, targets, weight, upstream = inputs(*shape)
    expected = exact(states, targets, weight, upstream)
    states, weight = states.requires_grad_(), weight.requires_grad_()
    losses = token_nll(states, targets, weight)
    found = (losses.detach(), *torch.autograd.grad(losses @ upstream, (states, weight)))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one.double(), other, rtol=2e-5, atol=2e-5)
    with torch.no_grad():
        assert torch.allclose(token_nll(states, targets, weight).double(), expected[0], rtol=2e-5, atol=2e-5)


def test_a_target_that_occurs_twice_gets_both_gradients():
    states, _, weight, upstream = inputs(tokens=4)
    targets = torch.tensor([7, 7, 7, 2])
    expected = exact(states, targets, weight, upstream)[2]
    weight = weight.requires_grad_()
    (found,) = torch.autograd.grad(token_nll(states, targets, weight) @ upstream, weight)
    assert torch.allclose(found.double(), expected, atol=2e-5)


@pytest.mark.parametrize("grad", [True, False])
def test_tokens_that_cost_more_than_float32_can_exponentiate(grad):
    states, targets, weight, upstream = inputs(scale=60.0)
    expected, *gradients = exact(states, targets, weight, upstream)
    assert expected.max() > 100
    weight = weight.requires_grad_()
    with torch.set_grad_enabled(grad):
        losses = token_nll(states, targets, weight)
    assert torch.allclose(losses.double(), expected, rtol=1e-4)
    if grad:
        (found,) = torch.autograd.grad(losses @ upstream, weight)
        assert torch.allclose(found.double(), gradients[1], rtol=1e-3, atol=1e-3)


def curvature(states, targets, weight, upstream, energies):
    """d/d(states, weight) of the squared norm of the gradient with respect to the states."""
    states, weight = states.detach().requires_grad_(), weight.detach().requires_grad_()
    (first,) = torch.autograd.grad(energies(states, targets, weight) @ upstream, states, create_graph=True)
    return torch.autograd.grad(first.square().sum(), (states, weight))


def test_the_second_derivative_is_right():
    """A cross-entropy that is silently differentiable only once gave SA-VAE wrong gradients."""
    states, targets, weight, upstream = inputs(tokens=5, words=30)

    def plain(states, targets, weight):
        return F.cross_entropy(states @ weight.t(), targets, reduction="none")

    expected = curvature(states.double(), targets, weight.double(), upstream.double(), plain)
    for one, other in zip(curvature(states, targets, weight, upstream, token_nll), expected, strict=True):
        assert other.abs().max() > 0.1
        assert torch.allclose(one.double(), other, rtol=1e-4, atol=1e-4)


def test_a_graph_that_is_retained_gives_the_same_gradient_again():
    states, targets, weight, upstream = inputs()
    states = states.requires_grad_()
    loss = token_nll(states, targets, weight) @ upstream
    (first,) = torch.autograd.grad(loss, states, retain_graph=True)
    (second,) = torch.autograd.grad(loss, states)
    assert torch.equal(first, second)


def test_not_a_number_stays_one():
    states, targets, weight, _ = inputs()
    states[3] = float("nan")
    losses = token_nll(states.requires_grad_(), targets, weight)
    assert losses.isnan().tolist() == [row == 3 for row in range(37)]


def dropped(states, rate):
    """The states as the output layer will drop them, from the masks that it draws in the same stream."""
    masks = crossentropy._draw_masks(states, rate)
    return states * masks[torch.arange(len(states)) % len(masks)]


@pytest.mark.parametrize("rate", [0.3, 0.5])
def test_dropout_by_groups_of_tokens(rate):
    states, targets, weight, upstream = inputs(tokens=391, words=1100, width=40)
    with stream("masks"):
        kept = dropped(torch.ones_like(states), rate)
    assert len(kept.unique(dim=0)) == 2  # two masks for 391 tokens, and neighbours do not share one
    assert not torch.equal(kept[0], kept[1])
    assert torch.allclose(kept.unique(), torch.tensor([0, 1 / (1 - rate)]))
    energies, to_states, to_weight = exact(states * kept, targets, weight, upstream)
    states, weight = states.requires_grad_(), weight.requires_grad_()
    with stream("masks"):
        losses = token_nll(states, targets, weight, rate)
    found = (losses.detach(), *torch.autograd.grad(losses @ upstream, (states, weight)))
    for one, other in zip(found, (energies, to_states * kept, to_weight), strict=True):
        assert torch.allclose(one.double(), other, rtol=2e-5, atol=2e-5)


def test_the_masks_of_groups_have_the_moments_of_dropout():
    with stream("moments"):
        masks = torch.cat([crossentropy._draw_masks(torch.zeros(352, 50), 0.5) for _ in range(400)])  # (800, 50)
    entries = masks.numel()
    assert abs(masks.mean() - 1) < 5 / entries**0.5  # each entry has variance 1
    assert abs(masks.square().mean() - 2) < 5 * 2 / entries**0.5


def test_dropout_of_few_tokens_is_torchs_own():
    states, targets, weight, _ = inputs(tokens=40)
    with stream("few"):
        losses = token_nll(states.requires_grad_(), targets, weight, 0.5)
    with stream("few"):
        expected = F.cross_entropy(F.dropout(states, 0.5) @ weight.t(), targets, reduction="none")
    assert torch.allclose(losses, expected, atol=1e-5)


def test_the_second_derivative_under_dropout_by_groups():
    states, targets, weight, upstream = inputs(tokens=360, words=30)
    with stream("masks"):
        kept = dropped(torch.ones_like(states), 0.5).double()

    def plain(states, targets, weight):
        return F.cross_entropy((states * kept) @ weight.t(), targets, reduction="none")

    def ours(states, targets, weight):
        with stream("masks"):
            return token_nll(states, targets, weight, 0.5)

    expected = curvature(states.double(), targets, weight.double(), upstream.double(), plain)
    for one, other in zip(curvature(states, targets, weight, upstream, ours), expected, strict=True):
        assert torch.allclose(one.double(), other, rtol=1e-4, atol=1e-3)
