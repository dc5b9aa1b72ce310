"""A run over a trained autoencoder: what it takes over, keeps, and refuses."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import aecore
from aecore.composition import Part, compose
from aecore.errors import CompositionError, ConfigError, DataError, RunError
from aecore.manifest import Manifest
from aecore.runs.base import Autoencoder, wished
from aecore.runs.config import BaseConfig
from aecore.testing import Subject
from aecore.training.trainer import Trainer

QUICK = {"train.max_steps": 6, "train.checkpoint_seconds": 0}


def manifest(hooks, **words):
    return Manifest.model_validate({"summary": "x", "api": ">=1", "hooks": hooks, **words})


def part(name, hooks, **words):
    return Part(name, manifest(hooks, **words))


DEFAULTS = Part("vae", Subject.defaults().manifest)
MAPPING = part(
    "mapping", ["objective"], base="frozen", provides={"objective_gradient": []}, data="pairs"
)


def test_of_a_base_the_model_hooks_are_left():
    posterior = {"posterior": "point", "kl": "penalty", "kl_estimator": "penalty"}
    code = part(
        "code",
        ["posterior_sample", "kl_term", "corrupt_input"],
        provides={**posterior, "kl_gradient": ["encoder"]},
        requires={"objective_gradient": ["encoder"]},
    )
    noise = part("noise", ["corrupt_input"], requires={"objective_gradient": ["encoder"]})
    found = compose([MAPPING], DEFAULTS, [code, noise])
    assert found.names == ("mapping",)
    assert found.under == {"code", "vae"}
    assert (found.base, found.data, found.label) == ("frozen", "pairs", "mapping")
    assert found.owners["posterior_sample"] == found.owners["kl_term"] == "code"
    assert found.implementers("corrupt_input") == []
    assert found.levels["kl_gradient"] == found.levels["objective_gradient"] == frozenset()
    assert compose([], DEFAULTS).under == frozenset()


def test_two_that_want_other_corpora_or_bases_are_refused():
    labels = part("labels", ["extra_loss"], data="labelled")
    with pytest.raises(CompositionError, match="'mapping' does not compose with 'labels'") as found:
        compose([MAPPING, labels], DEFAULTS)
    assert "labels needs: the corpus to be labelled" in str(found.value)
    tuned = part("tuned", ["extra_loss"], base="trained")
    with pytest.raises(CompositionError, match="'mapping' does not compose with 'tuned'"):
        compose([MAPPING, tuned], DEFAULTS)


def test_plugins_that_name_two_autoencoders_are_refused():
    class Config(aecore.PluginConfig):
        autoencoder: str = ""

    one, other, none = Config(autoencoder="a"), Config(autoencoder="b"), Config()
    assert wished([("x", none), ("y", one)]) == "a"
    with pytest.raises(ConfigError, match="'x' and 'y' name different autoencoders"):
        wished([("x", one), ("y", other)])
    with pytest.raises(ConfigError, match="works over a trained autoencoder, and none is named"):
        wished([("x", none)])


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "wae"
    return aecore.train(["wae_d"], "toy[:5%]", {"train.max_steps": 8}, out=path).path


def over(path, out, data="toy:pairs[:5%]"):
    settings = {"emb2emb.autoencoder": str(path), **QUICK}
    return aecore.train(["emb2emb"], data, settings, out=out)


def test_the_section_says_where_it_came_from(autoencoder, tmp_path):
    run = over(autoencoder, tmp_path / "run")
    base = run.config.base
    assert isinstance(base, BaseConfig)
    assert base.run == str(autoencoder)
    assert list(base.plugins) == ["wae_d"]
    assert run.model.composition.owners["posterior_sample"] == "wae_d"
    assert run.model.frozen
    again = aecore.train(config=run.folder.config, out=tmp_path / "again")
    assert (again.path / "model.safetensors").read_bytes() == (
        run.path / "model.safetensors"
    ).read_bytes()


def test_killed_after_any_step_it_goes_on_to_the_same_weights(autoencoder, tmp_path, monkeypatch):
    whole = over(autoencoder, tmp_path / "whole")
    steps, plain = [], Trainer._step

    def dying(self):
        plain(self)
        steps.append(self.state.step)
        if len(steps) in (2, 4):
            self.checkpoint()
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_step", dying)
    with pytest.raises(KeyboardInterrupt):
        over(autoencoder, tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        aecore.resume(tmp_path / "cut")
    aecore.resume(tmp_path / "cut")
    one, other = (
        (path / "model.safetensors").read_bytes() for path in (whole.path, tmp_path / "cut")
    )
    assert one == other
    assert len(steps) == 6


def test_killed_before_its_first_checkpoint_it_begins_again(autoencoder, tmp_path):
    """config.toml alone makes the same run, with the autoencoder's vocabulary."""
    whole = over(autoencoder, tmp_path / "whole")
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(whole.folder.config, begun)
    again = aecore.resume(begun)
    assert len(again.vocabulary) == len(aecore.load(autoencoder).vocabulary)
    for name in ("model.safetensors", "base.safetensors"):
        assert (begun / name).read_bytes() == (whole.path / name).read_bytes()


