"""The plugin in its composition: constants, levels, settings, and what composes."""

import math

import pytest
import torch
from aecore_vmf import VMF
from aecore_vmf.bessel import log_area

from aecore.assembly import assemble
from aecore.catalogue import Catalogue
from aecore.errors import CompositionError, ConfigError
from aecore.evaluation.protocol import evaluate_split
from aecore.geometry import Sphere
from aecore.runs.config import RunConfig
from aecore.streams import Streams
from aecore.testing import parametrize_with_checks
from aecore.testing.lab import batch_of, build, corpus, step_on
from aecore.testing.subject import Subject


def model(**settings):
    return build(Subject.installed("vmf", settings), latent=32, dropout=0.0)


def test_the_default_costs_2_173_nats():
    kl = step_on(model(), batch_of(5)).kl
    assert kl.shape == (5, 1)
    assert kl.flatten().tolist() == pytest.approx([2.173] * 5, abs=5e-4)
    assert not kl.requires_grad


def test_a_learned_kappa_starts_at_its_setting_and_moves():
    built = build(Subject.installed("vmf", {"learned": True}), latent=32, spread=False)
    step = step_on(built, batch_of(5))
    assert step.kl.flatten().tolist() == pytest.approx([2.173] * 5, abs=0.05)
    step.kl.sum().backward()
    assert built.plugin("vmf").spread.weight.grad.norm() > 0


def test_levels_follow_the_setting():
    assert model().level["kl_gradient"] == frozenset()
    assert (model().level["kl_estimator"], model(learned=True).level["kl_estimator"]) == (
        "constant",
        "analytic",
    )
    assert model(learned=True).level["kl_gradient"] == {"encoder"}
    assert model().space == Sphere()


@pytest.mark.parametrize("other", ["annealing", "betavae", "controlvae"])
def test_a_constant_kl_cannot_be_steered_but_a_learned_one_can(other):
    catalogue = Catalogue.discover()
    with pytest.raises(CompositionError, match=f"'{other}' does not compose with 'vmf'"):
        assemble({"vmf": {}, other: {}}, catalogue)
    assert (
        assemble({"vmf": {"learned": True}, other: {}}, catalogue).composition.label
        == f"vmf+{other}"
    )


def test_likelihood_and_information_come_from_its_own_density():
    built = model(kappa=200.0)
    figures = evaluate_split(built, corpus().valid, Streams(0), 4, mi=True, iw_samples=20)
    assert figures.kl_estimator == "constant"
    assert figures.nll_elbo == pytest.approx(figures.rec + figures.kl)
    assert figures.nll_iw is not None
    assert 0.5 < figures.mi <= math.log(6) + 1e-9
    assert "20 samples of the posterior" in figures.estimators["nll_iw"]


def test_information_vanishes_with_the_concentration():
    assert evaluate_split(
        model(kappa=1e-3), corpus().valid, Streams(0), 4, mi=True
    ).mi == pytest.approx(0, abs=1e-2)


def test_the_prior_is_uniform():
    built = model()
    z = built.prior_sample(2000)
    assert torch.allclose(built.prior_logprob(z), torch.full((2000,), -log_area(32)))
    assert z.mean(0).abs().max() < 5 / math.sqrt(2000 * 32)


@pytest.mark.parametrize(
    "settings", [{"kappa": 0.0}, {"kappa": -1.0}, {"kappa": 1e7}, {"learned": 1}, {"kapa": 3.0}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="validation error"):
        VMF.Config(**settings)


def test_one_dimension_has_no_sphere():
    config = RunConfig.model_validate(
        {"model": {"sizes": "toy", "latent": 1}, "plugins": {"vmf": {}}}
    )
    with pytest.raises(ConfigError, match="latent = 1 is too small for vmf"):
        assemble({"vmf": {}}, Catalogue.discover()).build(config, 40, torch.device("cpu"))


@parametrize_with_checks("vmf")
def test_conformance(subject, check):
    check(subject)


@parametrize_with_checks("vmf", settings={"learned": True})
def test_conformance_of_a_learned_kappa(subject, check):
    check(subject)
