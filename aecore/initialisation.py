"""Initialisation: how fresh parameters are drawn, which decides how soon an LSTM learns.

Source: ``published``: He et al. (ICLR 2019) and Li et al. (EMNLP 2019), every parameter from
    U(-0.01, 0.01), embeddings from U(-0.1, 0.1). ``orthogonal``: Saxe et al. (ICLR 2014,
    https://arxiv.org/abs/1312.6120) for recurrent weights, Glorot and Bengio (AISTATS 2010) for all
    others, a positive forget bias as in Jozefowicz et al. (ICML 2015).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

#: Gates of an LSTM, in the order of its rows: input, forget, cell, output.
GATES = 4


@dataclass(frozen=True)
class Initialisation:
    """A law for fresh parameters.

    Attributes:
        kind: ``published`` or ``orthogonal``.
        embedding_std: s of the word embeddings, N(0, s^2); orthogonal alone.
        forget_bias: bias of the forget gates; orthogonal alone, where all other biases are 0.
    """

    kind: Literal["published", "orthogonal"] = "published"
    embedding_std: float = 0.1
    forget_bias: float = 0.5

    def draw(self, module: nn.Module) -> None:
        """Draw every parameter of a module afresh, in place, from torch's global generator."""
        for parameter in module.parameters():
            nn.init.uniform_(parameter, -0.01, 0.01)
        for child in module.modules():
            if isinstance(child, nn.Embedding):
                self._embedding(child)
            elif self.kind == "orthogonal" and isinstance(child, nn.Linear):
                _glorot(child)
            elif self.kind == "orthogonal" and isinstance(child, nn.LSTM):
                self._lstm(child)

    def _embedding(self, layer: nn.Embedding) -> None:
        if self.kind == "published":
            nn.init.uniform_(layer.weight, -0.1, 0.1)
        else:
            nn.init.normal_(layer.weight, 0.0, self.embedding_std)

    @torch.no_grad()
    def _lstm(self, layer: nn.LSTM) -> None:
        """Each gate is a matrix of its own; of the two biases that add up, one stays 0."""
        hidden = layer.hidden_size
        for name, parameter in layer.named_parameters():
            if name.startswith("bias"):
                parameter.zero_()
                if name.startswith("bias_ih"):
                    parameter[hidden : 2 * hidden] = self.forget_bias
                continue
            draw = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
            for gate in parameter.chunk(GATES):
                draw(gate)


def _glorot(layer: nn.Linear) -> None:
    if layer.weight.numel():
        nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


#: What holds outside of any run.
PUBLISHED = Initialisation("published")

_current: ContextVar[Initialisation | None] = ContextVar("initialisation", default=None)


@contextmanager
def initialising(law: Initialisation) -> Iterator[None]:
    """Inside the block `initialise` draws by ``law``: models and plugins are constructed in one."""
    token = _current.set(law)
    try:
        yield
    finally:
        _current.reset(token)


def initialise(module: nn.Module) -> None:
    """Draw every parameter of a module as the run's recipe says; ``published`` outside of any run.

    Linear layers, LSTMs and embeddings get their law; any other parameter is drawn from U(-0.01,
    0.01). What a method needs otherwise, it sets afterwards.
    """
    (_current.get() or PUBLISHED).draw(module)
