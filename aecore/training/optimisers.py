"""Updating parameters by role: each phase back-propagates into its own roles alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from aecore import ranks
from aecore.model import Model
from aecore.plugin import CriticConfig
from aecore.runs.config import TrainConfig
from aecore.training.finite import check_critic
from aecore.training.muon import Muon

Named = list[tuple[str, nn.Parameter]]


def build_optimisers(
    config: TrainConfig, parameters: Named, lr: float, recurrent: frozenset[int]
) -> list[Optimizer]:
    """SGD without momentum, AdamW, or AdamW beside Muon for the ``recurrent`` ids.

    Weights shrink by lr times ``weight_decay`` whoever moves them; biases and other vectors do not.
    """
    plain = [parameter for _, parameter in parameters]
    if config.optimiser == "sgd":
        return [SGD(plain, lr=lr)]
    matrices = [p for p in plain if config.optimiser == "muon" and id(p) in recurrent]
    moved = {id(p) for p in matrices}
    others = [p for p in plain if id(p) not in moved]
    shrinking = {"params": [p for p in others if p.ndim > 1], "weight_decay": config.weight_decay}
    fixed = {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0}
    groups = [group for group in (shrinking, fixed) if group["params"]]
    found: list[Optimizer] = []
    if groups:
        found.append(AdamW(groups, lr=lr, betas=(config.beta1, config.beta2), fused=True))
    if matrices:
        found.append(
            Muon(
                matrices,
                config.muon_lr * lr / config.lr,
                config.weight_decay * config.lr / config.muon_lr,
            )
        )
    return found


def matrices_of_lstms(model: nn.Module) -> frozenset[int]:
    """The ids of the weights of every LSTM in a model."""
    layers = [module for module in model.modules() if isinstance(module, nn.LSTM)]
    return frozenset(
        id(p)
        for layer in layers
        for name, p in layer.named_parameters()
        if name.startswith("weight")
    )


def build_critic_optimiser(config: CriticConfig, parameters: Named) -> Optimizer:
    """The optimiser that a critic's settings name."""
    plain = [parameter for _, parameter in parameters]
    if config.optimiser == "sgd":
        return SGD(plain, lr=config.lr)
    if config.optimiser == "rmsprop":
        return RMSprop(plain, lr=config.lr)
    return Adam(plain, lr=config.lr, betas=config.betas)


class Group:
    """Parameters that share a clipping norm, and the optimisers that move each of them."""

    def __init__(self, parameters: Named, optimisers: Sequence[Optimizer]) -> None:
        self.parameters = parameters
        self.optimisers = optimisers
        self._owner = {
            id(p): one for one in optimisers for group in one.param_groups for p in group["params"]
        }
        self._peaks = [(group, group["lr"]) for one in optimisers for group in one.param_groups]

    def scale(self, factor: float) -> None:
        """Set every rate to ``factor`` times what it was built with."""
        for group, peak in self._peaks:
            group["lr"] = peak * factor

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for optimiser in self.optimisers:
            optimiser.zero_grad()

    def step(self) -> None:
        """One update by each optimiser."""
        for optimiser in self.optimisers:
            optimiser.step()

    def _state(self, parameter: nn.Parameter) -> dict[str, Any]:
        state: dict[str, Any] = self._owner[id(parameter)].state[parameter]
        return state

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """The optimiser's state as ``prefix.<parameter>/<key>``."""
        found = {}
        for name, parameter in self.parameters:
            for key, value in self._owner[id(parameter)].state.get(parameter, {}).items():
                found[f"{prefix}.{name}/{key}"] = (
                    value if isinstance(value, Tensor) else torch.tensor(value)
                )
        return found

    def restore(self, tensors: Mapping[str, Tensor], prefix: str) -> None:
        """Put back what ``tensors`` gave."""
        by_name = dict(self.parameters)
        for name, value in tensors.items():
            if name.startswith(f"{prefix}."):
                named, _, key = name.removeprefix(f"{prefix}.").rpartition("/")
                if named not in by_name:
                    raise ValueError(f"no parameter is called '{named}'")
                parameter = by_name[named]
                _check_state(name, key, value, parameter)
                self._state(parameter)[key] = value.to(parameter.device)


def _check_state(name: str, key: str, value: Tensor, parameter: nn.Parameter) -> None:
    """Hold a tensor of an optimiser to its parameter: fused kernels would not look.

    Raises:
        ValueError: for another shape or type, or a step counter that is none.
    """
    if key == "step":
        if value.ndim or not bool(torch.isfinite(value)) or float(value) < 0:
            raise ValueError(f"'{name}' is no count of steps")
    elif value.shape != parameter.shape or value.dtype != parameter.dtype:
        shown = f"{tuple(value.shape)} {value.dtype}"
        due = f"{tuple(parameter.shape)} {parameter.dtype}"
        raise ValueError(f"the tensor '{name}' is {shown}, due {due}")


