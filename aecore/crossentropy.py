"""The output layer, its dropout and its cross-entropy in one: the logits of N tokens over V words are never materialised twice.

The target's logit takes the place of the usual maximum in log sum_v exp(l_v - l_target): the sum is at least 1, so nothing
underflows, and it overflows only where a token costs more than 88 nats, which is then computed the slow way.

On a CPU, training draws one dropout mask for a group of tokens instead of one for each: the units that a group lacks are left
out of its matrix products, which at a rate of 0.5 halves them. A token's loss depends on its own mask alone, so the expectation
of any sum of token losses, and of its gradient, is that of independent masks, exactly. The noise of tokens that share a mask
adds up instead of averaging out: in a trained PTB model, one batch of 32 sentences, what dropout adds to the deviation of the
loss was 1.5 times that of independent masks, and to that of the decoder's gradient 1.1 times.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from aecore import secondorder

#: The tile of logits that evaluation holds at a time, tokens by words: 2 MiB in float32, which stays in the cache of a CPU.
EVALUATION_CHUNK = 512
EVALUATION_WORDS = 1024
#: Tokens in a tile of whole rows on other devices, where launching a kernel costs more than memory does.
DEVICE_CHUNK = 8192
#: Words in a tile of training on a CPU, and in one of its backward pass.
TRAINING_WORDS = 512
BACKWARD_WORDS = 1024
#: Tokens that share a dropout mask in training on a CPU: fewer make narrow products, which are slow.
MASKED_TOKENS = 176
#: The rate from which leaving units out is quicker than multiplying them by 0.
LEAST_RATE = 0.25


def token_nll(states: Tensor, targets: Tensor, weight: Tensor, dropout: float = 0.0) -> Tensor:
    """(N,): -log softmax(W dropout(h))[target] in nats, for states h (N, H), targets (N,) and the output weights W (V, H)."""
    if not torch.is_grad_enabled():
        return _evaluated(F.dropout(states, dropout), targets, weight)
    if states.device.type == "cpu" and states.dtype == torch.float32 and not secondorder.wanted():
        masks = _draw_masks(states, dropout)
        if masks is None:
            states = F.dropout(states, dropout)
        losses, finite = _Tiled.apply(states, targets, weight, masks)  # type: ignore[no-untyped-call]
        return losses if bool(finite) else _plain(states, targets, weight, masks)
    return _plain(F.dropout(states, dropout), targets, weight, None)


def _draw_masks(states: Tensor, dropout: float) -> Tensor | None:
    """(M, H): 0 or 1 / (1 - p), for tokens with n mod M in common, so that neighbours share none; None without groups."""
    groups = len(states) // MASKED_TOKENS
    if dropout < LEAST_RATE or groups < 2:
        return None
    return F.dropout(states.new_ones(groups, states.shape[1]), dropout)


def _masked(states: Tensor, masks: Tensor | None) -> Tensor:
    """(N, H): every state times the mask of its group."""
    return states if masks is None else states * masks.repeat(-(-len(states) // len(masks)), 1)[: len(states)]


def _plain(states: Tensor, targets: Tensor, weight: Tensor, masks: Tensor | None) -> Tensor:
    return F.cross_entropy(F.linear(_masked(states, masks), weight), targets, reduction="none")


class _Group:
    """The tokens that share a mask: their rows, the units that they keep, and what of states and weights that leaves."""

    def __init__(self, number: int, masks: Tensor | None, states: Tensor, weight: Tensor) -> None:
        if masks is None:
            self.rows, self.units = slice(None), None
            self.states, self.weight = states, weight
        else:
            self.rows, self.units = slice(number, None, len(masks)), masks[number].nonzero().squeeze(1)
            self.states = states[self.rows].index_select(1, self.units)  # (n, U)
            self.weight = weight.index_select(1, self.units)  # (V, U)
        self.exponentials = self.states.new_empty(len(weight), len(self.states))

    def exponentiate(self, own: Tensor) -> Tensor:
        """(n,): the sum over words of exp(l_v - l_target), for target logits ``own`` (n,); keeps the exponentials (V, n)."""
        total = torch.zeros_like(own)
        transposed = self.states.t()
        for tile, part in _tiles(TRAINING_WORDS, self.exponentials, self.weight):
            torch.mm(part, transposed, out=tile)
            total += tile.sub_(own).exp_().sum(0)
        return total

    def differentiate(self, scale: Tensor, to_states: Tensor, to_weight: Tensor) -> None:
        """Add sum_v s_n exp(l_v - l_target) w_v to the gradients of its states (n, H), and likewise of the weights (V, H).

        The factors s (n,) go to the states, which are fewer than the exponentials.
        """
        scale = scale.unsqueeze(1)
        scaled, found = self.states * scale, torch.zeros_like(self.states)
        for tile, part, to_part in _tiles(BACKWARD_WORDS, self.exponentials, self.weight, to_weight):
            if self.units is None:
                torch.mm(tile, scaled, out=to_part)
            else:
                to_part.index_add_(1, self.units, torch.mm(tile, scaled))
            found.addmm_(tile.t(), part)
        found *= scale
        if self.units is None:
            to_states += found
        else:
            to_states.index_add_(1, self.units, found)


class _Tiled(torch.autograd.Function):
    """Exponentiates tiles of logits while they are in the cache, and makes gradients of them without touching them again.

    The tiles are words by tokens, (V, n), so that each is contiguous. Where the gradient is itself to be differentiated
    (``create_graph``), it is computed by plain operations instead.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, targets: Tensor, weight: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        dropped = _masked(states, masks)
        own = (dropped * weight[targets]).sum(1)
        total = torch.empty_like(own)
        ctx.groups = [_Group(number, masks, dropped, weight) for number in range(1 if masks is None else len(masks))]
        for group in ctx.groups:
            total[group.rows] = group.exponentiate(own[group.rows].contiguous())
        ctx.save_for_backward(states, targets, weight, masks, total)
        finite = torch.isfinite(total).all()
        ctx.mark_non_differentiable(finite)
        return total.log(), finite

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, Tensor, None]:
        states, targets, weight, masks, total = ctx.saved_tensors
        if torch.is_grad_enabled():
            losses = _plain(states, targets, weight, masks)
            first, second = torch.autograd.grad(losses, (states, weight), gradient, create_graph=True)
            return first, None, second, None
        scale = gradient / total
        to_states = -gradient.unsqueeze(1) * weight[targets]
        to_weight = torch.empty_like(weight) if masks is None else torch.zeros_like(weight)
        for group in ctx.groups:
            group.differentiate(scale[group.rows], to_states[group.rows], to_weight)
        to_weight.index_add_(0, targets, -gradient.unsqueeze(1) * _masked(states, masks))
        return _masked(to_states, masks), None, to_weight, None


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
