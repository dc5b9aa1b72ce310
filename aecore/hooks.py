"""Calling hooks: every value has an author, so that every error can name one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pluggy
import torch
from torch import Tensor

from aecore import hookspec
from aecore.composition import Composition
from aecore.errors import AecoreError, DivergedError, PluginError
from aecore.hookspec import HOOKS, PROJECT, Hook
from aecore.plugin import Implementation, Plugin

#: Stands round every call: (call, what it is offered) -> its value, as by ``call.answer``.
Observer = Callable[["Call", Mapping[str, Any]], Any]


class Call:
    """One plugin's implementation of one hook, called with the arguments that it names."""

    def __init__(
        self, plugin: str, source: str, hook: Hook, implementation: pluggy.HookImpl
    ) -> None:
        self.plugin = plugin
        self.source = source
        self.hook = hook
        self.observer: Observer | None = None
        self._function = implementation.function
        self._arguments = implementation.argnames

    def __call__(self, **offered: Any) -> Any:
        """The value that the plugin returned, or an observer's; raises what `answer` does."""
        return self.answer(**offered) if self.observer is None else self.observer(self, offered)

    def answer(self, **offered: Any) -> Any:
        """The value that the plugin returned.

        Raises:
            PluginError: when the plugin raises, asks for what it must not have, or returns None.
        """
        value = self.within(
            self.hook.name, self._function, *[offered[name] for name in self._arguments]
        )
        if value is None:
            raise self.error(
                f"returned None from {self.hook.name}", "likely: is a `return` missing?"
            )
        return value

    def within(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of this plugin, such as a stage's loss; its errors get their author."""
        try:
            return function(*arguments)
        except (PluginError, DivergedError, MemoryError, torch.OutOfMemoryError):
            raise  # it has an author already, or is nobody's fault
        except AecoreError as error:
            raise self.error(f"broke off in {what}: {error.what}", *error.evidence) from error
        except (Exception, SystemExit) as error:  # no plugin ends the process
            raise self.error(f"raised {type(error).__name__} in {what}: {error}") from error

    @property
    def place(self) -> str:
        """``package/module.py:line``."""
        return Implementation(self.hook.name, self._function, {}).place

    def error(self, what: str, *evidence: str) -> PluginError:
        """An error whose author is this implementation."""
        who = f"'{self.plugin}' ({self.source})" if self.source else f"'{self.plugin}'"
        arguments = ", ".join(self._arguments)
        place = f"hook:   {self.hook.name}({arguments}), {self.place}"
        return PluginError(
            f"{who} {what}", place, *evidence, plugin=self.plugin, hook=self.hook.name
        )

    def tensor(self, value: Any, due: tuple[int | str, ...], part: str = "a value") -> Tensor:
        """``value`` if it is a floating-point tensor of shape ``due``; named axes have any size.

        Raises:
            PluginError: with the shape that came, the shape that was due, and the likely slip.
        """
        shown = f"({', '.join(map(str, due))}{',' if len(due) == 1 else ''})"
        if not isinstance(value, Tensor):
            raise self.error(
                f"returned {part} of type {type(value).__name__} from {self.hook.name}; a tensor "
                f"{shown} was due"
            )
        fits = len(value.shape) == len(due) and all(
            isinstance(axis, str) or axis == size
            for axis, size in zip(due, value.shape, strict=False)
        )
        if not fits:
            came = tuple(value.shape)
            what = f"returned {part} of shape {came} from {self.hook.name}; {shown} was due"
            raise self.error(what, *_likely(came, due))
        if not value.is_floating_point():
            raise self.error(
                f"returned {part} of type {value.dtype} from {self.hook.name}; "
                "floating point was due"
            )
        return value


def _likely(came: tuple[int, ...], due: tuple[int | str, ...]) -> list[str]:
    if len(came) == len(due) - 1 and due[-1] == "G":
        return ["likely: keep the group axis, .unsqueeze(-1)"]
    if len(came) < len(due):
        return ["likely: a sum or mean over an axis that the core reduces itself"]
    if len(came) > len(due):
        return [f"likely: a sum over the last {len(came) - len(due)} axes is missing"]
    return []


class Hooks:
    """The implementations of one composition: one per owner hook, a list per chain hook."""

    def __init__(self, composition: Composition, plugins: Mapping[str, Plugin]) -> None:
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(hookspec)
        for name, plugin in plugins.items():
            manager.register(plugin, name)
        manager.check_pending()
        sources = {part.name: part.distribution for part in composition.parts}
        self._calls: dict[str, list[Call]] = {}
        for hook in HOOKS.values():
            found = {
                impl.plugin_name: impl for impl in getattr(manager.hook, hook.name).get_hookimpls()
            }
            reached = composition.implementers(hook.name)
            self._calls[hook.name] = [
                Call(name, sources[name], hook, found[name]) for name in reached
            ]
        self._owners = {
            hook.name: self._calls[hook.name][0] for hook in HOOKS.values() if hook.kind == "owner"
        }

    def owner(self, hook: str) -> Call:
        """The one implementation of an owner hook."""
        return self._owners[hook]

    @contextmanager
    def observed(self, observer: Observer) -> Iterator[None]:
        """Let an observer stand round every call in the block, in the place of another."""
        calls = [call for found in self._calls.values() for call in found]
        before = [call.observer for call in calls]
        for call in calls:
            call.observer = observer
        try:
            yield
        finally:
            for call, old in zip(calls, before, strict=True):
                call.observer = old

    def each(self, hook: str) -> Iterable[Call]:
        """The implementations of a chain or all hook, in the order of ``--plugin``."""
        return self._calls[hook]
