"""Companies of plugins: which there are, in which order, and what composition says of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations

from aecore.catalogue import Catalogue
from aecore.composition import DEFAULTS, Part, compose
from aecore.errors import CompositionError
from aecore.hookspec import HOOKS

Company = tuple[str, ...]
#: Lines of a refusal that tell what else composes, and no reason.
_ELSE = ("works:", "or:")


def names(catalogue: Catalogue) -> list[str]:
    """The installed plugins that can be used, the defaults aside."""
    found = catalogue.entries.items()
    return [name for name, entry in found if name != DEFAULTS and entry.status == "ok"]


def companies(catalogue: Catalogue, size: int, row: str | None = None) -> list[Company]:
    """Every company of so many plugins; in every order that can matter, where chains meet.

    Args:
        row: a plugin that has to be part of it.
    """
    parts = {name: catalogue.part(name) for name in names(catalogue)}
    found = []
    for chosen in combinations(parts, size):
        if row is None or row in chosen:
            found += list(_orders([parts[name] for name in chosen]))
    return found


def _orders(chosen: Sequence[Part]) -> Iterator[Company]:
    """The orders in which plugins that share a chain, or both have stages, come differently."""
    meet = [(one.name, other.name) for one, other in combinations(chosen, 2) if _meet(one, other)]
    seen = set()
    for order in permutations(part.name for part in chosen):
        relative = tuple(order.index(one) < order.index(other) for one, other in meet)
        if relative not in seen:
            seen.add(relative)
            yield order


def _meet(one: Part, other: Part) -> bool:
    both = set(one.manifest.hooks) & set(other.manifest.hooks)
    return any(HOOKS[hook].kind == "chain" or hook == "pre_train_init" for hook in both)


def refusal(company: Company, catalogue: Catalogue) -> tuple[str, str] | None:
    """Why a company does not compose at default settings: kind and reason; None where it does."""
    try:
        compose([catalogue.part(name) for name in company], catalogue.defaults)
    except CompositionError as error:
        return error.kind, _reason(error)
    return None


def _reason(error: CompositionError) -> str:
    """The refusal in a line, without what composes instead."""
    evidence = [line for line in error.evidence if not line.startswith(_ELSE)]
    told = [line for line in evidence if not line.startswith("due:")]
    return "; ".join(told) if error.kind == "needs" and len(told) > 1 else error.what
