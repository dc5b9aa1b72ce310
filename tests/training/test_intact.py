"""A run is held to what it was: what was edited, replaced, lost or altered is refused, and
nothing is lost by it.
"""

import json
import os
import re
import shutil
import stat

import pytest
import torch
from safetensors.torch import save_file
from support import make_corpus

import aecore
from aecore import Plugin, hookimpl
from aecore.api import opened, reopened
from aecore.errors import AecoreError, ConfigError, DivergedError, RunError
from aecore.runs.checkpoint import load_tensors, save_tensors
from aecore.runs.config import build_config

TINY = {
    "model.embedding": 4,
    "model.hidden": 6,
    "model.latent": 3,
    "train.device": "cpu",
    "train.threads": 1,
    "train.log_every": 1,
    "train.batch_size": 16,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "whole"
    aecore.train(["betavae"], str(data), TINY, epochs=2, out=path)
    return path


@pytest.fixture
def run(finished, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(finished, tmp_path / "run")


def bytes_of(path):
    return {file.name: file.read_bytes() for file in path.iterdir() if file.suffix != ".svg"}


# Settings, corpus, vocabulary


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("seed = 0", "seed = 1", "train.seed: 0 then, 1 now"),
        ("beta = 0.5", "beta = 0.7", "plugins.betavae.beta: 0.5 then, 0.7 now"),
        ("batch_size = 16", "batch_size = 48", "train.batch_size: 16 then, 48 now"),
        ("clip = 5.0", "clip = 4.0", "train.clip: 5.0 then, 4.0 now"),
        ("hidden = 6", "hidden = 7", "model.hidden: 6 then, 7 now"),
    ],
)
def test_an_edited_configuration_is_refused_by_name(run, old, new, line):
    file = run / "config.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    before = bytes_of(run)
    with pytest.raises(RunError, match="has been edited since") as caught:
        aecore.resume(run, epochs=3)
    assert line in caught.value.evidence
    assert bytes_of(run) == before


def test_what_decides_no_step_may_change(run):
    file = run / "config.toml"
    file.write_text(file.read_text().replace("log_every = 1", "log_every = 2"))
    assert aecore.resume(run, epochs=3).summary["steps"] == 9


def test_without_its_checkpoint_a_run_does_not_begin_again(run):
    (run / "checkpoint.safetensors").unlink()
    before = bytes_of(run)
    with pytest.raises(RunError, match=r"has no checkpoint\.safetensors, so it cannot go on"):
        aecore.resume(run)
    assert bytes_of(run) == before


def test_other_sentences_in_the_place_of_the_corpus(data, tmp_path):
    here = shutil.copytree(data, tmp_path / "data")
    run = aecore.train([], str(here), TINY, max_steps=2, out=tmp_path / "run")
    figure = run.evaluate(iw_samples=0)["nll_elbo"]
    (here / "test.txt").write_text("w01 w02\n")
    with pytest.raises(RunError, match="holds other sentences than"):
        aecore.load(run.path).evaluate(iw_samples=0)
    with pytest.raises(RunError, match="has changed since"):
        aecore.resume(run.path, max_steps=3)
    shutil.move(here, tmp_path / "moved")
    shutil.copy(data / "test.txt", tmp_path / "moved" / "test.txt")
    moved = str(tmp_path / "moved")
    assert aecore.api.evaluate(run.path, iw_samples=0, data=moved)["nll_elbo"] == figure
    assert aecore.resume(run.path, max_steps=3, data=moved).summary["steps"] == 3


