"""Muon against the singular value decomposition, and against torch's own where that applies."""

import pytest
import torch
from torch import nn

from aecore.streams import stream
from aecore.training.muon import MOMENTUM, Muon, orthogonalised


def some(*shape):
    with stream("some", *shape):
        return torch.randn(*shape)


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 16, 40), (2, 40, 16)])
def test_the_iteration_takes_singular_values_near_one_and_keeps_the_vectors(shape):
    matrices = some(*shape).double()
    u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
    values = s / matrices.flatten(1).norm(dim=1, keepdim=True)
    for _ in range(3):
        # the scalar map, on each singular value
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    expected = u @ (values.unsqueeze(-1) * vh)
    assert torch.allclose(orthogonalised(matrices, 3), expected, atol=1e-10)
    large = s / matrices.flatten(1).norm(dim=1, keepdim=True) > 0.03
    assert ((values > 0.5) & (values < 1.3))[large].all()


def test_five_iterations_are_those_of_torch():
    """torch.optim.Muon rounds to bf16, so it agrees to that; its rate is adjusted by the same
    factor.
    """
    start, gradient = some(12, 8), some(12, 8)
    theirs = nn.Parameter(start.clone())
    theirs.grad = gradient.clone()
    torch.optim.Muon([theirs], lr=1.0, weight_decay=0.0, momentum=MOMENTUM).step()
    step = orthogonalised((gradient * (1 - MOMENTUM) * (1 + MOMENTUM)).unsqueeze(0), 5)[0]
    found = start - (12 / 8) ** 0.5 * step
    assert (found - theirs).norm() / step.norm() < 0.02


def test_each_gate_is_a_matrix_of_its_own():
    weight = nn.Parameter(some(4 * 6, 6))
    before, weight.grad = weight.detach().clone(), some(4 * 6, 6)
    Muon([weight], lr=0.1).step()
    gates = torch.stack((weight.grad * (1 + MOMENTUM)).chunk(4))
    assert torch.allclose(before - weight, 0.1 * orthogonalised(gates).flatten(0, 1), atol=1e-6)


def test_tall_gates_take_longer_steps_and_all_shrink():
    weight = nn.Parameter(some(4 * 8, 2))
    before, weight.grad = weight.detach().clone(), some(4 * 8, 2)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    gates = torch.stack((weight.grad * (1 + MOMENTUM)).chunk(4))
    expected = before * 0.95 - 0.1 * 2 * orthogonalised(gates).flatten(0, 1)  # sqrt(8 / 2) = 2
    assert torch.allclose(weight, expected, atol=1e-6)


def test_momentum_by_hand():
    weight, gradients = (
        nn.Parameter(torch.zeros(4 * 3, 3)),
        [some(12, 3, n)[..., 0] for n in (1, 2)],
    )
    optimiser, momentum = Muon([weight], lr=0.2), torch.zeros(12, 3)
    expected = torch.zeros(12, 3)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimiser.step()
        momentum = MOMENTUM * momentum + gradient
        expected -= 0.2 * orthogonalised((gradient + MOMENTUM * momentum).view(4, 3, 3)).flatten(
            0, 1
        )
    assert torch.allclose(weight, expected, atol=1e-6)


def test_a_gradient_of_zero_is_no_step():
    weight = nn.Parameter(torch.ones(8, 2))
    weight.grad = torch.zeros(8, 2)
    Muon([weight]).step()
    assert torch.equal(weight, torch.ones(8, 2))


def test_parameters_without_a_gradient_stay():
    weight = nn.Parameter(torch.ones(8, 2))
    Muon([weight], weight_decay=0.5).step()
    assert torch.equal(weight, torch.ones(8, 2))
