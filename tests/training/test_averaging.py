"""The running average of weights: by hand, as what is kept, and through a kill."""

import torch
from support import build, snapshot

import aecore
from aecore.api import opened
from aecore.runs.config import build_config
from aecore.training.averaging import Average

SETTINGS = {"data.spec": "toy[:96]", "train.average": 0.9, "train.max_steps": 5, "train.threads": 1}


def test_by_hand():
    model = build()
    average, weight = Average(model, 0.5), model.encoder.embedding.weight
    expected = None
    for step in range(1, 6):
        with torch.no_grad():
            weight.fill_(float(step))
        average.update(step)
        share = min(0.5, (1 + step) / (10 + step))
        expected = float(step) if expected is None else share * expected + (1 - share) * step
    assert torch.allclose(average.weights["encoder.embedding.weight"], torch.tensor(expected))


def test_inside_the_block_the_model_is_the_average_and_afterwards_itself():
    model = build()
    average, before = Average(model, 0.5), snapshot(model)
    average.update(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    own, version = snapshot(model), model.version
    with average.in_place():
        assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
        assert model.version > version
    assert all(torch.equal(p, own[name]) for name, p in model.named_parameters())


def test_without_a_decay_there_is_none():
    average = Average(build(), 0.0)
    average.update(1)
    assert average.weights == {}


def run_of(path, **settings):
    with opened(build_config(None, {}, {**SETTINGS, **settings}, ()), path) as trainer:
        trainer.run()
        return {name: tensor.clone() for name, tensor in trainer.model.named_parameters()}, trainer


def test_what_is_kept_is_the_average(tmp_path):
    last, trainer = run_of(tmp_path / "run")
    kept = dict(aecore.load(tmp_path / "run").model.named_parameters())
    assert all(torch.equal(kept[name], tensor) for name, tensor in trainer.average.weights.items())
    assert not torch.equal(kept["decoder.output.weight"], last["decoder.output.weight"])


def test_a_killed_run_goes_on_with_its_average(tmp_path):
    run_of(tmp_path / "whole")
    with opened(build_config(None, {}, SETTINGS, ()), tmp_path / "cut") as trainer:
        for _ in range(3):
            trainer.advance()
        trainer.checkpoint()
        trainer.advance()
    aecore.resume(tmp_path / "cut")
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert one == other