def test_a_relative_corpus_is_found_from_anywhere(data, tmp_path, monkeypatch):
    monkeypatch.chdir(data.parent)
    run = aecore.train([], data.name, TINY, max_steps=1, out=tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert aecore.load(run.path).split("test").name == "test"


def test_another_vocabulary_is_refused(run):
    file = run / "tokenizer.json"
    words = json.loads(file.read_text())["model"]["vocab"]
    one, other = [word for word, number in words.items() if number in (5, 6)]
    text = file.read_text().replace(f'"{one}"', '"?"').replace(f'"{other}"', f'"{one}"')
    file.write_text(text.replace('"?"', f'"{other}"'))
    with pytest.raises(RunError, match="is not the vocabulary that the run was trained with"):
        aecore.load(run)


# Files


def test_a_damaged_summary_and_damaged_rows(run):
    (run / "summary.json").write_text("{")
    with pytest.raises(RunError, match=r"summary\.json' is damaged"):
        _ = aecore.load(run).summary
    file = run / "metrics.jsonl"
    rows = file.read_text().splitlines()
    file.write_text("\n".join(["garbage", *rows[1:]]) + "\n")
    with pytest.raises(RunError, match=r"metrics\.jsonl' is damaged"):
        aecore.load(run).metrics()
    assert aecore.resume(run, epochs=3).metrics()[: len(rows) - 1] == list(
        map(json.loads, rows[1:])
    )


def test_a_link_is_not_followed(run, tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").symlink_to(mine)
    with pytest.raises(RunError, match="could not be written") as caught:
        aecore.resume(run, epochs=3)
    assert "symbolic link" in str(caught.value)
    assert mine.read_text() == "mine"


def test_rights_are_those_of_the_umask(data, tmp_path):
    before = os.umask(0o077)
    try:
        aecore.train([], str(data), TINY, max_steps=1, out=tmp_path / "run")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "run").glob("*.[jst]*")}
    assert modes == {0o600}


def test_weights_that_are_not_ours(run):
    save_file({"x": torch.zeros(2)}, run / "model.safetensors")
    with pytest.raises(RunError, match="is damaged or none that aecore wrote"):
        aecore.load(run)


# Checkpoints


def altered(run, change):
    path = run / "checkpoint.safetensors"
    tensors, meta = load_tensors(path)
    change(tensors, meta)
    save_tensors(path, tensors, meta)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t, m: t.update({k: t[k][:1] for k in list(t) if "exp_avg" in k}), "due"),
        (lambda t, m: t.update({k: t[k].double() for k in list(t) if "exp_avg" in k}), "float64"),
        (
            lambda t, m: t.update({k: t[k] + float("nan") for k in list(t) if "/step" in k}),
            "no count",
        ),
        (lambda t, m: t.update({k: t[k].expand(2) for k in list(t) if "/step" in k}), "no count"),
        (lambda t, m: t.pop("model.decoder.output.weight"), "is missing"),
        (lambda t, m: t.update({"model.more": torch.zeros(1)}), "no tensor is called 'more'"),
        (lambda t, m: t.update({"best.beta": torch.zeros(3)}), "due"),
        (lambda t, m: m["state"]["loop"].update(cursor=99), "step 99 of an epoch"),
        (lambda t, m: m["state"]["loop"].update(step=-1), "counters that no run reaches"),
        (lambda t, m: m["state"]["loop"].update(more=1), "more"),
        (lambda t, m: m.pop("settings"), "settings"),
    ],
)
def test_a_checkpoint_that_this_run_would_not_have_written(run, change, reason):
    altered(run, change)
    before = bytes_of(run)
    with pytest.raises(RunError) as caught:
        aecore.resume(run, epochs=3)
    assert reason in str(caught.value)
    assert bytes_of(run)["model.safetensors"] == before["model.safetensors"]


# What is not finite


def test_a_validation_that_is_not_finite_is_refused(data, tmp_path):
    config = build_config(None, {"data": {"spec": str(data)}}, {**TINY, "train.epochs": 2}, [])
    with opened(config, tmp_path / "run") as trainer:
        while trainer.state.cursor < trainer.steps_per_epoch:
            trainer.advance()
        with torch.no_grad():
            trainer.model.decoder.output.weight.fill_(float("nan"))
        before = bytes_of(trainer.folder.path)
        with pytest.raises(DivergedError, match="of the validation split is not finite"):
            trainer.advance()
        with pytest.raises(DivergedError, match=r"weights are not finite"):
            trainer.checkpoint()
        after = bytes_of(trainer.folder.path)
        assert after["checkpoint.safetensors"] == before["checkpoint.safetensors"]
    with reopened(tmp_path / "run") as trainer:
        trainer.run()  # from the last checkpoint, as if it had not been


