"""The two WAEs: what they charge by hand, and the theorem that the second answers."""

import math

import pytest
import torch
from aecore_swae import WaeD, WaeS

from aecore.assembly import assemble
from aecore.catalogue import Catalogue
from aecore.errors import CompositionError
from aecore.evaluation.protocol import evaluate_split
from aecore.matching import imq, mmd
from aecore.streams import Streams
from aecore.testing import Subject, parametrize_with_checks
from aecore.testing.lab import batch_of, build, corpus, step_on


@parametrize_with_checks("wae_d")
def test_conformance_of_wae_d(subject, check):
    check(subject)


@parametrize_with_checks("wae_s")
def test_conformance_of_wae_s(subject, check):
    check(subject)


@pytest.mark.parametrize("name", ["wae_d", "wae_s"])
def test_the_mmd_is_that_of_the_batch_at_the_authors_width(name):
    settings = {"weight": 7.0} | ({"kl_weight": 0.0} if name == "wae_s" else {})
    model = build(Subject.installed(name, settings), dropout=0.0)
    torch.manual_seed(3)
    step = step_on(model, batch_of(6))
    z = step.sample.z.squeeze(1)
    torch.manual_seed(4)
    drawn = model.prior_sample(6)
    torch.manual_seed(4)
    assert step.kl.squeeze(1).tolist() == pytest.approx(
        [7.0 * mmd(z, drawn, imq(4 * z.shape[1])).item()] * 6, rel=1e-4
    )


def test_the_kl_knows_the_deviations_alone():
    """Against torch's KL of N(mu, sigma^2) and N(mu, I)."""
    model = build(Subject.installed("wae_s", {"weight": 1e-9, "kl_weight": 2.0}), dropout=0.0)
    step = step_on(model, batch_of(5))
    q = step.sample.distribution.base_dist
    other = torch.distributions.Normal(q.loc, torch.ones_like(q.scale))
    due = 2 * torch.distributions.kl_divergence(q, other).sum(1)
    torch.testing.assert_close(step.kl.squeeze(1), due, rtol=1e-4, atol=1e-5)


def deviation(kl_weight, steps=150):
    """The mean sigma once the encoder has been trained, under a decoder that uses the code."""
    settings = {"weight": 1.0, "kl_weight": kl_weight}
    model = build(Subject.installed("wae_s", settings), dropout=0.0, spread=True)
    weights = list(model.params("encoder"))
    optimiser = torch.optim.Adam(weights, 0.01)
    torch.manual_seed(0)
    for _ in range(steps):
        step = step_on(model, batch_of(12))
        optimiser.zero_grad()
        model.objective(step).mean().backward(inputs=weights)
        optimiser.step()
    return model.plugin("wae_s").logged["deviation"].item()


def test_without_the_kl_the_deviations_fall_and_with_it_they_stay():
    """The paper's theorem, in the figure that metrics.jsonl has."""
    free, held = deviation(0.0), deviation(20.0)
    assert free < 0.5
    assert held > 0.9


@pytest.mark.parametrize("name", ["wae_d", "wae_s"])
def test_the_yardstick_is_there(name):
    model = build(Subject.installed(name), latent=2, spread=True)
    figures = evaluate_split(model, corpus().valid, Streams(0), 3, iw_samples=30)
    assert (figures.kl, figures.nll_elbo) == (None, None)
    assert math.isfinite(figures.nll_iw)


def composed(*names):
    return assemble({name: {} for name in names}, Catalogue.discover())


def test_what_composes_and_what_is_refused():
    for name in ("wae_d", "wae_s"):
        for other in ("annealing", "betavae", "cyclical", "ae_pretrain", "word_dropout"):
            assert composed(name, other).composition.levels["kl"] == "penalty"
        for other in ("controlvae", "free_bits", "ae", "poincare", "vmf", "lstm_lm", "wae_mmd"):
            with pytest.raises(CompositionError):
                composed(name, other)


@pytest.mark.parametrize(
    ("cls", "settings"),
    [(WaeD, {"weight": 0.0}), (WaeS, {"kl_weight": -1.0}), (WaeD, {"gamma": 1})],
)
def test_settings_out_of_range_are_refused(cls, settings):
    with pytest.raises(ValueError, match="validation error"):
        cls.Config(**settings)
