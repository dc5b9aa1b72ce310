"""Checks of what costs time on a device: no hook of a step waits for a value there."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from aecore.hooks import Call
from aecore.hookspec import HOOKS
from aecore.testing.lab import training
from aecore.testing.registry import Case, implements, named, promise

#: Hooks of every joint step; decisions before it (`before_step`), critics and stages may wait.
ELSEWHERE = {"pre_train_init", "before_step", "critic_loss", "latent_map"}
EACH_STEP = tuple(name for name in HOOKS if name not in ELSEWHERE)
STEPS = 2


class _Waits(TorchDispatchMode):
    """Notes the lines of files in a folder where a tensor becomes a Python number."""

    def __init__(self, folder: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.folder, self.lines = folder, list[str]()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is torch.ops.aten._local_scalar_dense.default:
            for frame in reversed(traceback.extract_stack()):
                file = Path(frame.filename)
                if file == Path(__file__) or ("torch" in file.parts and not _validates(file)):
                    continue
                if file.parent == self.folder:
                    self.lines.append(f"{file.parent.name}/{file.name}:{frame.lineno}")
                break  # else the core waits, or an argument is validated: neither is the plugin's
        return function(*args, **(kwargs or {}))


def _validates(file: Path) -> bool:
    return "distributions" in file.parts


@promise(named, implements(*EACH_STEP))
def check_steps_do_not_wait(case: Case) -> None:
    """No hook of a training step turns a tensor into a Python number, as .item() does."""
    found: dict[str, str] = {}
    folder = Path(inspect.getfile(case.subject.cls)).parent

    def watch(call: Call, offered: Mapping[str, Any]) -> Any:
        if call.plugin != case.subject.name or call.hook.name not in EACH_STEP:
            return call.answer(**offered)
        case.verified += 1
        with _Waits(folder) as waits:
            value = call.answer(**offered)
        found.update(dict.fromkeys(waits.lines, call.hook.name))
        return value

    with training(case.subject, dropout=0.0) as trainer:
        trainer.to_the_joint_phase()
        with trainer.model.hooks.observed(watch):
            for _ in range(STEPS):
                trainer.advance()
    for line, hook in found.items():
        due = "due: tensors all the way; self.log takes them too"
        case.fail(f"{hook} waits for the device", f"at: {line}", due)
