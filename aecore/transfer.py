"""What is asked of a transfer: codes of example sentences, and how far to go."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class TransferRequest:
    """How sentences are, how they are to become, and how strongly.

    Attributes:
        before: (M, D), codes of sentences as they are; None where no example was given.
        after: (N, D), codes of sentences as they are to become; None likewise.
        strength: 1 is the way between the two; 0 is none.
    """

    before: Tensor | None = None
    after: Tensor | None = None
    strength: float = 1.0
