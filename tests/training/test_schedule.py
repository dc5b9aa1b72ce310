"""Learning rates by hand, and what of them a phase applies to which parameter."""

import math

import pytest
import torch
from support import Joint, build, changed, snapshot, some_batch, trainer_of

from aecore import Plugin, Stage, hookimpl
from aecore.runs.config import TrainConfig
from aecore.training.optimisers import Updater
from aecore.training.schedule import Schedule


def schedule(total=100, began=0, **train):
    return Schedule(TrainConfig.model_validate({"warmup_steps": 0, **train}), total, began)


def test_linear_falls_to_zero_after_the_hold():
    rate = schedule(schedule="linear", hold=0.5)
    assert [rate(step) for step in (0, 50, 75, 99, 100)] == pytest.approx([1, 1, 0.5, 0.02, 0])


def test_cosine_by_hand():
    rate = schedule(schedule="cosine", hold=0.2)
    assert [rate(step) for step in (0, 20, 60, 80)] == pytest.approx(
        [1, 1, 0.5, 0.5 - 0.5 * 2**-0.5]
    )


@pytest.mark.parametrize("name", ["constant", "plateau"])
def test_level(name):
    assert {schedule(schedule=name)(step) for step in (0, 50, 99)} == {1.0}


def test_the_warmup_rises_from_the_first_step_and_takes_a_tenth_at_most():
    rate = schedule(schedule="constant", warmup_steps=4)
    assert [rate(step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    short = schedule(total=30, schedule="constant", warmup_steps=200)
    assert [short(step) for step in range(4)] == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert schedule(total=5, schedule="constant", warmup_steps=200)(0) == 1


def test_an_extension_is_a_schedule_of_its_own():
    first, again = schedule(warmup_steps=5), schedule(total=200, began=100, warmup_steps=5)
    assert [again(100 + step) for step in range(100)] == [first(step) for step in range(100)]


def peaks(updater):
    return {
        name: [group["lr"] for one in made.optimisers for group in one.param_groups]
        for name, made in updater.groups.items()
    }


class Learned(Plugin):
    """A prior with a parameter."""

    declares = {"provides": {"prior": "density"}, "requires": {"kl_gradient": ["prior"]}}
    roles = {"shift": "prior"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.shift = torch.nn.Parameter(torch.zeros(sizes.latent))

    @hookimpl
    def prior_logprob(self, z):
        return -0.5 * (z - self.shift).square().sum(-1)

    @hookimpl
    def prior_sample(self, n):
        return self.shift + torch.randn(n, self.sizes.latent)


def test_every_rate_follows_the_schedule():
    config = TrainConfig.model_validate({"lr": 0.01, "muon_lr": 0.5, "prior_lr": 0.1})
    updater = Updater(build(Learned), config, ("encoder", "decoder", "prior"), 0.01)
    updater.scale(0.5)
    assert peaks(updater) == {"main": [0.005, 0.005, 0.25], "prior": [0.05]}
    updater.scale(1.0)
    assert peaks(updater) == {"main": [0.01, 0.01, 0.5], "prior": [0.1]}


def test_another_peak_scales_muon_along():
    config = TrainConfig.model_validate({"lr": 0.01, "muon_lr": 0.5})
    assert peaks(Updater(build(), config, ("encoder", "decoder"), 0.005)) == {
        "main": [0.005, 0.005, 0.25]
    }


def test_muon_has_the_matrices_of_the_lstms_and_nothing_else():
    model = build()
    updater = Updater(model, TrainConfig.model_validate({}), ("encoder", "decoder"), 0.01)
    adamw, muon = updater.groups["main"].optimisers
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    assert found == {
        f"{part}.lstm.weight_{kind}_l0" for part in ("encoder", "decoder") for kind in ("ih", "hh")
    }
    decays = {
        names[id(p)]: group["weight_decay"] for group in adamw.param_groups for p in group["params"]
    }
    assert {name for name, decay in decays.items() if decay == 0} == {
        name for name in decays if ".bias" in name
    }
    assert len(found) + len(decays) == len(names)


def test_all_weights_shrink_alike():
    """lr times the decay is taken off per step, whoever moves a matrix: Muon's own rate
    is another.
    """
    config = TrainConfig.model_validate({"lr": 0.01, "muon_lr": 0.5, "weight_decay": 0.3})
    updater = Updater(build(), config, ("encoder", "decoder"), 0.01)
    shares = [
        group["lr"] * group["weight_decay"]
        for one in updater.groups["main"].optimisers
        for group in one.param_groups
    ]
    assert shares == pytest.approx([0.003, 0.0, 0.003])


def test_main_parameters_are_clipped_together_whoever_moves_them(corpus):
    joint = Joint(build(), corpus, clip=1e-3)
    joint.step(some_batch(4))
    gradients = [
        parameter.grad for parameter in joint.model.parameters() if parameter.grad is not None
    ]
    assert torch.nn.utils.get_total_norm(gradients).item() == pytest.approx(1e-3, rel=1e-3)


class Staged(Plugin):
    """A stage of ten steps."""

    @hookimpl
    def pre_train_init(self, session):
        return [Stage("first", lambda step: step.rec.mean(1), steps=10, lr=0.5)]


def test_a_stage_has_a_schedule_over_its_own_steps(corpus, tmp_path):
    trainer = trainer_of(
        build(Staged),
        corpus,
        tmp_path / "run",
        schedule="linear",
        hold=0.0,
        warmup_steps=0,
        log_every=1,
    )
    while trainer.advance():
        pass
    rows = [
        row
        for row in trainer.record.log.path.read_text().splitlines()
        if '"window"' in row and '"first"' in row
    ]
    import json

    assert [json.loads(row)["lr"] for row in rows] == pytest.approx(
        [0.5 * (1 - step / 10) for step in range(10)]
    )


def test_a_step_at_rate_zero_changes_nothing(corpus):
    joint = Joint(build(), corpus, schedule="linear", hold=0.0, warmup_steps=0)
    # the phase has 100 steps: its last rate would be this
    joint.session.index, before = 100, snapshot(joint.model)
    joint.step(some_batch(4))
    assert changed(before, joint.model) == set()


@pytest.mark.parametrize("by", ["together", "role"])
def test_roles_share_a_clip_norm_or_have_one_each(by):
    config = TrainConfig.model_validate({"optimiser": "sgd", "lr": 1.0, "clip": 5.0, "clip_by": by})
    model = build()
    updater = Updater(model, config, ("encoder", "decoder"), 1.0)
    parts = {role: list(model.params(role)) for role in ("encoder", "decoder")}
    before = {role: flat(some) for role, some in parts.items()}
    updater.gradients(1e3 * total(parts["encoder"]) + 10 * total(parts["decoder"]), parts)
    updater.apply()
    moved = {role: float((flat(some) - before[role]).norm()) for role, some in parts.items()}
    if by == "role":
        assert list(moved.values()) == pytest.approx([5.0, 5.0], rel=1e-3)
    else:
        assert math.hypot(*moved.values()) == pytest.approx(5.0, rel=1e-3)
        assert moved["decoder"] < 0.2


def flat(parameters):
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def total(parameters):
    return sum(parameter.sum() for parameter in parameters)
