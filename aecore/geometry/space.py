"""What a latent space is to the core: points of R^D, and the ways between them."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor

_S = TypeVar("_S")
_P = ParamSpec("_P")


class Space(Protocol):
    """A Riemannian manifold of vectors of R^D; operations take leading axes and broadcast.

    Sphere and ball compute in float64, whatever is given, and return the type that they were given:
    in float32 a round trip on the ball loses four digits, and the conformal factor near its
    boundary all of them.
    """

    @property
    def name(self) -> str:
        """The word of ``provides.geometry``: euclidean, sphere or ball."""
        ...

    @property
    def centres(self) -> str:
        """What `coordinates` makes of posterior means, in words, for the label of a figure."""
        ...

    def exp(self, base: Tensor, vector: Tensor) -> Tensor:
        """(..., D): where the geodesic from ``base`` with velocity ``vector`` is at time 1."""
        ...

    def log(self, base: Tensor, point: Tensor) -> Tensor:
        """(..., D): the velocity of the geodesic that leads from ``base`` to ``point``."""
        ...

    def distance(self, one: Tensor, other: Tensor) -> Tensor:
        """(...): the length of the shortest way between two points."""
        ...

    def geodesic(self, start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
        """(S, D): the points at ``shares`` (S,) of the way from ``start`` to ``end`` (D,)."""
        ...

    def project(self, point: Tensor) -> Tensor:
        """(..., D): the nearest point of the space that its operations can handle."""
        ...

    def off(self, point: Tensor) -> Tensor:
        """(...): how far a vector of R^D lies outside of the space, in R^D's norm."""
        ...

    def coordinates(self, point: Tensor) -> Tensor:
        """(..., D): a point as a vector whose components can be told apart, for active units."""
        ...


def in_double(
    operation: Callable[Concatenate[_S, _P], Tensor],
) -> Callable[Concatenate[_S, _P], Tensor]:
    """Run a method in float64, and return what it gives in the widest type that came in."""

    @wraps(operation)
    def wide(self: _S, /, *arguments: _P.args, **named: _P.kwargs) -> Tensor:
        given = [value for value in (*arguments, *named.values()) if isinstance(value, Tensor)]
        narrow = reduce(torch.promote_types, (value.dtype for value in given))
        widened: Any = operation
        found: Tensor = widened(
            self,
            *map(_doubled, arguments),
            **{name: _doubled(value) for name, value in named.items()},
        )
        return found.to(narrow)

    return wide


def _doubled(value: object) -> object:
    return value.double() if isinstance(value, Tensor) else value


def along(space: Space, start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """(S, D): exp_start(share log_start(end)), with the very ends at shares 0 and 1."""
    shares = shares.unsqueeze(1)
    way = space.exp(start.expand(len(shares), -1), shares * space.log(start, end))
    return torch.where(shares == 0, start, torch.where(shares == 1, end, way))


def norm(vector: Tensor) -> Tensor:
    """(..., 1): the Euclidean norm; its gradient at 0 is 0."""
    length: Tensor = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    return length


def dot(one: Tensor, other: Tensor) -> Tensor:
    """(..., 1): the inner product."""
    return (one * other).sum(-1, keepdim=True)
