"""The speed of ``nll_iw`` against plain float32 under the same noise, and how both agree.

The plain one does what public code does: one sentence at a time, 100 samples at a time, logits of
    every token.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from aecore.batch import Batch
from aecore.data.batching import evaluation_plan
from aecore.data.corpus import Split
from aecore.evaluation.importance import Importance, importance
from aecore.model import Model, evaluating
from aecore.training.trainer import Trainer
from bench.plain import PlainVae
from bench.quality import pairs

#: Samples that the plain implementation decodes at a time.
CHUNK = 100


@dataclass(frozen=True)
class Pair:
    """One sentence: nats and seconds of ours and of the plain one."""

    tokens: int
    nats: tuple[float, float]
    seconds: tuple[float, float]

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.seconds[1] / self.seconds[0]


def plain_of(model: Model) -> PlainVae:
    """The plain network with the model's weights."""
    plain = PlainVae(model.sizes)
    for ours, theirs in pairs(model, plain):
        theirs.load_state_dict(ours.state_dict())
    return plain.eval()


def plain_nll_iw(plain: PlainVae, tokens: Tensor, z: Tensor) -> float:
    """-log 1/K sum_k p(x given z_k) p(z_k) / q(z_k given x), one sentence, K in hundreds."""
    found = []
    for some in torch.split(z, CHUNK):
        _, (last, _) = plain.encoder(plain.read(tokens))
        mean, log_variance = plain.head(last.squeeze(0)).chunk(2, -1)
        log_q = -0.5 * (
            (some - mean).square() / log_variance.exp() + log_variance + math.log(2 * math.pi)
        ).sum(-1)
        log_prior = -0.5 * (some.square() + math.log(2 * math.pi)).sum(-1)
        found.append(log_prior - plain_rec(plain, tokens, some) - log_q)
    return math.log(len(z)) - float(torch.cat(found).logsumexp(0))


def plain_rec(plain: PlainVae, tokens: Tensor, z: Tensor) -> Tensor:
    """(R,): -log p(x | z) of one sentence under R samples."""
    words = plain.write(tokens[:, :-1]).expand(len(z), -1, -1)
    cell = plain.bridge(z).unsqueeze(0)
    inputs = torch.cat([words, z.unsqueeze(1).expand(-1, words.shape[1], -1)], -1)
    states, _ = plain.decoder(inputs, (torch.tanh(cell), cell))
    targets = tokens[:, 1:].expand(len(z), -1)
    losses = F.cross_entropy(
        plain.output(states).flatten(0, 1), targets.flatten(), reduction="none"
    )
    return losses.view(targets.shape).sum(1)


def compare(
    model: Model, weights: Importance, plain: PlainVae, sentence: Batch, ours_first: bool
) -> Pair:
    """Both on one sentence, in either order."""
    features = model.features(sentence)
    with weights.streams("evaluate", weights.split, int(sentence.index[0]), "iw"):
        z, _ = weights.draw(features, sentence, weights.samples)
    works: list[Callable[[], float]] = [
        lambda: weights.weigh(sentence, features).nll,
        lambda: plain_nll_iw(plain, sentence.tokens, z),
    ]
    found: dict[int, tuple[float, float]] = {}
    for turn in (0, 1) if ours_first else (1, 0):
        began = time.perf_counter()
        nats = works[turn]()
        found[turn] = nats, time.perf_counter() - began
    (ours, quick), (theirs, slow) = found[0], found[1]
    return Pair(int(sentence.lengths[0]), (ours, theirs), (quick, slow))


def some_of(split: Split, count: int) -> list[Batch]:
    """``count`` sentences, spread evenly over the lengths."""
    order = torch.cat(list(evaluation_plan(split, 1024)))
    chosen = order[torch.linspace(0, len(order) - 1, count + 2).round().long()[1:-1]]
    return [split.batch(number.view(1)) for number in chosen]


def compare_likelihoods(trainer: Trainer, count: int, samples: int) -> list[Pair]:
    """Both on ``count`` test sentences; one more warms up."""
    model, split, plain = trainer.model, trainer.corpus.test, plain_of(trainer.model)
    sentences = some_of(split, count + 1)
    with evaluating(model):
        weights = importance(model, split, trainer.streams, samples)
        assert weights is not None
        found = [compare(model, weights, plain, one, n % 2 == 0) for n, one in enumerate(sentences)]
    return found[1:]
