"""Output layer and cross-entropy in one: logits of N tokens over V words are never all there.

The target's logit takes the place of the usual maximum in log sum_v exp(l_v - l_target): the sum is
at least 1, so nothing underflows, and it overflows only where a token costs more than 88 nats,
which is then computed the slow way.

With bf16 operands the products of states and weights are taken in bf16, which is several times as
fast where the processor has it; target logits, exponentials and sums stay float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from aecore import secondorder

#: The tile of logits that evaluation holds at a time, tokens by words: 2 MiB in float32, which
#: stays in the cache of a CPU.
EVALUATION_CHUNK = 512
EVALUATION_WORDS = 1024
#: Tokens in a tile of whole rows on other devices, where launching a kernel costs more than memory
#: does.
DEVICE_CHUNK = 8192
#: Words in a tile of training on a CPU, and in one of its backward pass.
TRAINING_WORDS = 512
BACKWARD_WORDS = 1024


def token_nll(
    states: Tensor, targets: Tensor, weight: Tensor, operands: torch.dtype = torch.float32
) -> Tensor:
    """(N,): -log softmax(W h)[target], nats, for states (N, H), targets (N,), weights W (V, H).

    Args:
        operands: float32 or bfloat16, in which the products of training are taken; evaluation takes
            float32.
    """
    if not torch.is_grad_enabled():
        return _evaluated(states, targets, weight)
    if secondorder.wanted():
        return _plain(states, targets, weight)
    if states.device.type == "cpu" and states.dtype == torch.float32:
        losses, finite = _Tiled.apply(states, targets, weight, operands)  # type: ignore[no-untyped-call]
        return losses if bool(finite) else _plain(states, targets, weight)
    narrow = operands if operands is torch.bfloat16 else None  # float64 stays what it is
    return _plain(states, targets, weight, narrow)


def _plain(
    states: Tensor, targets: Tensor, weight: Tensor, operands: torch.dtype | None = None
) -> Tensor:
    """The same by torch's functions, in the type of the states unless ``operands`` name one."""
    inputs = (states, weight) if operands is None else (states.to(operands), weight.to(operands))
    return F.cross_entropy(F.linear(*inputs).to(states.dtype), targets, reduction="none")


class _Tiled(torch.autograd.Function):
    """Exponentiates tiles of logits while they are in the cache, and makes their gradients there.

    The tiles are words by tokens, (V, n), so that each is contiguous. Where the gradient is itself
    to be differentiated (``create_graph``), it is computed by plain operations instead.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, targets: Tensor, weight: Tensor, operands: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        own = (states * weight[targets]).sum(1)  # (N,)
        total = torch.zeros_like(own)
        ctx.exponentials = states.new_empty(len(weight), len(states), dtype=operands)
        transposed = states.to(operands).t()
        for tile, part in _tiles(TRAINING_WORDS, ctx.exponentials, weight):
            if operands is torch.float32:
                total += torch.mm(part, transposed, out=tile).sub_(own).exp_().sum(0)
            else:
                logits = torch.mm(part.to(operands), transposed).float()
                total += logits.sub_(own).exp_().sum(0)
                tile.copy_(logits)
        ctx.save_for_backward(states, targets, weight, total)
        finite = torch.isfinite(total).all()
        ctx.mark_non_differentiable(finite)
        return total.log(), finite

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, Tensor | None, None]:
        states, targets, weight, total = ctx.saved_tensors
        if torch.is_grad_enabled():
            losses = _plain(states, targets, weight)
            first, second = torch.autograd.grad(
                losses, (states, weight), gradient, create_graph=True
            )
            return first, None, second, None
        operands = ctx.exponentials.dtype
        # the factors go to the states, which are fewer than the exponentials
        scale = (gradient / total).unsqueeze(1)
        scaled, to_states = (states * scale).to(operands), torch.zeros_like(states)
        if not ctx.needs_input_grad[2]:  # a frozen decoder
            for tile, part in _tiles(BACKWARD_WORDS, ctx.exponentials, weight):
                to_states += torch.mm(tile.t(), part.to(operands))
            return _to_states(to_states, scale, gradient, weight[targets]), None, None, None
        to_weight = torch.empty_like(weight)
        for tile, part, to_part in _tiles(BACKWARD_WORDS, ctx.exponentials, weight, to_weight):
            if operands is torch.float32:
                torch.mm(tile, scaled, out=to_part)
                to_states.addmm_(tile.t(), part)
            else:
                to_part.copy_(torch.mm(tile, scaled))
                to_states += torch.mm(tile.t(), part.to(operands))
        _to_states(to_states, scale, gradient, weight[targets])
        to_weight.index_add_(0, targets, -gradient.unsqueeze(1) * states)
        return to_states, None, to_weight, None


def _to_states(summed: Tensor, scale: Tensor, gradient: Tensor, own: Tensor) -> Tensor:
    """The gradient in the states, in place: of the normaliser, less that of the target's logit."""
    return summed.mul_(scale).addcmul_(gradient.unsqueeze(1), own, value=-1)


def _tiles(size: int, *wholes: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(torch.split(whole, size) for whole in wholes), strict=True)


def _evaluated(states: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """The same without a graph: the logits of all tokens never exist together."""
    own = (states * weight[targets]).sum(1, keepdim=True)  # (N, 1)
    total = torch.zeros_like(own)
    cpu = states.device.type == "cpu"
    rows, words = (EVALUATION_CHUNK, EVALUATION_WORDS) if cpu else (DEVICE_CHUNK, len(weight))
    buffer = states.new_empty(min(rows, len(states)) * min(words, len(weight)))
    for some, target, sum_ in zip(
        *(torch.split(whole, rows) for whole in (states, own, total)), strict=True
    ):
        for part in torch.split(weight, words):
            tile = buffer[: len(some) * len(part)].view(len(some), len(part))
            torch.mm(some, part.t(), out=tile)
            sum_ += tile.sub_(target).exp_().sum(1, keepdim=True)
    losses = total.squeeze(1).log()
    lost = (~losses.isfinite()).nonzero().squeeze(1)
    if len(lost):
        losses[lost] = F.cross_entropy(
            F.linear(states[lost], weight), targets[lost], reduction="none"
        )
    return losses
