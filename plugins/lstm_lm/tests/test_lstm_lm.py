"""The language model against an LSTM of torch's own without any condition, in float64."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

import aecore
from aecore.api import opened, reopened
from aecore.runs.config import build_config
from aecore.step import Step
from aecore.testing import parametrize_with_checks

SETTINGS = {
    "train.threads": 1,
    "train.batch_size": 16,
    "train.lr": 0.01,
    "train.weight_decay": 0.1,
    "train.device": "cpu",
}


def trainer(path, **settings):
    return opened(
        build_config(None, {}, {**SETTINGS, "train.max_steps": 5, **settings}, ["lstm_lm"]), path
    )


def exact(model, batch):
    """(B,): -log p(x) by an embedding, an LSTM and an output layer that know of no latent."""
    ours, hidden = model.decoder, model.sizes.hidden
    lstm = nn.LSTM(model.sizes.embedding, hidden, batch_first=True, dtype=torch.float64)
    lstm.load_state_dict({name: value.double() for name, value in ours.lstm.state_dict().items()})
    states, _ = lstm(ours.embedding(batch.inputs).double())  # from h = c = 0
    logits = states @ ours.output.weight.double().T
    losses = F.cross_entropy(logits.transpose(1, 2), batch.targets, reduction="none")
    return (losses * batch.mask).sum(1)


def test_the_likelihood_is_exact_for_any_number_of_samples(tmp_path):
    with trainer(tmp_path / "run") as run:
        run.run()
        model, batch = run.model.eval(), run.corpus.test.batch(torch.arange(9))
    with torch.no_grad():
        expected = exact(model, batch)
        for samples in (1, 2, 7):
            step = Step(model, batch, samples=samples)
            assert step.condition.shape == (9, samples, 0)
            assert torch.allclose(
                step.rec.double(), expected.unsqueeze(1).expand(-1, samples), atol=1e-4
            )
            assert torch.equal(step.kl, torch.zeros(9, 1))
    run = aecore.load(tmp_path / "run", "cpu")
    found = [run.evaluate(limit=9, iw_samples=samples) for samples in (1, 3, 500)]
    for figures in found:
        assert (
            figures["nll_elbo"] == figures["rec"] == pytest.approx(float(expected.mean()), abs=1e-4)
        )
        assert figures["nll_iw"] == pytest.approx(figures["rec"], abs=1e-4)
        assert figures["nll_iw"] == found[0]["nll_iw"]
        assert (figures["mi"], figures["mi_batch"], figures["au"], figures["kl"]) == (
            None,
            None,
            None,
            0,
        )
        assert figures["estimators"]["kl"] == "constant"


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_the_encoder_keeps_its_first_weights_bit_for_bit(tmp_path, optimiser):
    """Without a gradient there is no weight decay, and nothing in the checkpoint."""
    with trainer(tmp_path / "run", **{"train.optimiser": optimiser}) as run:
        before = {name: value.clone() for name, value in run.model.state_dict().items()}
        run.run()
        after = run.model.state_dict()
        moved = {name for name, value in after.items() if not torch.equal(before[name], value)}
        assert not {name for name in moved if name.startswith("encoder.")}
        # (H, 0)
        assert {name for name in after if name.startswith("decoder.")} - moved == {
            "decoder.bridge.weight"
        }
        assert not [name for name in run.phase.tensors() if "encoder." in name]


def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path):
    with trainer(tmp_path / "whole") as whole:
        whole.run()
    with trainer(tmp_path / "killed") as killed:
        killed.advance(), killed.advance()
        killed.checkpoint()
    with reopened(tmp_path / "killed") as again:
        assert again.state.step == 2
        again.run()
    one, other = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")
    )
    assert one == other


def test_it_learns(tmp_path):
    with trainer(tmp_path / "run", **{"train.max_steps": 40}) as run:
        run.run()
    rows = [
        row for row in aecore.load(tmp_path / "run", "cpu").metrics() if row["split"] == "valid"
    ]
    uniform = 9 * 4.5  # 90 words
    assert rows[-1]["nll_elbo"] < 0.95 * uniform
    assert "z_gap" not in rows[-1] or rows[-1]["z_gap"] is None


@pytest.mark.parametrize("other", ["betavae", "annealing", "controlvae"])
def test_a_schedule_has_nothing_to_weigh(tmp_path, other):
    with pytest.raises(aecore.AecoreError, match=f"'{other}' does not compose with 'lstm_lm'"):
        aecore.train(["lstm_lm", other], out=tmp_path / "run")


def test_it_has_no_settings():
    from aecore_lstm_lm import LstmLm

    with pytest.raises(ValidationError):
        LstmLm.Config(hidden=3)


@parametrize_with_checks("lstm_lm")
def test_conformance(subject, check):
    check(subject)