# Beginnings


def test_an_old_run_stays_until_the_new_one_has_a_checkpoint(run, data, monkeypatch):
    before = bytes_of(run)

    def fails(*_):
        raise ConfigError("no")

    monkeypatch.setattr("aecore.training.trainer.Trainer.start", fails)
    with pytest.raises(AecoreError):
        aecore.train([], str(data), TINY, out=run, overwrite=True)
    assert bytes_of(run) == before


def test_a_kill_while_a_run_is_replaced_brings_it_back(run):
    before = bytes_of(run)
    (run / ".replaced").mkdir()
    for file in run.iterdir():
        if file.is_file():
            os.replace(file, run / ".replaced" / file.name)
    (run / "config.toml").write_text("half of a new one")
    aecore.load(run)
    assert bytes_of(run) == before


def test_a_beginning_that_fails_leaves_no_folder(data, tmp_path, monkeypatch):
    def memory(*_):
        raise MemoryError

    monkeypatch.setattr("aecore.training.trainer.Trainer.start", memory)
    with pytest.raises(MemoryError):
        aecore.train([], str(data), TINY, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_runs_of_one_second_have_folders_of_their_own(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda *_: "now")
    runs = [aecore.train([], str(data), TINY, max_steps=1).path.name for _ in range(3)]
    assert runs == ["now-vae", "now-vae-1", "now-vae-2"]


# Plugins that end the process


class Leaves(Plugin):
    @hookimpl
    def kl_penalty(self, kl):
        raise SystemExit(0)


def test_a_plugin_does_not_end_the_process(corpus):
    from support import build, some_batch

    model = build(Leaves)
    step = aecore.Step(model, some_batch(), training=True)
    with pytest.raises(aecore.PluginError, match=r"'leaves' .* raised SystemExit in kl_penalty"):
        _ = step.kl_loss


SMALL = {"model.sizes": "toy", "train.device": "cpu", "train.batch_size": 16}


def test_a_run_that_stopped_in_its_first_epoch_says_how_its_weights_are_had(tmp_path):
    path = tmp_path / "run"
    settings = SMALL | {"train.max_steps": 9}
    with opened(build_config(None, {}, {**settings, "data.spec": "toy[:500]"}, []), path) as it:
        for _ in range(3):
            it.advance()
        it.checkpoint()
    with pytest.raises(RunError, match="stands at step 3") as caught:
        aecore.load(path, "cpu")
    command = next(line for line in caught.value.evidence if "--max-steps" in line)
    assert command.endswith(f"aecore resume {path} --max-steps 3")
    assert aecore.resume(path, max_steps=3).summary["steps"] == 3
    assert aecore.load(path, "cpu").sample(2)


def test_a_run_that_is_extended_and_killed_has_no_summary_of_older_weights(tmp_path):
    path = tmp_path / "run"
    aecore.train([], "toy[:64]", SMALL | {"train.epochs": 1}, out=path)
    assert aecore.load(path, "cpu").summary
    with reopened(path, epochs=3) as trainer:
        old = trainer.folder.weights.read_bytes()
        while trainer.folder.weights.read_bytes() == old and trainer.advance():
            pass
    run = aecore.load(path, "cpu")
    assert run.folder.weights.read_bytes() != old
    assert run.summary == {}
    assert aecore.resume(path, epochs=3).summary["steps"] == 12


def test_a_run_says_what_it_was_trained_with_in_another_version(tmp_path):
    path = tmp_path / "run"
    aecore.train(["betavae"], "toy[:64]", SMALL, max_steps=2, out=path)
    assert aecore.load(path, "cpu").changed_versions == []
    config = path / "config.toml"
    text = config.read_text()
    assert 'aecore-betavae = "' in text
    config.write_text(re.sub('aecore-betavae = ".*?"', 'aecore-betavae = "0.0.9"', text))
    said = []
    aecore.api.evaluate(path, device="cpu", iw_samples=0, limit=4, tell=said.append)
    (line,) = said
    assert line.startswith(f"note: '{path}' was trained with other versions: aecore-betavae 0.0.9")
