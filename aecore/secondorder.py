"""Second order: code whose gradient is differentiated again, as in refined posteriors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_wanted: ContextVar[bool] = ContextVar("second_order", default=False)


@contextmanager
def second_order() -> Iterator[None]:
    """Inside the block the gradients of ``model.nll`` may take ``create_graph=True``.

    The output layer leaves out its fused kernel, which would have to do its forward pass again for
    a gradient with a graph. cuDNN's LSTM is off: it has no second derivative, and in evaluation
    mode not even a first one.
    """
    token = _wanted.set(True)
    try:
        with torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        _wanted.reset(token)


def wanted() -> bool:
    """Whether the code that asks runs inside `second_order`."""
    return _wanted.get()
