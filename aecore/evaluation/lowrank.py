"""Low-rank approximation of the softmax's normaliser, for many latents of one sentence.

At one position the samples of a sentence read the same words and differ by their latents alone. So
their states h_k are written as m + A_k Q^T, with Q the directions in which the *logits* vary most,
and the V logits of a sample follow from r numbers instead of H. Some samples are computed exactly
as well: the mean of what the approximation misses there is added to the others, and where it misses
differently from sample to sample, the position is computed in full. So the error is measured, not
assumed. What is left out is the covariance of miss and weight, a bias of the first order: with the
heaviest samples computed in full, it was 0.005 nats per sentence at K = 500 and 0.02 at 5,000 on
the Penn Treebank, of either sign.

Source: the subspace iteration of Halko, Martinsson and Tropp, SIAM Review 2011,
    https://arxiv.org/abs/0909.4061, algorithm 4.4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aecore.crossentropy import EVALUATION_WORDS, token_nll

#: r, the directions that are kept.
RANK = 32
#: Samples of a position that are computed exactly as well.
CONTROLS = 32
#: The deviation of the error among them, nats, from which a position, or the sentence as a whole,
#: is computed in full. The mean is then off by a sixth of that (one standard error); and the mean
#: of the weights by half its square.
POSITION, SENTENCE = 0.03, 0.15
#: Samples and words from which the low-rank approximation is the quicker one.
LEAST_SAMPLES, LEAST_WORDS = 128, 2000
#: Sizes of the state up to which `RANK` directions and a product for them are no less work.
LEAST_STATE = 65
#: The share of positions computed in full after all from which the whole way is the quicker one.
FUTILE = 0.25


def low_rank(weight: Tensor) -> LowRank | None:
    """`LowRank` for output weights (V, H) where it pays: on a CPU, for a large vocabulary."""
    large = len(weight) >= LEAST_WORDS and weight.shape[1] >= LEAST_STATE
    return LowRank(weight.detach()) if weight.device.type == "cpu" and large else None


class LowRank:
    """Token energies of many states of one position, for output weights W (V, H).

    Attributes:
        positions, lost: how many were computed, and how many of them in full.
        spread: L, with L L^T = W^T W / V: the mean squared change of a logit is the squared norm of
            (change of state) L.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        self.positions = self.lost = 0
        second = weight.double().t() @ weight.double() / len(weight)
        ridge = (
            1e-6
            * second.diagonal().mean()
            * torch.eye(len(second), dtype=second.dtype, device=second.device)
        )
        self.spread = torch.linalg.cholesky(second + ridge).to(weight)

    @property
    def futile(self) -> bool:
        """Whether so many positions were computed in full that nothing is won."""
        return self.lost > FUTILE * self.positions

    def nll(self, states: Tensor, targets: Tensor) -> Tensor:
        """(T, R): -log softmax(W h)[target] in nats, for states (T, R, H) and targets (T,)."""
        own = torch.einsum("trh,th->tr", states, self.weight[targets])
        control = torch.linspace(0, states.shape[1] - 1, CONTROLS, device=states.device).long()
        exact = _in_full(states[:, control], targets, self.weight)
        found = torch.stack([self._short(*row) for row in zip(states, own, strict=True)])
        missed = exact - found[:, control]  # (T, CONTROLS)
        lost = ~(missed.std(1) < POSITION)  # so too where it is not a number
        kept = (missed - missed.mean(1, keepdim=True))[~lost]
        if not bool(kept.sum(0).std() < SENTENCE):
            lost = torch.ones_like(lost)
        self.positions, self.lost = self.positions + len(lost), self.lost + int(lost.sum())
        found += missed.mean(1, keepdim=True)
        found[:, control] = exact
        if bool(lost.any()):
            found[lost] = _in_full(states[lost], targets[lost], self.weight)
        return found

    def _short(self, states: Tensor, own: Tensor) -> Tensor:
        """(R,): log sum_v exp(l_v - l_target) by `RANK` directions, for target logits (R,)."""
        centre = states.mean(0)
        away = (states - centre) @ self.spread  # (R, H)
        basis = _directions(away)  # (H, r)
        into = torch.linalg.solve_triangular(self.spread.t(), basis, upper=True)
        into = torch.cat([into, centre.unsqueeze(1)], 1)  # (H, r + 1)
        shares = torch.cat([away @ basis, torch.ones_like(own).unsqueeze(1)], 1)  # (R, r + 1)
        total = torch.zeros_like(own)
        for part in torch.split(self.weight, EVALUATION_WORDS):
            logits = torch.addmm(-own.unsqueeze(1), shares, (part @ into).t())
            total += logits.exp_().sum(1)
        return total.log()


def _directions(away: Tensor) -> Tensor:
    """(H, r): an orthonormal basis of most of the variation of the rows of ``away`` (R, H)."""
    basis = away[torch.linspace(0, len(away) - 1, RANK, device=away.device).long()].t()
    for _ in range(2):
        basis, _ = torch.linalg.qr(away.t() @ (away @ basis))
    return basis


def _in_full(states: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """(T, R): the energies of states (T, R, H), in full."""
    return token_nll(states.flatten(0, 1), targets.repeat_interleave(states.shape[1]), weight).view(
        states.shape[:2]
    )
