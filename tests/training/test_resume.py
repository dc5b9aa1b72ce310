"""A run that dies and goes on, and a run that takes turns with another, equal the run that was left
alone, byte for byte.
"""

import json

import pytest
import torch

import aecore
from aecore.api import opened, reopened
from aecore.data import toy
from aecore.errors import AecoreError, ConfigError, RunError
from aecore.runs.config import build_config

SETTINGS = {"model.sizes": "toy", "train.batch_size": 64, "train.threads": 1, "train.log_every": 4}


@pytest.fixture(scope="module", autouse=True)
def corpus(tmp_path_factory):
    """A small folder of real sentences: validation is most of what a short run on the whole toy
    would do.
    """
    folder = tmp_path_factory.mktemp("corpus")
    for name, sentences in toy.sentences().items():
        text = "".join(
            f"{sentence.text}\n" for sentence in sentences[: 600 if name == "train" else 60]
        )
        (folder / f"{name}.txt").write_text(text)
    SETTINGS["data.spec"] = str(folder)


def config(seed=0, plugins=("controlvae",), **settings):
    flags = {"train": {"seed": seed, "max_steps": 25}}
    return build_config(None, flags, {**SETTINGS, **settings}, plugins)


def weights(path):
    return (path / "model.safetensors").read_bytes()


def rows(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "tokens_per_s"} for line in lines]


def uninterrupted(path, **settings):
    with opened(config(**settings), path) as trainer:
        trainer.run()
    return path


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return uninterrupted(tmp_path_factory.mktemp("reference") / "run")


@pytest.mark.parametrize(
    ("saved", "died"), [(0, 3), (4, 9), (9, 10), (10, 11), (11, 14), (22, 27), (28, 29)]
)
def test_a_run_that_dies_goes_on_as_if_it_had_not(tmp_path, reference, saved, died):
    path = tmp_path / "run"
    with opened(config(), path) as trainer:
        for unit in range(died):
            if unit == saved:
                trainer.checkpoint()
            trainer.advance()
    aecore.resume(path)
    assert weights(path) == weights(reference)
    assert rows(path) == rows(reference)
    assert (path / "summary.json").read_bytes() == (reference / "summary.json").read_bytes()


def test_sgd_with_the_plateau_goes_on_as_well(tmp_path):
    settings = {
        "train.recipe": "published",
        "train.lr": 4.0,
        "train.patience": 1,
        "train.guard": 0,
        "train.decays": 3,
        "train.max_steps": 300,
    }
    whole = uninterrupted(tmp_path / "whole", **settings)
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["ended"] == "the learning rate was halved 3 times"
    assert summary["selected"]["step"] <= summary["steps"] < 300
    with opened(config(**settings), tmp_path / "cut") as trainer:
        while trainer.selection.plateau.decays < 2:
            trainer.advance()
        for _ in range(4):
            trainer.advance()
        trainer.checkpoint()
        trainer.advance()
    aecore.resume(tmp_path / "cut")
    assert weights(tmp_path / "cut") == weights(whole)


def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path, reference):
    path = tmp_path / "run"
    with opened(config(), path):
        pass
    (path / "checkpoint.safetensors").unlink()
    aecore.resume(path)
    assert weights(path) == weights(reference)


def test_same_seed_same_run_other_seed_other_run(tmp_path, reference):
    assert weights(uninterrupted(tmp_path / "same")) == weights(reference)
    assert weights(uninterrupted(tmp_path / "other", seed=1)) != weights(reference)


def test_two_runs_that_take_turns_equal_the_two_alone(tmp_path, reference):
    other = uninterrupted(tmp_path / "other", seed=5, plugins=("annealing",))
    first, second = tmp_path / "first", tmp_path / "second"
    with (
        opened(config(), first) as one,
        opened(config(seed=5, plugins=("annealing",)), second) as two,
    ):
        working = [one, two]
        while working:
            working = [trainer for trainer in working if trainer.advance()]
    assert weights(first) == weights(reference)
    assert weights(second) == weights(other)


