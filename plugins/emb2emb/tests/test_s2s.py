"""The sequence-to-sequence baselines: the loss by hand, what each trains, and runs."""

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import aecore
from aecore import ConfigError, Step
from aecore.errors import DataError
from aecore.testing import Subject, parametrize_with_checks
from aecore.testing.lab import batch_of, build
from aecore.training.trainer import Trainer
from aecore.transfer import TransferRequest

NAMES = ("s2s_scratch", "s2s_pretrain", "s2s_mlp", "s2s_freeze")
QUICK = {"train.max_steps": 4, "train.checkpoint_seconds": 0}


@parametrize_with_checks("s2s_scratch")
def test_conformance_from_scratch(subject, check):
    check(subject)


@parametrize_with_checks("s2s_pretrain")
def test_conformance_pretrained(subject, check):
    check(subject)


@parametrize_with_checks("s2s_mlp")
def test_conformance_with_a_mapping(subject, check):
    check(subject)


@parametrize_with_checks("s2s_freeze")
def test_conformance_frozen(subject, check):
    check(subject)


def mapped(model, name, z):
    return model.plugin(name).phi(z) if name in {"s2s_mlp", "s2s_freeze"} else z


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_the_cross_entropy_of_the_targets_words(name):
    """Against the words one by one, as they are generated, and torch's cross-entropy."""
    model = build(Subject.installed(name), dropout=0.0)
    step = Step(model, batch_of(7))
    due, target = torch.zeros(7), step.batch.target
    for row, length in enumerate(target.lengths.tolist()):
        condition = model.condition(mapped(model, name, step.code[row : row + 1]))
        state = model.decoder.initial(condition)
        for place in range(length):
            logits, state = model.decoder.advance(
                target.inputs[row, place : place + 1], condition, state
            )
            due[row] += F.cross_entropy(logits, target.targets[row, place : place + 1])
    torch.testing.assert_close(model.objective(step), due, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_code_becomes_what_the_decoder_was_taught_to_read(name):
    model = build(Subject.installed(name), dropout=0.0)
    z = torch.randn(5, model.sizes.latent)
    found = model.latent_map(z, TransferRequest())
    torch.testing.assert_close(found, mapped(model, name, z))


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "ae"
    return aecore.train(["ae"], "toy[:5%]", {"train.max_steps": 30}, out=path).path


def over(name, path, out, data="toy:pairs[:5%]", **more):
    return aecore.train([name], data, {f"{name}.autoencoder": str(path), **QUICK, **more}, out=out)


@pytest.mark.parametrize("name", ["s2s_pretrain", "s2s_mlp"])
def test_training_begins_as_the_autoencoder(name, autoencoder, tmp_path):
    """At a rate of nothing, encoder and decoder are the autoencoder's; at the usual one, not."""
    theirs = load_file(autoencoder / "model.safetensors")
    names = [name for name in theirs if name.startswith(("encoder", "decoder", "plugins.vae"))]
    assert names
    still = {"train.lr": 1e-12, "train.muon_lr": 1e-12}
    begun = load_file(over(name, autoencoder, tmp_path / "a", **still).path / "model.safetensors")
    for each in names:
        torch.testing.assert_close(begun[each], theirs[each], rtol=0, atol=1e-6)
    moved = load_file(over(name, autoencoder, tmp_path / "b").path / "model.safetensors")
    assert all(not torch.equal(moved[each], theirs[each]) for each in names)


def test_the_frozen_one_trains_its_mapping_alone(autoencoder, tmp_path):
    run = over("s2s_freeze", autoencoder, tmp_path / "run")
    theirs = load_file(autoencoder / "model.safetensors")
    ours = load_file(run.path / "base.safetensors")
    for name in (name for name in theirs if name.startswith(("encoder", "decoder"))):
        assert torch.equal(theirs[name], ours[name]), name
    kept = load_file(run.path / "model.safetensors")
    assert kept
    assert all(name.startswith("plugins.s2s_freeze.") for name in kept if "." in name)


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_run_goes_on_to_the_same_weights(name, autoencoder, tmp_path, monkeypatch):
    settings = {} if name == "s2s_scratch" else {f"{name}.autoencoder": str(autoencoder)}
    whole = aecore.train([name], "toy:pairs[:5%]", {**settings, **QUICK}, out=tmp_path / "whole")
    plain = Trainer._step

    def dying(self):
        plain(self)
        if self.state.step == 2:
            self.checkpoint()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", dying)
        with pytest.raises(KeyboardInterrupt):
            aecore.train([name], "toy:pairs[:5%]", {**settings, **QUICK}, out=tmp_path / "cut")
    aecore.resume(tmp_path / "cut")
    one, other = (
        (path / "model.safetensors").read_bytes() for path in (whole.path, tmp_path / "cut")
    )
    assert one == other


def test_what_is_wrong_is_said(autoencoder, tmp_path):
    with pytest.raises(ConfigError, match="works over a trained autoencoder, and none is named"):
        aecore.train(["s2s_mlp"], "toy:pairs[:5%]", out=tmp_path / "a")
    with pytest.raises(DataError, match="needs a corpus that is pairs, and this one is text"):
        aecore.train(["s2s_scratch"], "toy[:5%]", out=tmp_path / "a")
