"""Emb2Emb: its losses by hand, the frozen autoencoder bit by bit, and runs from start to end."""

import math

import pytest
import torch
from aecore_emb2emb.mappings import MeanOffset, OffsetNet, mapping
from safetensors.torch import load_file
from torch.nn import functional as F

import aecore
from aecore import ConfigError, PluginError, Step
from aecore.data import toy
from aecore.errors import CompositionError, DataError, RunError
from aecore.testing import Subject, parametrize_with_checks
from aecore.testing.lab import batch_of, build, corpus
from aecore.transfer import TransferRequest

LABELS = {"supervision": "labels"}
QUICK = {"train.max_steps": 4, "train.checkpoint_seconds": 0}


@parametrize_with_checks("emb2emb")
def test_conformance_on_pairs(subject, check):
    check(subject)


@parametrize_with_checks("emb2emb", settings=LABELS)
def test_conformance_on_labels(subject, check):
    check(subject)


@parametrize_with_checks("emb2emb", settings={"mapping": "resnet", "loss": "cosine", "layers": 2})
def test_conformance_of_a_resnet(subject, check):
    check(subject)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def step_of(settings, n=7, **options):
    model = build(Subject.installed("emb2emb", settings))
    return model.plugin("emb2emb"), Step(model, batch_of(n), training=True, **options)


# The mappings


@pytest.mark.parametrize("name", ["offsetnet", "mlp", "resnet", "mean_offset"])
def test_a_mapping_keeps_the_shape_and_is_trained(name):
    phi = mapping(name, 4, 9, 2)
    z = torch.randn(5, 4)
    assert phi(z).shape == z.shape
    gradients = torch.autograd.grad(phi(z).square().sum(), list(phi.parameters()))
    assert all(bool(gradient.any()) for gradient in gradients)


def test_an_offset_is_added_to_the_code():
    """z + W2 selu(W1 z + b1) + b2, by hand."""
    phi, z = OffsetNet(4, 6, 1), torch.randn(3, 4)
    first, _, second = phi.layers[0]
    bent = F.selu(z @ first.weight.t() + first.bias) @ second.weight.t() + second.bias
    torch.testing.assert_close(phi(z), z + bent)


def test_a_mean_offset_begins_as_the_identity_and_moves_all_codes_alike():
    phi, z = MeanOffset(4), torch.randn(3, 4)
    assert torch.equal(phi(z), z)
    with torch.no_grad():
        phi.offset.weight.copy_(torch.arange(4.0).unsqueeze(1))
    torch.testing.assert_close(phi(z) - z, torch.arange(4.0).expand(3, 4))


# The losses


@pytest.mark.parametrize("loss", ["mse", "cosine"])
def test_the_loss_of_pairs_by_hand(loss):
    plugin, step = step_of({"loss": loss, "adversarial": 0.25})
    z, due = step.code, step.target.code
    made = plugin.phi(z)
    apart = (made - due).square().mean(1)
    if loss == "cosine":
        apart = 1 - (made * due).sum(1) / (made.norm(dim=1) * due.norm(dim=1))
    passed = -torch.sigmoid(plugin.critic_net(made).squeeze(1)).log()
    torch.testing.assert_close(step.model.objective(step), apart + 0.25 * passed)


def test_the_loss_of_labels_by_hand():
    """Half of the way up the ramp, and 0 where a sentence has the target label already."""
    settings = {**LABELS, "style": 0.8, "adversarial": 0.25, "ramp": 0.5}
    plugin, step = step_of(settings, index=5)
    plugin.wanted.fill_(1)
    plugin.length.fill_(10.0)
    made = plugin.phi(step.code)
    style = -torch.sigmoid(plugin.judge(made).squeeze(1)).log()
    kept = (made - step.code).square().mean(1)
    passed = -torch.sigmoid(plugin.critic_net(made).squeeze(1)).log()
    due = 0.4 * style + 0.6 * kept + 0.25 * passed
    asked = step.batch.labels != 1
    assert 0 < asked.sum() < 7
    torch.testing.assert_close(step.model.objective(step), torch.where(asked, due, 0.0))


def test_a_step_brings_codes_nearer_to_their_targets():
    """The sign of the objective: plain gradient descent halves the distance."""
    plugin, step = step_of({"adversarial": 1e-6, "width": 64})
    apart = []
    for _ in range(200):
        loss = step.model.objective(step).mean()
        gradients = torch.autograd.grad(loss, list(plugin.phi.parameters()), retain_graph=True)
        with torch.no_grad():
            for parameter, gradient in zip(plugin.phi.parameters(), gradients, strict=True):
                parameter -= 0.02 * gradient
        apart.append(float(loss))
    assert apart[-1] < 0.5 * apart[0]


def test_a_critic_that_knows_the_codes_pushes_the_mapping_towards_them():
    """-log D falls where D is sure that codes with a large first coordinate are real."""
    plugin, step = step_of({"adversarial": 100.0})
    with torch.no_grad():
        for parameter in plugin.critic_net.parameters():
            parameter.zero_()
        plugin.critic_net[0].weight[0, 0] = 1.0
        plugin.critic_net[2].weight[0, 0] = 1.0
        plugin.critic_net[4].weight[0, 0] = 1.0
    loss = step.model.objective(step).mean()
    (gradient,) = torch.autograd.grad(loss, plugin.phi.layers[0][2].bias)
    assert gradient[0] < 0


