"""beta-VAE: what the constant does to the gradient, by the closed form of the KL."""

import pytest
import torch
from aecore_betavae import BetaVAE
from pydantic import ValidationError

import aecore
from aecore import Sizes
from aecore.api import opened
from aecore.runs.config import build_config
from aecore.step import Step
from aecore.testing import parametrize_with_checks


def test_the_weight_is_the_setting():
    assert BetaVAE(BetaVAE.Config(beta=0.25), Sizes(9, 2, 3, 2)).beta_schedule() == 0.25


@pytest.mark.parametrize("beta", [-0.1, float("nan"), float("inf"), "1"])
def test_settings_out_of_range_are_refused(beta):
    with pytest.raises(ValidationError):
        BetaVAE.Config(beta=beta)


def test_the_objective_is_rec_plus_beta_times_the_divergence(tmp_path):
    config = build_config(
        None, {}, {"betavae.beta": 4.0, "train.max_steps": 2, "train.threads": 1}, ["betavae"]
    )
    with opened(config, tmp_path / "run") as trainer:
        trainer.advance()
        model, batch = trainer.model, trainer.corpus.train.batch(torch.arange(5))
        assert float(model.beta) == 4.0
        step = Step(model, batch, schedule=lambda _: model.beta)
        distribution = step.sample.distribution
        normal = torch.distributions.Normal(torch.zeros_like(distribution.mean), 1.0)
        exact = torch.distributions.kl_divergence(
            torch.distributions.Normal(distribution.mean, distribution.stddev), normal
        )
        assert torch.allclose(model.objective(step), step.rec.mean(1) + 4.0 * exact.sum(1))


def test_it_does_not_share_the_weight_with_another_schedule(tmp_path):
    with pytest.raises(
        aecore.AecoreError, match="'betavae' and 'annealing' both own beta_schedule"
    ):
        aecore.train(["betavae", "annealing"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@parametrize_with_checks("betavae")
def test_conformance(subject, check):
    check(subject)


def test_no_weight_at_all_is_another_plugin():
    with pytest.raises(ValueError, match="that is the plugin ae"):
        BetaVAE.Config(beta=0.0)
