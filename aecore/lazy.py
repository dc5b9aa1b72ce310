"""Values that are computed when they are first asked for, and once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

_T = TypeVar("_T")


class lazy(Generic[_T]):  # noqa: N801 - a decorator
    """`functools.cached_property` without the lock that Python 3.11 shares in a class.

    Ranks in threads wait for each other inside such values; what one instance holds is used by one
    thread alone.
    """

    def __init__(self, make: Callable[[Any], _T]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> _T: ...

    def __get__(self, instance: object | None, owner: type) -> Self | _T:
        if instance is None:
            return self
        value = self._make(instance)
        instance.__dict__[self._name] = value  # found before this descriptor from now on
        return value
