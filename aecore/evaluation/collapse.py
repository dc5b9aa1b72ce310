"""Posterior collapse: whether the decoder ignores z, and whether the KL is information."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aecore.batch import Batch
from aecore.composition import Composition, reaches
from aecore.data.batching import evaluation_plan
from aecore.data.corpus import Split
from aecore.evaluation.information import Drawn, gaussian_draws, mutual_information
from aecore.model import Model, evaluating
from aecore.progress import Progress
from aecore.streams import Streams

#: Validation sentences that the gap is measured on, the first ones.
SENTENCES = 256
#: A raw KL below this, in nats per sentence, is a collapse: z can tell the decoder no more than
#: that.
LEAST_KL = 0.1
#: So is a gap below this, in nats per sentence, whatever the KL: it may price what the decoder does
#: not use.
LEAST_GAP = 0.1

#: A KL of this many nats or more is idle where the mutual information is below `LEAST_SHARE` of it,
#: or of its own ceiling.
IDLE_KL = 1.0
LEAST_SHARE = 0.5

COLLAPSED, IDLE = "collapsed", "idle"
#: What each alarm says first, and what a note says when it is over.
ALARMS = {
    COLLAPSED: ("the posterior has collapsed", "the posterior is no longer collapsed"),
    IDLE: ("most of the KL says nothing of the sentence", "the KL tells sentences apart again"),
}


def look(model: Model, split: Split, streams: Streams, batch_size: int) -> dict[str, float | None]:
    """``z_gap`` and ``mi_256``, as a validation line of metrics.jsonl has them.

    None of a run that rewrites: its decoder is not there to give sentences back, or is frozen.
    """
    if model.composition.rewrites:
        return {"z_gap": None, "mi_256": None}
    return {
        "z_gap": z_gap_of(model, split, streams, batch_size),
        "mi_256": information_in_z(model, split, streams, batch_size),
    }


def information_in_z(model: Model, split: Split, streams: Streams, batch_size: int) -> float | None:
    """I(x; z) over the first `SENTENCES` of a split, nats; None without a density.

    At most the logarithm of their number.

    The estimator of ``mi``, one draw per sentence from a stream of its own.
    """
    some = split.head(SENTENCES)
    if not reaches("posterior", model.level["posterior"], "density") or len(some) < 2:
        return None
    drawn: list[Drawn] = []
    with evaluating(model), streams("watch", split.name, "mi"):
        for indices in evaluation_plan(some, batch_size):
            batch = some.batch(indices).to(model.device)
            drawn += _draws(model, batch, model.features(batch))
    return mutual_information(drawn) if drawn else None


def _draws(model: Model, batch: Batch, features: Tensor) -> Iterator[Drawn]:
    """One draw for each sentence that has a density, with the posterior that it comes from."""
    if model.level["posterior"] == "gaussian":
        yield from gaussian_draws(model.posterior_sample(features, 1, batch))
        return
    for row in range(len(batch)):
        here = slice(row, row + 1)
        sample = model.posterior_sample(features[here], 1, batch.rows(here))
        if sample.distribution is not None and sample.log_prob is not None:
            yield Drawn(sample.z[:, 0], sample.log_prob[:, 0], sample.distribution)


def z_gap_of(model: Model, split: Split, streams: Streams, batch_size: int) -> float | None:
    """The z gap: -log p(x given z of another sentence) + log p(x given its own z), nats, mean.

    On the first `SENTENCES` of a split, one posterior draw each, from a stream of its own; each
    sentence gets the latent of one other. None where there is no posterior, or no other sentence.
    """
    some = split.head(SENTENCES)
    if model.level["posterior"] == "none" or len(some) < 2:
        return None
    with evaluating(model), streams("watch", split.name):
        batches = [
            some.batch(indices).to(model.device) for indices in evaluation_plan(some, batch_size)
        ]
        # (N, 1, D)
        z = torch.cat(
            [model.posterior_sample(model.features(batch), 1, batch).z for batch in batches]
        )
        ring = torch.randperm(len(z))
        others = torch.empty_like(ring)
        others[ring] = ring.roll(1)  # the next one on the ring: nobody keeps his own
        gains = _energies(model, batches, z[others.to(z.device)]) - _energies(model, batches, z)
    return float(gains.double().mean())


def _energies(model: Model, batches: Sequence[Batch], z: Tensor) -> Tensor:
    """(N,): -log p(x | z) of the sentences of all batches under latents (N, 1, D)."""
    pieces = torch.split(z, [len(batch) for batch in batches])
    return torch.cat(
        [model.nll(batch, some).squeeze(1) for batch, some in zip(batches, pieces, strict=True)]
    )


def collapse_signs(figures: Mapping[str, Any]) -> list[str]:
    """Why the posterior counts as collapsed, in words; nothing where it does not.

    Args:
        figures: ``kl`` (which counts only where there is an ``nll_elbo``: else it is a penalty or a
            dual), ``au`` and ``z_gap``, as far as they were measured.
    """
    kl, au, gap = (figures.get(name) for name in ("kl", "au", "z_gap"))
    if au is None and gap is None:  # there is no posterior that could collapse: a language model
        return []
    signs = []
    if figures.get("nll_elbo") is not None and kl is not None and kl < LEAST_KL:
        signs.append(f"the KL is {kl:.2f} nats per sentence; due: {LEAST_KL:g}")
    if au == 0:
        signs.append("no unit is active: the posterior means are the same for all sentences")
    if gap is not None and gap < LEAST_GAP:
        signs.append(
            f"z gains the decoder {gap:.2f} nats per sentence against the z of another; due: "
            f"{LEAST_GAP:g}"
        )
    return signs


def idle_signs(figures: Mapping[str, Any]) -> list[str]:
    """Why most of the KL counts as idle, in words; nothing where it does not.

    KL = I(x; z) + KL(q(z) || p(z)): what is no information about the sentence is paid for a shift
    that all sentences share.

    Args:
        figures: ``kl`` and ``nll_elbo``, and ``mi`` with ``sentences`` or ``mi_256``, as far as
            they were measured.
    """
    some = min(SENTENCES, figures.get("sentences") or SENTENCES)
    mi, ceiling = figures.get("mi_256"), math.log(some)
    if mi is None and figures.get("mi") is not None:
        mi, ceiling = figures["mi"], math.log(figures["sentences"])
    kl = figures.get("kl")
    if mi is None or kl is None or figures.get("nll_elbo") is None or kl < IDLE_KL:
        return []
    if mi >= LEAST_SHARE * min(kl, ceiling):
        return []
    return [
        f"of {kl:.2f} nats of KL, {max(mi, 0):.2f} tell sentences apart (mutual information, of at "
        f"most {ceiling:.2f})"
    ]


def signs_of(figures: Mapping[str, Any]) -> dict[str, list[str]]:
    """What shows each alarm; a collapsed posterior has no KL to be idle."""
    if collapsed := collapse_signs(figures):
        return {COLLAPSED: collapsed}
    idle = idle_signs(figures)
    return {IDLE: idle} if idle else {}


def raise_alarms(
    progress: Progress, composition: Composition, figures: Mapping[str, Any], before: Sequence[str]
) -> list[str]:
    """Raise an alarm when its state begins, and say when it is over; the alarms that hold now.

    Args:
        figures: a validation line of metrics.jsonl.
        before: those that held at the last validation.
    """
    signs = signs_of(figures)
    for kind, lines in signs.items():
        if kind not in before:
            progress.alarm(kind, lines, composition)
    for kind in before:
        if kind not in signs:
            progress.note(ALARMS[kind][1])
    return list(signs)