def test_strength_goes_from_the_code_to_its_image():
    plugin, step = step_of({})
    z = step.code
    for strength in (0.0, 0.5, 1.0):
        found = step.model.latent_map(z, TransferRequest(strength=strength))
        torch.testing.assert_close(found, z + strength * (plugin.phi(z) - z))


# Runs


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "ae"
    return aecore.train(["ae", "dae"], "toy[:5%]", {"train.max_steps": 30}, out=path).path


def over(path, data="toy:pairs[:5%]", out=None, **settings):
    wanted = {f"emb2emb.{name}": value for name, value in settings.items()}
    wanted = {"emb2emb.autoencoder": str(path), **wanted, **QUICK}
    return aecore.train(["emb2emb"], data, wanted, out=out)


def test_encoder_and_decoder_are_the_autoencoders_bit_by_bit(autoencoder, tmp_path):
    run = over(autoencoder, out=tmp_path / "run")
    theirs = load_file(autoencoder / "model.safetensors")
    ours = {**load_file(run.path / "base.safetensors"), **load_file(run.path / "model.safetensors")}
    names = [name for name in theirs if name.startswith(("encoder", "decoder", "plugins.ae"))]
    assert names
    for name in names:
        assert torch.equal(theirs[name], ours[name]), name
        assert torch.equal(theirs[name], dict(run.model.named_parameters())[name]), name
    kept = load_file(run.path / "checkpoint.safetensors")
    assert not [name for name in kept if "encoder." in name.removeprefix("model.")[:8]]
    sentences = ["the doctor frowns in the castle"]
    assert torch.equal(run.encode(sentences), aecore.load(autoencoder).encode(sentences))
    assert run.config.model.latent == aecore.load(autoencoder).config.model.latent
    assert run.model.composition.names == ("emb2emb",)


def test_a_run_needs_its_autoencoder_no_more(autoencoder, tmp_path):
    """It may have moved; what was taken of it lies in the run."""
    import shutil

    shutil.copytree(autoencoder, tmp_path / "moving")
    run = over(tmp_path / "moving", out=tmp_path / "run")
    before = run.transfer(["the doctor frowns in the castle"])
    shutil.rmtree(tmp_path / "moving")
    assert aecore.load(tmp_path / "run").transfer(["the doctor frowns in the castle"]) == before
    again = aecore.resume(tmp_path / "run", max_steps=8)
    assert again.summary["steps"] == 8


def test_labels_train_a_classifier_first(autoencoder, tmp_path):
    run = over(autoencoder, "toy:labelled[:5%]", tmp_path / "run", **LABELS)
    stages = {row["stage"] for row in run.metrics()}
    assert stages == {"style", "joint"}
    plugin = run.model.plugin("emb2emb")
    assert int(plugin.wanted) == 1  # negative, positive
    assert float(plugin.share) > 0
    assert len(run.transfer(["the doctor frowns in the castle"])) == 1


def test_what_is_wrong_is_said(autoencoder, tmp_path):
    with pytest.raises(ConfigError, match="works over a trained autoencoder, and none is named"):
        aecore.train(["emb2emb"], "toy:pairs[:5%]", out=tmp_path / "a")
    with pytest.raises(RunError, match="there is no run"):
        over(tmp_path / "nothing", out=tmp_path / "a")
    with pytest.raises(DataError, match="needs a corpus that is pairs, and this one is text"):
        over(autoencoder, "toy[:5%]", tmp_path / "a")
    with pytest.raises(DataError, match="needs a corpus that is labelled, and this one is pairs"):
        over(autoencoder, "toy:pairs[:5%]", tmp_path / "a", **LABELS)
    with pytest.raises(PluginError, match="no label of the corpus is called 'happy'"):
        over(autoencoder, "toy:labelled[:5%]", tmp_path / "a", target="happy", **LABELS)
    run = over(autoencoder, out=tmp_path / "run")
    with pytest.raises(RunError, match="is no autoencoder of its own"):
        over(run.path, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_what_steers_a_divergence_is_refused_over_a_frozen_autoencoder(autoencoder, tmp_path):
    settings = {"emb2emb.autoencoder": str(autoencoder)}
    others = ("annealing", "controlvae", "free_bits", "lagging", "ae_pretrain", "dae")
    for other in others:
        with pytest.raises(CompositionError, match=f"'{other}' does not compose with 'emb2emb'"):
            aecore.train([other, "emb2emb"], "toy:pairs[:5%]", settings, out=tmp_path / "a")


def test_the_kit_has_labels_and_pairs_for_it():
    assert corpus().train.labels is not None
    assert corpus().train.target is not None
    assert math.isfinite(float(step_of({})[1].target.code.sum()))
    assert toy.pairs()["test"][0][0].sentiment == "negative"
