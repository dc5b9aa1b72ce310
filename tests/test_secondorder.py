"""What runs inside `aecore.second_order`: only what can be differentiated twice, and everything is
given back.
"""

import pytest
import torch
from support import build, some_batch

import aecore
from aecore import crossentropy


def curvature(model, batch, dtype):
    """d/d(decoder) of the squared norm of the gradient of the energies with respect to z."""
    model = model.to(dtype)
    with aecore.second_order():
        z = torch.linspace(-1, 1, 4 * 3, dtype=dtype).view(4, 1, 3).requires_grad_()
        (first,) = torch.autograd.grad(model.nll(batch, z).sum(), z, create_graph=True)
    return torch.autograd.grad(first.square().sum(), list(model.decoder.parameters()))


def test_energies_differentiate_twice_in_float32():
    model, batch = build(), some_batch()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(40)
    found = curvature(model, batch, torch.float32)
    for one, exact in zip(found, curvature(model, batch, torch.float64), strict=True):
        assert torch.allclose(one.double(), exact, rtol=1e-3, atol=1e-4 * float(exact.abs().max()))
    assert max(float(one.abs().max()) for one in found) > 0.1


def test_the_fused_kernel_and_cudnn_are_left_out_inside_alone(monkeypatch):
    used, whole = [], crossentropy._Tiled.apply
    monkeypatch.setattr(
        crossentropy._Tiled, "apply", lambda *inputs: used.append(1) or whole(*inputs)
    )
    model, batch, z = build(), some_batch(), torch.zeros(4, 1, 3)
    outside = model.nll(batch, z)
    assert used == [1]
    before = torch.backends.cudnn.enabled
    with pytest.raises(ValueError, match="inside"), aecore.second_order():  # noqa: PT012
        assert not torch.backends.cudnn.enabled
        inside = model.nll(batch, z)
        with aecore.second_order():
            model.nll(batch, z)
        model.nll(batch, z)
        assert used == [1]
        raise ValueError("inside")
    assert torch.backends.cudnn.enabled == before
    assert torch.allclose(inside, outside, atol=1e-5)
    model.nll(batch, z)
    assert used == [1, 1]