def test_the_global_generator_and_the_threads_are_as_found(tmp_path):
    torch.manual_seed(11)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    run = aecore.load(uninterrupted(tmp_path / "run", **{"train.max_steps": 3}))
    run.sample(2), run.evaluate("valid", limit=9)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_evaluating_in_between_changes_nothing(tmp_path, reference):
    with opened(config(), tmp_path / "run") as trainer:
        while trainer.advance():
            trainer.session.evaluate("valid", "nll_elbo")
    assert weights(tmp_path / "run") == weights(reference)


def test_a_finished_run_is_left_alone_and_can_be_extended(tmp_path):
    path = uninterrupted(tmp_path / "run")
    before = weights(path)
    assert aecore.resume(path).summary["steps"] == 25
    assert weights(path) == before


def test_a_level_schedule_is_extended_as_if_it_had_been_longer(tmp_path):
    level = {"train.schedule": "constant", "train.warmup_steps": 0}
    path = uninterrupted(tmp_path / "run", **level)
    extended = aecore.resume(path, max_steps=40)
    assert extended.summary["steps"] == 40
    whole = uninterrupted(tmp_path / "whole", **level, **{"train.max_steps": 40})
    assert weights(path) == weights(whole)


def rates(path):
    return [row["lr"] for row in rows(path) if row.get("span") == "window"]


def test_a_schedule_that_has_ended_begins_again_over_the_steps_that_are_added(tmp_path):
    falling = {
        "train.schedule": "linear",
        "train.hold": 0.0,
        "train.warmup_steps": 0,
        "train.log_every": 1,
        "train.lr": 0.01,
    }
    path = uninterrupted(tmp_path / "run", **falling)
    aecore.resume(path, max_steps=35)
    expected = [0.01 * (1 - step / length) for length in (25, 10) for step in range(length)]
    assert rates(path) == pytest.approx(expected)


def test_an_extended_schedule_goes_on_through_a_kill(tmp_path):
    whole, cut = uninterrupted(tmp_path / "whole"), uninterrupted(tmp_path / "cut")
    aecore.resume(whole, max_steps=37)
    with reopened(cut, max_steps=37) as trainer:
        for _ in range(6):
            trainer.advance()
        trainer.checkpoint()
        trainer.advance()
    aecore.resume(cut)
    assert weights(cut) == weights(whole)
    assert rows(cut) == rows(whole)


def test_a_schedule_that_has_not_ended_is_stretched(tmp_path):
    falling = {
        "train.schedule": "linear",
        "train.hold": 0.0,
        "train.warmup_steps": 0,
        "train.log_every": 1,
        "train.lr": 0.01,
    }
    path = tmp_path / "run"
    with opened(config(**falling), path) as trainer:
        while trainer.state.step < 10:
            trainer.advance()
        trainer.checkpoint()
    aecore.resume(path, max_steps=40)
    assert rates(path) == pytest.approx(
        [0.01 * (1 - s / 25) for s in range(10)] + [0.01 * (1 - s / 40) for s in range(10, 40)]
    )


def test_an_end_before_the_present_is_refused(tmp_path):
    path = uninterrupted(tmp_path / "run")
    with pytest.raises(
        ConfigError, match="the run has done 25 steps, more than the 10 that are asked for"
    ):
        aecore.resume(path, max_steps=10)
    assert "max_steps = 25" in (path / "config.toml").read_text()


def test_a_corpus_that_changed_is_refused(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        (folder / f"{split}.txt").write_text("a b c\nb c\n" * 20)
    with opened(config(**{"data.spec": str(folder)}), tmp_path / "run") as trainer:
        trainer.advance()
        trainer.checkpoint()
    (folder / "valid.txt").write_text("a b\n")
    with pytest.raises(RunError, match="has changed since"):
        aecore.resume(tmp_path / "run")


def test_a_second_writer_is_refused(tmp_path):
    with opened(config(), tmp_path / "run") as trainer:
        trainer.checkpoint()
        with (
            pytest.raises(AecoreError, match="another process is writing"),
            reopened(tmp_path / "run"),
        ):
            pass


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_truncated_checkpoint_is_refused(tmp_path, cut):
    path = tmp_path / "run"
    with opened(config(), path) as trainer:
        trainer.advance()
        trainer.checkpoint()
    file = path / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(RunError, match=r"checkpoint.safetensors' is damaged"):
        aecore.resume(path)
