"""The autoencoder and the stage: what trains on what, what survives, what a run lends."""

import json
import random
import shutil
from types import SimpleNamespace

import pytest
import torch
from aecore_pretrain_fb import Pretraining

import aecore
from aecore import Sizes
from aecore.errors import AecoreError
from aecore.testing import Subject, parametrize_with_checks
from aecore.testing.compare import snapshot
from aecore.testing.lab import batch_of, build, step_on, training

TINY = {
    "model.embedding": 5,
    "model.hidden": 6,
    "model.latent": 3,
    "train.device": "cpu",
    "train.batch_size": 8,
}


def pretraining(**settings):
    return Subject.installed("ae_pretrain", {"epochs": 20.0, **settings})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of 24, 6 and 6 sentences over eight words."""
    folder, draw = tmp_path_factory.mktemp("data"), random.Random(0)
    for name, count in (("train", 24), ("valid", 6), ("test", 6)):
        lines = (" ".join(draw.choices("abcdefgh", k=draw.randint(2, 6))) for _ in range(count))
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def autoencoder(data):
    """A run of the plain autoencoder."""
    return aecore.train(
        ["ae"], str(data), {**TINY, "train.lr": 0.01}, epochs=2, out=data / "runs" / "ae"
    )


def rows_of(run, stage):
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["stage"] == stage]


# The autoencoder


def test_an_autoencoder_is_moved_by_the_reconstruction_alone():
    model = build(Subject.installed("ae"), dropout=0.0)
    step = step_on(model, batch_of(7))
    parameters = model.params("encoder", "decoder")
    found = torch.autograd.grad(model.objective(step).mean(), parameters, retain_graph=True)
    due = torch.autograd.grad(step.rec.mean(), parameters)
    assert all(torch.equal(one, other) for one, other in zip(found, due, strict=True))
    assert step.kl.tolist() == [[0.0]] * 7


def test_its_latents_are_drawn_and_their_scale_is_learned():
    model = build(Subject.installed("ae"), dropout=0.0)
    step = step_on(model, batch_of(7), 400)
    scale = step.sample.distribution.stddev
    assert torch.allclose(step.sample.z.std(1), scale, rtol=0.2)
    assert float(scale.detach().max()) > 0.1
    (gradient,) = torch.autograd.grad(step.rec.mean(), [model.plugin("vae").head.weight])
    assert float(gradient[model.sizes.latent :].norm()) > 1e-4  # the rows of the log variance


def test_a_penalty_is_no_bound(autoencoder):
    summary = json.loads((autoencoder.path / "summary.json").read_text())
    assert summary["nll_elbo"] is None
    assert summary["penalty"] == 0
    assert summary["kl"] is summary["estimators"]["kl"] is None


# The stage


def test_the_stage_charges_no_divergence_and_validates_nothing(data, tmp_path):
    settings = {
        **TINY,
        "ae_pretrain.epochs": 2.0,
        "train.log_every": 1,
        "train.schedule": "plateau",
        "annealing.warmup_epochs": 2.0,
    }
    run = aecore.train(
        ["ae_pretrain", "annealing"], str(data), settings, epochs=2, out=tmp_path / "run"
    )
    stage, joint = rows_of(run, "autoencoder"), rows_of(run, "joint")
    assert {row["split"] for row in stage} == {"train"}
    assert [row["step"] for row in stage if row["span"] == "window"] == [1, 2, 3, 4, 5, 6]
    assert not any({"kl", "kl_loss", "beta"} & set(row) for row in stage)
    assert all(row["loss"] == pytest.approx(row["rec"], rel=1e-6) for row in stage)
    betas = [row["beta"] for row in joint if row["split"] == "train" and row["span"] == "window"]
    # from step 0 of the joint phase, three steps an epoch
    assert betas == pytest.approx([step / 6 for step in range(6)])


def test_the_encoder_survives_and_the_decoder_is_drawn_again():
    with training(pretraining(), dropout=0.0) as trainer:
        start = snapshot(trainer.model)
        while trainer.state.step < 4:
            trainer.advance()
        before = snapshot(trainer.model)
        trained = {name for name, value in before.items() if not torch.equal(value, start[name])}
        assert trained == set(before)
        trainer.to_the_joint_phase()
        after = snapshot(trainer.model)
        kept = {name for name, value in after.items() if torch.equal(value, before[name])}
        assert kept == {name for name, _ in trainer.model.named_params("encoder")}
        output, embedding = after["decoder.output.weight"], after["decoder.embedding.weight"]
        # Glorot, as the recipe says
        assert float(output.abs().max()) <= (6 / sum(output.shape)) ** 0.5
        assert float(embedding.std()) == pytest.approx(0.1, rel=0.2)


def test_the_joint_phase_has_an_optimiser_of_its_own():
    with training(pretraining(), dropout=0.0) as trainer:
        trainer.to_the_joint_phase()
        assert trainer.phase.updater.tensors() == {}
        before = snapshot(trainer.model)
        trainer.advance()
        bias = "decoder.lstm.bias_ih_l0"  # moved by Adam, and not decayed
        moved = float((snapshot(trainer.model)[bias] - before[bias]).abs().max())
        rate = trainer.phase.schedule(0) * trainer.config.train.lr
    # the first step of Adam is lr times the sign of the gradient
    assert moved == pytest.approx(rate, rel=1e-3)


def test_the_decoder_stays_where_it_is_not_to_be_reset():
    with training(pretraining(reset_decoder=False)) as trainer:
        while trainer.state.step < 4:
            trainer.advance()
        before = snapshot(trainer.model)
        trainer.to_the_joint_phase()
        assert all(
            torch.equal(value, before[name]) for name, value in snapshot(trainer.model).items()
        )


@pytest.mark.parametrize(("settings", "due"), [({}, 0.01), ({"lr": 0.5}, 0.5)])
def test_the_stage_has_its_own_learning_rate(settings, due):
    with training(pretraining(**settings)) as trainer:
        (group,) = trainer.phase.updater.groups.values()
        assert group.optimisers[0].param_groups[0]["lr"] == due
        trainer.to_the_joint_phase()
        (group,) = trainer.phase.updater.groups.values()
        assert group.optimisers[0].param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize(("settings", "steps"), [({"epochs": 0.5}, 2), ({"steps": 7}, 7), ({}, 4)])
def test_the_stage_is_as_long_as_it_is_said_to_be(settings, steps):
    plugin = Pretraining(Pretraining.Config(**settings), Sizes(9, 2, 3, 2))
    (stage,) = plugin.pre_train_init(session=SimpleNamespace(total_steps=12, steps_per_epoch=3))
    assert stage.total_steps(3) == steps


def test_patience_counts_epochs_without_a_better_reconstruction():
    plugin = Pretraining(Pretraining.Config(patience=2), Sizes(9, 2, 3, 2))
    begun = SimpleNamespace(total_steps=12, steps_per_epoch=3)
    (stage,) = plugin.pre_train_init(session=begun)
    values = iter([5.0, 4.0, 4.5, 3.9, 3.9, 3.95, 3.0])
    session = SimpleNamespace(evaluate=lambda split, name: {name: next(values)})
    asked = [stage.until(session) for _ in range(4)]
    resumed = Pretraining(Pretraining.Config(patience=2), Sizes(9, 2, 3, 2))
    resumed.load_state_dict(plugin.state_dict())
    (again,) = resumed.pre_train_init(session=begun)
    asked += [again.until(session) for _ in range(2)]
    assert asked == [False, False, False, False, False, True]


def test_patience_ends_a_stage(data, tmp_path):
    settings = {
        **TINY,
        "ae_pretrain.epochs": 50.0,
        "ae_pretrain.patience": 1,
        "ae_pretrain.lr": 3.0,
    }
    run = aecore.train(["ae_pretrain"], str(data), settings, max_steps=1, out=tmp_path / "run")
    assert rows_of(run, "autoencoder")[-1]["epoch"] < 50


# An encoder that is there already


def test_encoder_and_on_demand_decoder_are_taken_from_a_run(data, autoencoder):
    settings = {**TINY, "ae_pretrain.autoencoder": str(autoencoder.path)}
    with started(data, settings) as trainer:
        assert trainer.state.joint
        ours, theirs = snapshot(trainer.model), snapshot(autoencoder.model)
        same = {name for name, value in ours.items() if torch.equal(value, theirs[name])}
        assert same == {name for name, _ in trainer.model.named_params("encoder")}
        assert "plugins.vae.head.weight" in same
    with started(data, {**settings, "ae_pretrain.reset_decoder": False}) as trainer:
        assert all(
            torch.equal(value, theirs[name]) for name, value in snapshot(trainer.model).items()
        )


def test_a_run_that_was_taken_from_is_not_needed_again(data, autoencoder, tmp_path):
    from aecore.api import reopened

    lender, path = tmp_path / "lender", data / "runs" / "begun"
    shutil.copytree(autoencoder.path, lender)
    settings = {**TINY, "train.epochs": 2, "ae_pretrain.autoencoder": str(lender)}
    with started(data, settings) as whole:
        while whole.advance():
            pass
    with started(data, settings) as cut:
        for _ in range(2):
            cut.advance()
        cut.checkpoint()
    shutil.rmtree(lender)
    with reopened(path) as again:
        assert again.state.step == 2
        while again.advance():
            pass
    assert snapshot(again.model).keys() == snapshot(whole.model).keys()
    assert all(
        torch.equal(value, snapshot(whole.model)[name])
        for name, value in snapshot(again.model).items()
    )


def started(data, settings, plugins=("ae_pretrain", "free_bits")):
    """A trainer that has begun, in a folder that is removed with the data."""
    from aecore.api import opened
    from aecore.runs.config import build_config

    config = build_config(None, {"data": {"spec": str(data)}}, settings, plugins)
    return opened(config, data / "runs" / "begun", overwrite=True)


def refused(data, settings, plugins=("ae_pretrain",)):
    with pytest.raises(AecoreError) as caught, started(data, settings, plugins):
        pass
    return str(caught.value)


def test_a_run_that_is_not_there_is_refused(data, autoencoder):
    there = data / "runs" / "begun"
    before = sorted(there.iterdir()) if there.is_dir() else None
    text = refused(data, {**TINY, "ae_pretrain.autoencoder": str(data / "runs" / "other")})
    assert text.startswith(
        "'ae_pretrain' (aecore-pretrain-fb 0.1.0) broke off in pre_train_init: there is no run"
    )
    # a run that was there stays, and the mended command finds no new one in its way
    assert (sorted(there.iterdir()) if there.is_dir() else None) == before


def test_other_sizes_are_refused(data, autoencoder):
    text = refused(
        data, {**TINY, "model.hidden": 7, "ae_pretrain.autoencoder": str(autoencoder.path)}
    )
    assert f"the encoder of the run '{autoencoder.path}' does not fit" in text
    assert "encoder.lstm.weight_ih_l0: (24, 5) there, (28, 5) here" in text
    assert "plugins: ae there, ae_pretrain here" in text


def test_another_vocabulary_of_the_same_size_is_refused(data, autoencoder, tmp_path):
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text((data / f"{name}.txt").read_text().replace("a", "z"))
    text = refused(tmp_path, {**TINY, "ae_pretrain.autoencoder": str(autoencoder.path)})
    assert f"the run '{autoencoder.path}' has another vocabulary" in text
    assert "words: 12 there, 12 here" in text


def test_a_run_without_weights_is_refused(data, autoencoder, tmp_path):
    for name in ("config.toml", "tokenizer.json"):
        (tmp_path / name).write_bytes((autoencoder.path / name).read_bytes())
    text = refused(data, {**TINY, "ae_pretrain.autoencoder": str(tmp_path)})
    assert f"the run '{tmp_path}' has no weights yet" in text
    assert f"to go on with it: aecore resume {tmp_path}" in text


def test_an_encoder_with_other_parts_is_refused(data, autoencoder, tmp_path):
    from safetensors.torch import load_file

    from aecore.runs.checkpoint import save_tensors

    for name in ("config.toml", "tokenizer.json"):
        (tmp_path / name).write_bytes((autoencoder.path / name).read_bytes())
    tensors = load_file(autoencoder.path / "model.safetensors")
    del tensors["plugins.vae.head.weight"]
    save_tensors(tmp_path / "model.safetensors", tensors, {})
    text = refused(data, {**TINY, "ae_pretrain.autoencoder": str(tmp_path)})
    assert "plugins.vae.head.weight: not there" in text


@pytest.mark.parametrize(
    "settings", [{"epochs": 0.0}, {"steps": 0}, {"lr": 0.0}, {"patience": 0}, {"autoencoder": 3}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="validation error"):
        Pretraining.Config(**settings)


@parametrize_with_checks("ae", "ae_pretrain", "free_bits")
def test_conformance(subject, check):
    check(subject)


@parametrize_with_checks("free_bits", settings={"mode": "batch", "target_kl": 2.0})
def test_conformance_where_sentences_couple(subject, check):
    check(subject)