def test_it_does_not_begin_again_over_other_weights(autoencoder, tmp_path):
    moving = tmp_path / "autoencoder"
    shutil.copytree(autoencoder, moving)
    whole, begun = over(moving, tmp_path / "whole"), tmp_path / "begun"
    begun.mkdir()
    shutil.copy(whole.folder.config, begun)
    aecore.train(["wae_d"], "toy[:5%]", {"train.max_steps": 9}, out=moving, overwrite=True)
    with pytest.raises(RunError, match="has other weights than when the run was begun"):
        aecore.resume(begun)


def test_dropout_and_gradients_stay_away_from_what_is_frozen(autoencoder, tmp_path):
    model = over(autoencoder, tmp_path / "run").model.train()
    assert model.training
    assert not model.decoder.training
    assert not model.encoder.training
    assert not model.plugin("wae_d").training
    assert model.plugin("emb2emb").training
    asking = {name for name, p in model.named_parameters() if p.requires_grad}
    assert asking
    assert all(name.startswith("plugins.emb2emb.") for name in asking)


def test_other_weights_than_the_section_says_are_refused(autoencoder, tmp_path):
    run = over(autoencoder, tmp_path / "run")
    other = aecore.train(["wae_d"], "toy[:5%]", {"train.max_steps": 9}, out=tmp_path / "other")
    theirs = over(other.path, tmp_path / "theirs")
    shutil.copy(theirs.path / "base.safetensors", run.path / "base.safetensors")
    with pytest.raises(RunError, match="holds other weights than those that"):
        aecore.load(run.path)
    file = run.path / "base.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(RunError, match="is damaged"):
        aecore.load(run.path)
    file.unlink()
    with pytest.raises(RunError, match="cannot be read"):
        aecore.load(run.path)


def test_a_run_that_has_not_ended_is_refused(autoencoder, tmp_path):
    shutil.copytree(autoencoder, tmp_path / "half")
    (tmp_path / "half" / "summary.json").unlink()
    with pytest.raises(RunError, match="has not been trained to its end") as found:
        over(tmp_path / "half", tmp_path / "run")
    assert f"aecore resume {tmp_path / 'half'}" in str(found.value)
    with pytest.raises(RunError, match="there is no run"):
        Autoencoder.find(str(tmp_path / "nothing"))
    assert not (tmp_path / "run").exists()


def test_a_corpus_of_another_language_is_refused(autoencoder, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("train", "valid", "test"):
        rows = [{"source": f"le chat {n} dort", "target": f"le chien {n} dort"} for n in "abcdef"]
        text = "\n".join(json.dumps(row) for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    with pytest.raises(DataError, match="of the training words are unknown to the autoencoder"):
        over(autoencoder, tmp_path / "run", str(folder))


def test_all_of_one_label_teach_nothing(autoencoder, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("train", "valid", "test"):
        rows = [{"text": f"the {word} is sad", "label": "negative"} for word in ("man", "doctor")]
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    settings = {"emb2emb.autoencoder": str(autoencoder), "emb2emb.supervision": "labels", **QUICK}
    with pytest.raises(DataError, match="all training sentences have the label 'negative'"):
        aecore.train(["emb2emb"], str(folder), settings, out=tmp_path / "run")


def test_the_frozen_weights_are_in_one_file_alone(autoencoder, tmp_path):
    run = over(autoencoder, tmp_path / "run")
    base = load_file(run.path / "base.safetensors")
    own = load_file(run.path / "model.safetensors")
    assert not set(base) & set(own)
    assert set(base) | set(own) == set(run.model.state_dict())
    theirs = load_file(autoencoder / "model.safetensors")
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in base.items())
