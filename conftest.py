"""What every test needs: one thread, and random numbers of its own, in any order."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
import torch

from aecore.streams import stream

torch.set_num_threads(1)
# a loaded machine is no failure; and what CI finds can be found again
hypothesis.settings.register_profile("aecore", deadline=None, derandomize=True)
hypothesis.settings.load_profile("aecore")


@pytest.fixture(autouse=True)
def _stream(request):
    """A random stream that is named after the test."""
    with stream("test", request.node.nodeid):
        yield
