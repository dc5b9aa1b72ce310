"""Noise under control: observers that decide which random numbers a plugin's hook draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from aecore import ranks
from aecore.batch import PAD, Batch
from aecore.hooks import Call
from aecore.posterior import PosteriorSample
from aecore.streams import stream

Found = TypeVar("Found")

#: The hooks that change words.
ON_TOKENS = frozenset({"corrupt_input", "decoder_input"})


def separate_noise(call: Call, offered: Mapping[str, Any]) -> Any:
    """An observer that gives each hook of each step a stream of its own.

    What one hook draws does not shift the noise of the next.

    Hooks that change words are asked for each sentence without its pads, so that random numbers of
    the batch's shape are the sentence's own.
    """
    seed = torch.default_generator.initial_seed()
    if call.hook.name in ON_TOKENS:
        return answer_by_sentence(call, offered, lambda number: stream("separate", seed, number))
    with stream("separate", call.hook.name, seed):
        return call.answer(**offered)


def answer_by_sentence(
    call: Call, offered: Mapping[str, Any], noise: Callable[[int], AbstractContextManager[Any]]
) -> Batch | Tensor:
    """What a hook of `ON_TOKENS` gives, asked for one sentence at a time with its noise."""
    batch = offered["batch"]
    found = []
    for row, number in enumerate(batch.index.tolist()):
        one = batch.rows(slice(row, row + 1))
        known = {**offered, "batch": one}
        if "tokens" in offered:
            known["tokens"] = offered["tokens"][row : row + 1, : one.inputs.shape[1]]
        with noise(number):
            found.append(call.answer(**known))
    if call.hook.name == "corrupt_input":
        return joined_batches(found)
    width = batch.inputs.shape[1]
    return torch.cat([F.pad(rows, (0, width - rows.shape[1]), value=PAD) for rows in found])


def joined_batches(batches: Sequence[Batch]) -> Batch:
    """The sentences of several batches as one."""
    width = max(batch.tokens.shape[1] for batch in batches)

    def wide(batch: Batch) -> Tensor:
        return F.pad(batch.tokens, (0, width - batch.tokens.shape[1]), value=PAD)

    targets = [batch.target for batch in batches if batch.target is not None]
    labels = [batch.labels for batch in batches if batch.labels is not None]
    return Batch(
        torch.cat([wide(batch) for batch in batches]),
        torch.cat([batch.lengths for batch in batches]),
        torch.cat([batch.index for batch in batches]),
        torch.cat(labels) if labels else None,
        joined_batches(targets) if targets else None,
    )


class SentenceNoise:
    """An observer that makes what a hook draws a function of the sentence, whoever holds it.

    Args:
        coupled: whether the posterior reads the whole batch in training; it is then asked for at
            once, and a Gaussian's noise is drawn per sentence, else one sentence at a time.
    """

    def __init__(self, coupled: bool = False) -> None:
        self.coupled = coupled
        self._rows = range(0)

    def __call__(self, call: Call, offered: Mapping[str, Any]) -> Any:
        """What the plugin gives."""
        hook, batch = call.hook.name, offered.get("batch")
        if hook in ON_TOKENS:
            return answer_by_sentence(
                call, offered, lambda number: stream("sentence", hook, number)
            )
        if hook == "posterior_sample" and batch is not None:
            rows = ranks.rows(batch.global_size)
            self._rows = range(rows.start, rows.stop)
            return self._posterior(call, offered, batch)
        if hook == "prior_sample" and offered["n"] == len(self._rows):
            return torch.cat(list(_keyed(hook, self._rows, lambda _: call.answer(n=1))))
        with stream("sentence", hook):
            return call.answer(**offered)

    def _posterior(self, call: Call, offered: Mapping[str, Any], batch: Batch) -> PosteriorSample:
        hook, numbers = call.hook.name, batch.index.tolist()

        def alone(row: int) -> PosteriorSample:
            here = slice(row, row + 1)
            one = {**offered, "features": offered["features"][here], "batch": batch.rows(here)}
            found: PosteriorSample = call.answer(**one)
            return found

        if not self.coupled:
            return _joined(list(_keyed(hook, numbers, alone)))
        with stream("sentence", hook):
            sample: PosteriorSample = call.answer(**offered)
        normal, shape = sample.distribution, sample.z[0].shape
        if not hasattr(normal, "stddev"):
            return sample
        noise = torch.stack(list(_keyed(hook, numbers, lambda _: torch.randn(shape))))
        z = normal.mean.unsqueeze(1) + normal.stddev.unsqueeze(1) * noise  # type: ignore[union-attr]
        return PosteriorSample(z, normal)


def _keyed(hook: str, numbers: Iterable[int], work: Callable[[int], Found]) -> Iterator[Found]:
    """What ``work`` gives for each row, in the stream of its sentence's number."""
    for row, number in enumerate(numbers):
        with stream("sentence", hook, number):
            yield work(row)


def _joined(samples: Sequence[PosteriorSample]) -> PosteriorSample:
    def together(values: Sequence[Tensor | None]) -> Tensor | None:
        known = [value for value in values if value is not None]
        return torch.cat(known) if known else None

    z = torch.cat([sample.z for sample in samples])
    parts = [sample.distribution for sample in samples]
    joined = None if parts[0] is None else _Joined(parts)
    log_prob = together([sample.given_log_prob for sample in samples])
    return PosteriorSample(z, joined, log_prob, together([sample.centre for sample in samples]))


class _Joined:
    """The distributions of single sentences as one of a batch."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """That of the parts: a plugin may ask whether its own distribution has come back."""
        return type(self._parts[0])

    @property
    def mean(self) -> Tensor:
        return torch.cat([part.mean for part in self._parts])

    def log_prob(self, value: Tensor) -> Tensor:
        columns = torch.split(value, 1, dim=1)  # (K, 1, D) each
        rows = zip(self._parts, columns, strict=True)
        return torch.cat([part.log_prob(column) for part, column in rows], dim=1)

    def __getattr__(self, name: str) -> Any:
        values = [getattr(part, name) for part in self._parts]
        return torch.cat(values) if isinstance(values[0], Tensor) else values[0]
