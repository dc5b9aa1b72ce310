"""Coupling layers from zuko, as fast in sampling as in density; autoregressive ones are not."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributions import Distribution

_CHECKED = Distribution._validate_args
from zuko.flows.coupling import GeneralCouplingTransform  # type: ignore[import-untyped]  # noqa: E402
from zuko.transforms import (  # type: ignore[import-untyped]  # noqa: E402
    AdditiveTransform,
    ComposedTransform,
    MonotonicAffineTransform,
    MonotonicRQSTransform,
)

# Importing zuko turns the checks of all torch distributions off, in every plugin and for the whole
# process.
Distribution.set_default_validate_args(_CHECKED)

BINS = 8
#: What a layer does to each coordinate of its moving half, and the shapes of that function's
#: parameters.
FAMILIES: dict[str, tuple[Any, list[tuple[int, ...]]]] = {
    "nice": (AdditiveTransform, [()]),
    "realnvp": (MonotonicAffineTransform, [(), ()]),
    "nsf": (MonotonicRQSTransform, [(BINS,), (BINS,), (BINS - 1,)]),
}


def coupling_layers(family: str, features: int, layers: int, hidden: int) -> nn.ModuleList:
    """Coupling layers that begin as the identity: the last layer of each network is 0."""
    univariate, shapes = FAMILIES[family]
    found = nn.ModuleList()
    for number in range(layers):
        kept = torch.arange(features) % 2 == number % 2
        layer = GeneralCouplingTransform(
            features, mask=kept, univariate=univariate, shapes=shapes, hidden_features=[hidden] * 2
        )
        for parameter in layer.hyper[-1].parameters():
            nn.init.zeros_(parameter)
        found.append(layer)
    return found


def composed(layers: nn.ModuleList) -> Any:
    """The layers one after the other, as a transform of (..., D)."""
    return ComposedTransform(*(layer() for layer in layers))
