"""The output layer and its cross-entropy in one: the logits of N tokens over V words are never materialised twice.

The target's logit takes the place of the usual maximum in log sum_v exp(l_v - l_target): the sum is at least 1, so nothing
underflows, and it overflows only where a token costs more than 88 nats, which is then computed the slow way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

#: The tile of logits that evaluation holds at a time, tokens by words: 2 MiB in float32, which stays in the cache of a CPU.
EVALUATION_CHUNK = 512
EVALUATION_WORDS = 1024
#: Tokens in a tile of whole rows on other devices, where launching a kernel costs more than memory does.
DEVICE_CHUNK = 8192
#: Words in a tile of training on a CPU, and in one of its backward pass.
TRAINING_WORDS = 512
BACKWARD_WORDS = 1024


def token_nll(states: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """(N,): -log softmax(W h)[target] in nats, for states h (N, H), targets (N,) and the output weights W (V, H)."""
    if not torch.is_grad_enabled():
        return _evaluated(states, targets, weight)
    if states.device.type == "cpu" and states.dtype == torch.float32:
        losses, finite = _Tiled.apply(states, targets, weight)  # type: ignore[no-untyped-call]
        if bool(finite):
            return losses  # type: ignore[no-any-return]
    return F.cross_entropy(F.linear(states, weight), targets, reduction="none")


class _Tiled(torch.autograd.Function):
    """Exponentiates tiles of logits while they are in the cache, and turns them into gradients in place.

    The tiles are words by tokens, (V, N), so that each is contiguous. Where the gradient is itself to be differentiated
    (``create_graph``), it is computed by plain operations instead.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        exponentials, total = _exponentials(states, targets, weight)
        ctx.save_for_backward(states, targets, weight, total)
        ctx.exponentials = exponentials
        finite = torch.isfinite(total).all()
        ctx.mark_non_differentiable(finite)
        return total.log(), finite

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, Tensor]:
        states, targets, weight, total = ctx.saved_tensors
        if torch.is_grad_enabled():
            losses = F.cross_entropy(F.linear(states, weight), targets, reduction="none")
            first, second = torch.autograd.grad(losses, (states, weight), gradient, create_graph=True)
            return first, None, second
        exponentials, ctx.exponentials = ctx.exponentials, None  # scaled in place below, so gone for another pass
        if exponentials is None:
            exponentials, _ = _exponentials(states, targets, weight)
        scale = gradient / total
        to_states = -gradient.unsqueeze(1) * weight[targets]
        to_weight = torch.empty_like(weight)
        for tile, part, to_part in _tiles(BACKWARD_WORDS, exponentials, weight, to_weight):
            tile.mul_(scale)
            torch.mm(tile, states, out=to_part)
            to_states.addmm_(tile.t(), part)
        to_weight.index_add_(0, targets, -gradient.unsqueeze(1) * states)
        return to_states, None, to_weight


def _exponentials(states: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(V, N) exp(l_v - l_target), and its sum over words (N,)."""
    own = (states * weight[targets]).sum(1)
    total = torch.zeros_like(own)
    exponentials = states.new_empty(len(weight), len(states))
    transposed = states.t()
    for tile, part in _tiles(TRAINING_WORDS, exponentials, weight):
        torch.mm(part, transposed, out=tile)
        total += tile.sub_(own).exp_().sum(0)
    return exponentials, total


def _tiles(size: int, *wholes: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(torch.split(whole, size) for whole in wholes), strict=True)


def _evaluated(states: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """The same without a graph: the logits of all tokens never exist together."""
    own = (states * weight[targets]).sum(1, keepdim=True)  # (N, 1)
    total = torch.zeros_like(own)
    cpu = states.device.type == "cpu"
    rows, words = (EVALUATION_CHUNK, EVALUATION_WORDS) if cpu else (DEVICE_CHUNK, len(weight))
    buffer = states.new_empty(min(rows, len(states)) * min(words, len(weight)))
    for some, target, sum_ in zip(*(torch.split(whole, rows) for whole in (states, own, total)), strict=True):
        for part in torch.split(weight, words):
            tile = buffer[: len(some) * len(part)].view(len(some), len(part))
            torch.mm(some, part.t(), out=tile)
            sum_ += tile.sub_(target).exp_().sum(1, keepdim=True)
    losses = total.squeeze(1).log()
    lost = (~losses.isfinite()).nonzero().squeeze(1)
    if len(lost):
        losses[lost] = F.cross_entropy(F.linear(states[lost], weight), targets[lost], reduction="none")
    return losses
