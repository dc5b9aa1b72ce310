"""aecore: one text autoencoder with a continuous latent space, and one small plugin per paper.

>>> import aecore
>>> aecore.__version__
'0.1.0'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aecore.api import load as load
    from aecore.api import resume as resume
    from aecore.api import train as train
    from aecore.autoencoder import Sizes as Sizes
    from aecore.batch import Batch as Batch
    from aecore.errors import AecoreError as AecoreError
    from aecore.errors import CompositionError as CompositionError
    from aecore.errors import ConfigError as ConfigError
    from aecore.errors import PluginError as PluginError
    from aecore.hookspec import hookimpl as hookimpl
    from aecore.initialisation import initialise as initialise
    from aecore.manifest import Manifest as Manifest
    from aecore.model import Model as Model
    from aecore.plugin import CriticConfig as CriticConfig
    from aecore.plugin import Plugin as Plugin
    from aecore.plugin import PluginConfig as PluginConfig
    from aecore.plugin import Role as Role
    from aecore.posterior import PosteriorSample as PosteriorSample
    from aecore.run import Run as Run
    from aecore.secondorder import second_order as second_order
    from aecore.step import DetachedStep as DetachedStep
    from aecore.step import Step as Step
    from aecore.training.session import Session as Session
    from aecore.training.stages import Stage as Stage
    from aecore.transfer import TransferRequest as TransferRequest

__version__ = "0.1.0"

#: Public names and where they live: imported on first use, so that listing plugins does not wait
#: for torch.
_HOME = {
    "AecoreError": "errors",
    "CompositionError": "errors",
    "ConfigError": "errors",
    "PluginError": "errors",
    "Batch": "batch",
    "CriticConfig": "plugin",
    "DetachedStep": "step",
    "Manifest": "manifest",
    "Model": "model",
    "Plugin": "plugin",
    "PluginConfig": "plugin",
    "PosteriorSample": "posterior",
    "Role": "plugin",
    "Run": "run",
    "Session": "training.session",
    "Sizes": "autoencoder",
    "Stage": "training.stages",
    "Step": "step",
    "TransferRequest": "transfer",
    "hookimpl": "hookspec",
    "initialise": "initialisation",
    "load": "api",
    "resume": "api",
    "second_order": "secondorder",
    "train": "api",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'aecore' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"aecore.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
