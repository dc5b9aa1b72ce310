"""Named random streams: every draw is a function of (seed, purpose, index) alone.

Dropout, ``rsample`` and flow libraries take no generator, so torch's global generator is seeded
from a hash of the key, lent to the code inside the ``with`` block, and given back as it was found.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import torch


def seed_of(*key: object) -> int:
    """The 32-bit seed of a key; torch's CPU engine uses no more bits than these."""
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=4).digest(), "big")


def _generators(device: torch.device | None) -> list[torch.Generator]:
    found = [torch.default_generator]
    if device is not None and device.type == "cuda":
        found.append(torch.cuda.default_generators[device.index or 0])
    return found


@contextmanager
def stream(*key: object, device: torch.device | None = None) -> Iterator[None]:
    """Lend torch's global generators, the CPU's and a GPU ``device``'s, seeded from ``key``.

    Keys are made of strings and integers. The state found on entry is restored on exit, also after
    an error.
    """
    generators = _generators(device)
    before = [generator.get_state() for generator in generators]
    seed = seed_of(*key)
    for generator in generators:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


class Streams:
    """The streams of a run: ``with streams("step", index)`` is keyed by its seed as well."""

    def __init__(self, seed: int, device: torch.device | None = None) -> None:
        self.seed = seed
        self.device = device

    @contextmanager
    def __call__(self, purpose: str, *index: int | str) -> Iterator[None]:
        """The stream of this purpose and index, while the block lasts."""
        with stream(self.seed, purpose, *index, device=self.device):
            yield
