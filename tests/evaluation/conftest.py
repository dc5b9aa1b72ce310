"""The models and integrals of ``quadrature`` in reach of these tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    """Two dimensions need fewer draws."""
    monkeypatch.setattr("aecore.evaluation.importance.PRIOR_DRAWS", 4000)