def share_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Sum the gradients over ranks; a parameter that has none on any of them keeps none."""
    if ranks.size() == 1 or not parameters:
        return
    device = parameters[0].device
    have = ranks.total(torch.tensor([p.grad is not None for p in parameters], device=device).int())
    shared = [one for one, some in zip(parameters, have.tolist(), strict=True) if some]
    if not shared:
        return
    # one message, not one for each parameter
    own = [torch.zeros_like(one) if one.grad is None else one.grad for one in shared]
    summed = ranks.total(torch.cat([gradient.reshape(-1) for gradient in own]))
    parts = torch.split(summed, [one.numel() for one in shared])
    for parameter, part in zip(shared, parts, strict=True):
        parameter.grad = part.view_as(parameter).to(parameter.dtype)


class Updater:
    """The optimisers of a phase: encoder and decoder, clipped together or not; a learned prior.

    A parameter that asks for no gradient is left as it is, whatever its role.

    Args:
        roles: the parameter roles that the phase may update.
        lr: the learning rate of encoder and decoder.
    """

    def __init__(self, model: Model, config: TrainConfig, roles: Iterable[str], lr: float) -> None:
        self.roles = wanted = frozenset(roles)
        self.model = model
        self.clip, self.by_role = config.clip, config.clip_by == "role"
        self._encoder = {id(parameter) for parameter in model.params("encoder")}
        self.groups: dict[str, Group] = {}
        self._moved: list[tuple[list[nn.Parameter], Tensor]] = []
        main, prior = (
            [(name, p) for name, p in model.named_params(*roles) if p.requires_grad]
            for roles in (sorted(wanted - {"prior"}), sorted(wanted & {"prior"}))
        )
        if main:
            self.groups["main"] = Group(
                main, build_optimisers(config, main, lr, matrices_of_lstms(model))
            )
        if prior:
            plain = [parameter for _, parameter in prior]
            self.groups["prior"] = Group(prior, [Adam(plain, lr=config.prior_lr)])

    def scale(self, factor: float) -> None:
        """Set the learning rates of all groups to ``factor`` times their peaks."""
        for group in self.groups.values():
            group.scale(factor)

    def gradients(self, loss: Tensor, roles: Iterable[str], beside: Iterable[str] = ()) -> Tensor:
        """Back-propagate a scalar into ``roles`` alone; the largest norm of a group, 0-d.

        Nothing is clipped or applied yet: the caller looks at the norm first, and may still see
        whose gradient it is.

        Args:
            beside: further roles whose gradients count in the norm, but move nothing.
        """
        moving = {id(parameter) for parameter in self.model.params(*roles)}
        chosen = moving | {id(parameter) for parameter in self.model.params(*beside)}
        targets = [
            p for group in self.groups.values() for _, p in group.parameters if id(p) in chosen
        ]
        for group in self.groups.values():
            group.zero_grad()
        if targets and loss.requires_grad:
            torch.autograd.backward(loss / ranks.size(), inputs=targets)
        share_gradients(targets)
        self._moved = list(self._norms())
        for parameter in targets:
            if id(parameter) not in moving:
                parameter.grad = None
        return torch.stack(
            [torch.zeros((), device=loss.device), *(norm for _, norm in self._moved)]
        ).max()

    def _norms(self) -> Iterator[tuple[list[nn.Parameter], Tensor]]:
        """Parameters with a gradient that share a clip norm, and that norm."""
        for group in self.groups.values():
            moved = [parameter for _, parameter in group.parameters if parameter.grad is not None]
            encoder = [p for p in moved if self.by_role and id(p) in self._encoder]
            others = [p for p in moved if not (self.by_role and id(p) in self._encoder)]
            for some in (encoder, others):
                gradients = [p.grad for p in some if p.grad is not None]
                if gradients:
                    yield some, nn.utils.get_total_norm(gradients)

    def apply(self) -> None:
        """Clip by the norms that ``gradients`` found, and take the step of every optimiser.

        Parameters without a gradient stay as they are, bit for bit.
        """
        for moved, norm in self._moved:
            nn.utils.clip_grads_with_norm_(moved, self.clip, norm)
        for group in self.groups.values():
            group.step()
        self.model.weights_changed()

    def tensors(self) -> dict[str, Tensor]:
        """The state of all optimisers, for the checkpoint."""
        return {
            key: t
            for name, group in self.groups.items()
            for key, t in group.tensors(f"optim.{name}").items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``tensors`` gave."""
        for name, group in self.groups.items():
            group.restore(tensors, f"optim.{name}")


class Critics:
    """The critics of a composition, each with an optimiser, trained before joint steps."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.calls = {call.plugin: call for call in model.hooks.each("critic_loss")}
        self.groups: dict[str, Group] = {}
        for name in self.calls:
            config = model.plugin(name).critic
            parameters = [
                (f"{name}.{key}", p) for key, p in model.plugin(name).parameters_of("critic")
            ]
            if config is not None and parameters:
                self.groups[name] = Group(parameters, [build_critic_optimiser(config, parameters)])

    def train(self, view: Any) -> None:
        """``steps`` updates of each critic on the detached view of a step."""
        for name, group in self.groups.items():
            config = self.model.plugin(name).critic
            assert config is not None
            for _ in range(config.steps):
                self._update(name, group, view)
                if config.clamp is not None:
                    with torch.no_grad():
                        for _, parameter in group.parameters:
                            parameter.clamp_(-config.clamp, config.clamp)

    def _update(self, name: str, group: Group, view: Any) -> None:
        call = self.calls[name]
        loss = call.tensor(call(step=view), ())
        if not loss.requires_grad:
            raise call.error(
                "returned a critic_loss without a gradient",
                "likely: a .detach() or no_grad() too many",
            )
        plain = [parameter for _, parameter in group.parameters]
        gradients = torch.autograd.grad(loss / ranks.size(), plain, allow_unused=True)
        for parameter, gradient in zip(plain, gradients, strict=True):
            parameter.grad = gradient
        share_gradients(plain)
        check_critic(call, loss, [parameter.grad for parameter in plain], view.index)
        group.step()
        group.zero_grad()

    def tensors(self) -> dict[str, Tensor]:
        """The state of all critic optimisers, for the checkpoint."""
        return {
            key: t
            for name, group in self.groups.items()
            for key, t in group.tensors(f"critic.{name}").items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``tensors`` gave."""
        for name, group in self.groups.items():
            group.restore(tensors, f"critic.{name}")
