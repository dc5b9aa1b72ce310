"""The base class of every method: settings, parameter roles, state, and the handle to the model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from aecore.errors import PluginError, closest
from aecore.geometry import Euclidean, Space
from aecore.hookspec import HOOKS, PROJECT
from aecore.manifest import Manifest
from aecore.streams import stream

if TYPE_CHECKING:
    from aecore.autoencoder import Sizes
    from aecore.model import Model

Role = Literal["encoder", "decoder", "prior", "critic", "frozen"]
ROLES: tuple[Role, ...] = ("encoder", "decoder", "prior", "critic", "frozen")
MAIN_ROLES: tuple[Role, ...] = ("encoder", "decoder", "prior")

_T = TypeVar("_T")


class PluginConfig(BaseModel):
    """Settings of a plugin: validated, strict about types, frozen; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class CriticConfig(PluginConfig):
    """How a critic is trained; these settings have the same names in every plugin that has one."""

    optimiser: Literal["adam", "sgd", "rmsprop"] = Field(
        "adam", description="the critic's optimiser"
    )
    lr: float = Field(1e-3, gt=0, description="the critic's learning rate")
    betas: tuple[float, float] = Field((0.5, 0.999), description="Adam's two decay rates")
    steps: int = Field(1, ge=1, description="critic updates before each joint step")
    clamp: float | None = Field(
        None, gt=0, description="clamp the critic's weights to [-clamp, clamp]"
    )


class Plugin(nn.Module):
    """One method. It declares settings and roles, and implements hooks marked with ``@hookimpl``.

    Args:
        config: the validated settings, an instance of ``Config``.
        sizes: the sizes of the autoencoder.

    Attributes:
        Config: the schema of the settings.
        roles: for each attribute that holds parameters, one of encoder, decoder, prior, critic,
            frozen.
        samples: K, the posterior samples that training draws per sentence; the largest among the
            plugins counts.
        space: the latent space, of the plugin that gives ``latent``; set in the constructor where a
            setting shapes it.
        critic: how the parameters of role ``critic`` are trained; None where there are none.
        model: the composition that the plugin is part of, set before the first hook is called.

    State is kept in buffers, which are saved and resumed; settings are read as
    ``self.config.name``. Constructors run inside the run's random stream.
    """

    Config: ClassVar[type[PluginConfig]] = PluginConfig
    roles: ClassVar[dict[str, Role]] = {}
    samples: int = 1
    space: Space = Euclidean()
    critic: CriticConfig | None = None
    model: Model

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__()
        self.config = config
        self.sizes = sizes
        self.logged: dict[str, float | Tensor] = {}
        self._kept: dict[tuple[str, bool], tuple[int, Any]] = {}

    @classmethod
    def manifest(cls, declared: Manifest, config: PluginConfig) -> Manifest:
        """The manifest under these settings; override where a setting changes it."""
        return declared

    def attach(self, model: Model) -> None:
        """Set ``model`` without making it a submodule, which would nest it in each plugin."""
        self.__dict__["model"] = model

    def log(self, **scalars: float | Tensor) -> None:
        """Record scalars of this step as ``<plugin>.<name>``; 0-d tensors are not waited for."""
        self.logged.update(
            {name: v.detach() if isinstance(v, Tensor) else v for name, v in scalars.items()}
        )

    def cached(self, make: Callable[[], _T]) -> _T:
        """``make()``, kept until ``model.version`` changes; made anew where gradients are recorded.

        What a prior computes from weights alone, say, is needed for each sentence of an evaluation
        and each step of a critic. ``make`` is a named method or function of no arguments; it may
        depend on anything but the parameters of critics. It runs in a random stream of its own, so
        that whoever draws next gets the same noise whether it was called or not.
        """
        if torch.is_grad_enabled():
            return make()
        key, version = (make.__qualname__, self.training), self.model.version
        if key not in self._kept or self._kept[key][0] != version:
            with stream("cached", make.__qualname__, device=self.model.device):
                self._kept[key] = (version, make())
        kept: _T = self._kept[key][1]
        return kept

    def parameters_of(self, *roles: str) -> Iterator[tuple[str, nn.Parameter]]:
        """The named parameters whose attribute has one of these roles."""
        for name, parameter in self.named_parameters():
            if self.roles.get(name.partition(".")[0]) in roles:
                yield name, parameter


@dataclass(frozen=True)
class Implementation:
    """A method marked with ``@hookimpl``, as found on a plugin class."""

    hook: str
    method: Callable[..., Any]
    options: dict[str, Any]

    @property
    def place(self) -> str:
        """``package/module.py:line`` of the method."""
        code = inspect.unwrap(self.method).__code__
        return f"{'/'.join(code.co_filename.split('/')[-2:])}:{code.co_firstlineno}"


def implementations(cls: type) -> list[Implementation]:
    """The hook implementations of a class, inherited ones included."""
    found = []
    for name in dir(cls):
        method = inspect.getattr_static(cls, name)
        options = getattr(method, f"{PROJECT}_impl", None)
        if options is not None:
            found.append(Implementation(options.get("specname") or name, method, dict(options)))
    return found


def check_class(cls: type[Plugin], name: str, source: str, declared: Manifest) -> None:
    """Hold a plugin class against the hook contracts and its manifest.

    Raises:
        PluginError: for a misspelt hook, an argument that the hook does not offer, a default value
            on one, a wrapper, an ordering option, or a difference from the hooks that the manifest
            declares.
    """
    found = implementations(cls)
    for implementation in found:
        problem = _implementation_problem(implementation)
        if problem:
            what, *evidence = problem
            place = f"hook:   {implementation.place}"
            raise PluginError(
                f"'{name}' ({source}) {what}",
                place,
                *evidence,
                plugin=name,
                hook=implementation.hook,
            )
    written, promised = {i.hook for i in found}, set(declared.hooks)
    if written != promised:
        raise PluginError(
            f"'{name}' ({source}) differs from its plugin.toml",
            f"implements: {', '.join(sorted(written)) or 'no hook'}",
            f"declares:   {', '.join(sorted(promised)) or 'no hook'}",
            "likely: a missing @hookimpl, or a hook that plugin.toml does not list",
            plugin=name,
        )


def _implementation_problem(implementation: Implementation) -> tuple[str, ...] | None:
    hook = HOOKS.get(implementation.hook)
    if hook is None:
        return (
            f"implements an unknown hook "
            f"'{implementation.hook}'.{closest(implementation.hook, HOOKS)}",
        )
    for option in ("wrapper", "hookwrapper", "tryfirst", "trylast"):
        if implementation.options.get(option):
            return (
                f"marks {hook.name} with {option}, which aecore refuses",
                "order is the order of --plugin",
            )
    parameters = list(inspect.signature(implementation.method).parameters.values())[1:]
    for parameter in parameters:
        if parameter.name not in hook.arguments:
            return (
                f"asks for an argument '{parameter.name}' that {hook.name} does not offer.",
                f"offered: {hook.signature}",
            )
        if parameter.kind is parameter.KEYWORD_ONLY:
            return (
                f"takes the argument '{parameter.name}' of {hook.name} by keyword only",
                "likely: remove the *",
            )
        if parameter.default is not parameter.empty:
            return (
                f"gives the argument '{parameter.name}' of {hook.name} a default value; arguments "
                f"are always passed",
            )
    return None
