"""The fused output layer against `torch.nn.functional.cross_entropy` in float64."""

import pytest
import torch
from torch.nn import functional as F

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
        assert torch.allclose(
            token_nll(states, targets, weight).double(), expected[0], rtol=2e-5, atol=2e-5
        )


def test_a_target_that_occurs_twice_gets_both_gradients():
    states, _, weight, upstream = inputs(tokens=4)
    targets = torch.tensor([7, 7, 7, 2])
    expected = exact(states, targets, weight, upstream)[2]
    weight = weight.requires_grad_()
    (found,) = torch.autograd.grad(token_nll(states, targets, weight) @ upstream, weight)
    assert torch.allclose(found.double(), expected, atol=2e-5)


@pytest.mark.parametrize("operands", [torch.float32, torch.bfloat16])
def test_a_frozen_output_layer_passes_the_same_gradient_on(operands):
    states, targets, weight, upstream = inputs(37, 1500, width=40)
    states = states.requires_grad_()
    found = []
    for frozen in (True, False):
        weight.requires_grad_(not frozen)
        losses = token_nll(states, targets, weight, operands)
        found.append(torch.autograd.grad(losses @ upstream, states)[0])
    assert (found[0] - found[1]).norm() / found[1].norm() < 1e-5


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
    (first,) = torch.autograd.grad(
        energies(states, targets, weight) @ upstream, states, create_graph=True
    )
    return torch.autograd.grad(first.square().sum(), (states, weight))


def test_the_second_derivative_is_right():
    """A cross-entropy that is silently differentiable only once gave SA-VAE wrong gradients."""
    states, targets, weight, upstream = inputs(tokens=5, words=30)

    def plain(states, targets, weight):
        return F.cross_entropy(states @ weight.t(), targets, reduction="none")

    expected = curvature(states.double(), targets, weight.double(), upstream.double(), plain)
    for one, other in zip(
        curvature(states, targets, weight, upstream, token_nll), expected, strict=True
    ):
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


@pytest.mark.parametrize("shape", [(37, 1500), (200, 513)])
def test_bf16_operands_change_no_more_than_rounding_does(shape):
    """Logits are rounded to 8 bits; the sum over words averages that out, and the target's logit is
    float32.
    """
    states, targets, weight, upstream = inputs(*shape, width=40)
    weight = 0.3 * weight
    expected = exact(states, targets, weight, upstream)
    states, weight = states.requires_grad_(), weight.requires_grad_()
    losses = token_nll(states, targets, weight, torch.bfloat16)
    found = (losses.detach(), *torch.autograd.grad(losses @ upstream, (states, weight)))
    assert (losses - expected[0]).mean().abs() < 2e-3
    assert (losses - expected[0]).abs().max() < 0.03
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert (one - other).norm() / other.norm() < 0.01
        assert one.dtype == torch.float32


def test_bf16_operands_are_for_training_alone():
    states, targets, weight, _ = inputs()
    with torch.no_grad():
        assert torch.equal(
            token_nll(states, targets, weight, torch.bfloat16), token_nll(states, targets, weight)
        )
