"""Where training begins: a divergence near 0, far above the -1 nat at which a run is stopped."""

import pytest

from aecore.errors import CompositionError
from aecore.testing import Subject
from aecore.testing.lab import batch_of, build, step_on


@pytest.mark.parametrize("latent", [4, 32])
@pytest.mark.parametrize(("name", "most"), [("mog_prior", 2.0), ("vamp_prior", 0.1)])
def test_the_divergence_of_an_untrained_model(name, most, latent):
    model = build(Subject.installed(name), spread=False, latent=latent)
    kl = step_on(model, batch_of(21)).kl.mean().item()
    assert -0.2 < kl < most


def test_two_learned_priors_are_refused_together():
    with pytest.raises(
        CompositionError, match="'mog_prior' and 'vamp_prior' both own prior_logprob"
    ):
        build(Subject.installed("mog_prior"), Subject.installed("vamp_prior"))


@pytest.mark.parametrize("name", ["mog_prior", "vamp_prior"])
def test_the_divergence_is_per_sentence_and_by_monte_carlo(name):
    level = Subject.installed(name).level
    assert (level["kl"], level["kl_estimator"], level["geometry"]) == (
        "sentence",
        "monte-carlo",
        "euclidean",
    )
