"""The models and integrals of ``quadrature`` in reach of these tests."""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest


@pytest.fixture(autouse=True)
def quick_fits(monkeypatch):
    """Two dimensions need fewer steps and fewer draws."""
    from aecore.evaluation.proposal import fit_proposal

    monkeypatch.setattr(
        "aecore.evaluation.importance.fit_proposal", partial(fit_proposal, steps=60)
    )
    monkeypatch.setattr("aecore.evaluation.importance.PRIOR_DRAWS", 4000)
