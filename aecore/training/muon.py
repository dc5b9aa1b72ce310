"""Muon: steepest descent under the spectral norm, for the matrices of LSTMs.

Source: Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/; Bernstein and Newhouse,
    2024, https://arxiv.org/abs/2409.20325 (why the step is orthogonal).
Deviations: each of the four gates of an LSTM is a matrix of its own; three iterations instead of
    five, which in validation were as good and cost less; in float32, where torch's own takes bf16,
    which few CPUs have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from aecore.initialisation import GATES

#: The coefficients of Jordan et al.: steepest at 0, and [0.7, 1.2] is mapped into itself.
A, B, C = 3.4445, -4.7750, 2.0315
ITERATIONS = 3
MOMENTUM = 0.95


def orthogonalised(matrices: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """(N, R, C): about U V' of each U S V', by Newton-Schulz: X <- a X + (b X X' + c (X X')^2) X.

    Singular values of a matrix above a hundredth of its Frobenius norm come out near 1, smaller
    ones below.
    """
    flat = matrices.shape[1] <= matrices.shape[2]
    x = matrices if flat else matrices.transpose(1, 2)
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1)
    for _ in range(iterations):
        gram = torch.bmm(x, x.transpose(1, 2))
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    return x if flat else x.transpose(1, 2)


class Muon(Optimizer):
    """Muon by gate: W <- W (1 - lr decay) - lr sqrt(max(1, R / C)) orthogonalised(g + mu m).

    m <- mu m + g is the momentum; each gate (R, C) of W is orthogonalised on its own.

    Args:
        parameters: weights of LSTMs, (4 R, C) each.
        lr: the length of a step in the spectral norm.
        weight_decay: decoupled, in units of 1 / lr.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float = 0.02, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of parameters with a gradient; gates of one shape go together."""
        for group in self.param_groups:
            for alike in _by_shape(p for p in group["params"] if p.grad is not None):
                directions = torch.cat(
                    [self._direction(p).view(GATES, -1, p.shape[1]) for p in alike]
                )
                steps = orthogonalised(directions).flatten(0, 1).chunk(len(alike))
                length = (
                    group["lr"] * max(1.0, alike[0].shape[0] / GATES / alike[0].shape[1]) ** 0.5
                )
                for parameter, step in zip(alike, steps, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step, alpha=length)

    def _direction(self, parameter: nn.Parameter) -> Tensor:
        """Nesterov's momentum."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        return gradient.add(state["momentum"].mul_(MOMENTUM).add_(gradient), alpha=MOMENTUM)


def _by_shape(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    found: dict[torch.Size, list[nn.Parameter]] = {}
    for parameter in parameters:
        found.setdefault(parameter.shape, []).append(parameter)
    return list(found.values())
