"""What is asked of a transfer: codes of example sentences, and how far to go; and what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, eq=False)
class TransferRequest:
    """How sentences are, how they are to become, and how strongly.

    Attributes:
        before: (M, D), codes of sentences as they are; None where no example was given.
        after: (N, D), codes of sentences as they are to become; None likewise.
        strength: 1 is the way between the two; 0 is none.
        told: what plugins told of each sentence, (N,) by ``plugin.name``.
    """

    before: Tensor | None = None
    after: Tensor | None = None
    strength: float = 1.0
    told: dict[str, Tensor] = field(default_factory=dict)

    def tell(self, plugin: str, **values: Tensor) -> None:
        """Say something of each sentence, (N,), e.g. how many steps its code took."""
        self.told.update({f"{plugin}.{name}": value.detach() for name, value in values.items()})


@dataclass(frozen=True, eq=False)
class Transfer:
    """Sentences as they became.

    Attributes:
        sentences: N of them, in the order in which they were given.
        told: what plugins told of each, (N,) by ``plugin.name``.
        seconds: wall time of all of them; ``map`` is what the plugins took of it.
    """

    sentences: list[str]
    told: dict[str, Tensor]
    seconds: float
    map_seconds: float
