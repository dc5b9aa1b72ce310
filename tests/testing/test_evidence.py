"""Evidence: a run, the moments that a test may look at, and tests that keep or do not."""

import math

import pytest
import torch

from aecore.catalogue import Catalogue
from aecore.errors import AecoreError
from aecore.manifest import Invariant
from aecore.testing import evidence
from aecore.testing.evidence import Trial, gathered, invariants_of


def row(step, **values):
    return {"stage": "joint", "span": "window", "step": step, **values}


def trial(rows):
    return Trial(None, None, rows, {}, {}, {}, lambda n: None)


def test_the_mean_is_of_the_last_steps_that_have_the_scalar():
    rows = [row(10 * n, kl=float(n)) for n in range(1, 11)]
    assert trial(rows).mean("kl", 50) == pytest.approx(8.0)
    assert trial(rows).mean("kl", 10) == 10.0
    with pytest.raises(AecoreError, match="no line of the joint steps has 'beta'"):
        trial(rows).mean("beta")


def asked(company, monkeypatch, test, **settings):
    """The verdict of ``test`` on a real run, instead of what the plugins say."""
    one = Invariant(says="it holds", test="x:y", steps=20, settings=settings)
    monkeypatch.setattr(evidence, "invariants_of", lambda *_: {f"{company[0]}.holds": one})
    monkeypatch.setattr(evidence, "test_of", lambda _: test)
    return gathered(company)[f"{company[0]}.holds"]


def test_a_trial_shows_the_moments_between_phases(monkeypatch):
    seen = {}

    def look(found):
        seen["trial"] = found
        return evidence.Kept(kept=True, found="looked")

    assert asked(("ae_pretrain", "dae"), monkeypatch, look, steps=10).kept
    found = seen["trial"]
    assert list(found.weights) == ["initial", "autoencoder", "joint"]
    decoder = next(name for name, _ in found.model.named_params("decoder"))
    stage, joint = (found.weights[at][decoder] for at in ("autoencoder", "joint"))
    assert not torch.equal(stage, joint)  # it is drawn anew
    assert [line["step"] for line in found.rows] == [10, 20]
    assert math.isclose(found.first["kl"], 0, abs_tol=0.1)
    assert found.last["rec"] < found.first["rec"]
    assert len(found.valid(7)) == 7
    assert found.plugin.config.steps == 10


def test_an_error_of_a_test_or_of_a_run_is_a_finding(monkeypatch):
    def fail(found):
        raise AecoreError("it cannot tell")

    assert asked(("betavae",), monkeypatch, fail).found == "it cannot tell"
    found = asked(("betavae",), monkeypatch, fail, beta=-1.0)
    assert not found.kept
    assert found.found.startswith("the run broke off: ")


def test_ours_name_what_they_keep():
    catalogue = Catalogue.discover()
    found = invariants_of([name for name in catalogue.entries if name != "vae"], catalogue)
    assert {
        *("controlvae.settles", "free_bits.keeps_the_floor", "annealing.arrives"),
        *("wae_mmd.matches", "savae.refines", "ae_pretrain.keeps_the_encoder"),
        *("vmf.lies_on_the_sphere", "poincare.lies_on_the_ball"),
    } <= set(found)


@pytest.mark.filterwarnings("ignore:annealing")
def test_a_test_can_be_failed(monkeypatch):
    """Every test of ours says no where its plugin does not do its job."""
    from aecore_annealing.invariants import arrives
    from aecore_controlvae.invariants import settles
    from aecore_pretrain_fb.invariants import keeps_the_encoder, keeps_the_floor

    slow = asked(("annealing",), monkeypatch, arrives, warmup_steps=1000)
    assert not slow.kept
    assert slow.found == "beta 0.0145, due 1"
    far = asked(("controlvae",), monkeypatch, settles, target_kl=9.0)
    assert (far.kept, far.found.endswith("target 9")) == (False, True)
    low = asked(("free_bits",), monkeypatch, keeps_the_floor)
    assert not low.kept  # 20 steps are too few to climb to it
    lost = trial([])
    lost.weights = {
        at: {"encoder.w": torch.full((1,), value)}
        for at, value in (("initial", 0.0), ("autoencoder", 1.0), ("joint", 0.0))
    }
    lost.model = type("", (), {"named_params": lambda self, role: [("encoder.w", None)]})()
    assert not keeps_the_encoder(lost).kept
