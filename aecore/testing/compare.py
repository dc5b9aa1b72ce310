"""Comparing runs, tensors and gradients, in the words of the kit's messages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from aecore.model import Model
from aecore.plugin import ROLES


def mixed(values: Tensor) -> Tensor:
    """A random combination, 0-d: sums and norms may be constant where their parts are not."""
    return (values * torch.randn_like(values)).sum()


def snapshot(model: Model, *roles: str) -> dict[str, Tensor]:
    """A copy of the parameters of these roles, of all of them unless named."""
    return {
        name: parameter.detach().clone()
        for name, parameter in model.named_params(*(roles or ROLES))
    }


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> list[str]:
    """``name, largest change x`` for every tensor that is not bit-identical."""
    return [
        f"{name}, largest change {largest(after[name], value):.3g}"
        for name, value in before.items()
        if not torch.equal(after[name], value)
    ]


def largest(one: Tensor, other: Tensor) -> float:
    """The largest difference between two tensors; 0 between empty ones."""
    return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0


def shown(lines: list[str], most: int = 3) -> str:
    """The first few of them, and how many more there are."""
    return "; ".join(lines[:most]) + (
        f"; and {len(lines) - most} more" if len(lines) > most else ""
    )


def difference(
    one: list[dict[str, Any]],
    other: list[dict[str, Any]],
    keys: Iterable[str] = (),
    relative: float = 0.0,
) -> str:
    """The first scalar in which two runs differ by more than ``relative``; "" if none does."""
    for left, right in zip(one, other, strict=True):
        for key in keys or sorted({*left, *right}):
            a, b = left.get(key), right.get(key)
            apart = (
                a != b
                if isinstance(a, str) or a is None or b is None
                else abs(a - b) > relative * max(abs(a), abs(b))
            )
            if apart:
                return f"{left['stage']} step {left['step']}, {key}: {a!r} and {b!r}"
    return ""


def gradient_norm(value: Tensor, parameters: Iterable[Tensor]) -> float:
    """The norm of the gradient of a scalar in the parameters; 0 where no graph connects them."""
    found = [parameter for parameter in parameters if parameter.requires_grad]
    if not (value.requires_grad and found):
        return 0.0
    gradients = torch.autograd.grad(value, found, materialize_grads=True, retain_graph=True)
    return math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
