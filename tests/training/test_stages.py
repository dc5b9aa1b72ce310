"""Stages: run before step 0 by the same loop, confined to their roles, resumed where they were
killed.
"""

import pytest
import torch
from support import build, changed, snapshot, trainer_of
from torch import nn

from aecore import Plugin, Stage, hookimpl
from aecore.errors import ConfigError, PluginError
from aecore.training.trainer import Trainer


class Warmup(Plugin):
    """Two stages: the encoder alone, then a frozen part of its own; and a record of what was
    called.
    """

    roles = {"probe": "frozen"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.probe = nn.Linear(sizes.hidden, 1)
        self.register_buffer("finished", torch.zeros(()))
        self.schedule_calls = 0

    @hookimpl
    def pre_train_init(self, session):
        return [
            Stage(
                "first",
                lambda step: step.rec.mean(1),
                trains=("encoder",),
                steps=5,
                lr=0.01,
                done=self.note,
            ),
            Stage(
                "second",
                lambda step: self.probe(step.features).square().squeeze(1),
                trains=("frozen",),
                epochs=2,
            ),
        ]

    def note(self, session):
        self.finished += 1 + torch.rand(())

    @hookimpl
    def beta_schedule(self):
        self.schedule_calls += 1
        return 0.5


def start(corpus, path):
    return trainer_of(build(Warmup, dropout=(0.5, 0.5)), corpus, path, epochs=2, select="last")


def test_each_stage_moves_its_roles_alone_and_schedules_sleep(corpus, tmp_path):
    trainer = start(corpus, tmp_path / "run")
    model, plugin = trainer.model, trainer.model.plugin("warmup")
    before = snapshot(model)
    while trainer.phase.name == "first":
        trainer.advance()
    moved = changed(before, model)
    assert moved
    assert all(name.startswith(("encoder.", "plugins.vae.head")) for name in moved)
    before = snapshot(model)
    while trainer.phase.name == "second":
        trainer.advance()
    assert changed(before, model) == {"plugins.warmup.probe.weight", "plugins.warmup.probe.bias"}
    assert plugin.schedule_calls == 0
    before = snapshot(model)
    trainer.run()
    assert plugin.schedule_calls == 6
    assert 1 <= float(plugin.finished) < 2
    assert not {name for name in changed(before, model) if "probe" in name}


def test_lines_carry_the_stage_and_joint_steps_start_at_zero(corpus, tmp_path):
    trainer = start(corpus, tmp_path / "run")
    trainer.run()
    lines = trainer.folder.metrics.read_text()
    for stage, steps in (("first", 5), ("second", 6), ("joint", 6)):
        assert f'"stage": "{stage}", "step": {steps}' in lines


@pytest.mark.parametrize("units", [1, 3, 5, 6, 7, 9, 12, 14, 16, 18, 20])
def test_killed_anywhere_the_end_is_the_same(corpus, tmp_path, units):
    whole = start(corpus, tmp_path / "whole")
    whole.run()
    cut = start(corpus, tmp_path / "cut")
    for _ in range(units):
        cut.advance()
    cut.checkpoint()
    cut.advance()
    again = Trainer(build(Warmup, dropout=(0.5, 0.5), seed=3), corpus, cut.config, cut.folder)
    again.restore()
    again.run()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_a_stage_before_it_changes_no_draw_of_the_joint_phase(corpus, tmp_path):
    class Idle(Plugin):
        @hookimpl
        def pre_train_init(self, session):
            return [Stage("idle", lambda step: 0 * step.rec.mean(1), trains=("decoder",), steps=4)]

    class Nothing(Plugin):
        pass

    ends = []
    for number, cls in enumerate((Idle, Nothing)):
        trainer = trainer_of(
            build(cls, dropout=(0.5, 0.5)),
            corpus,
            tmp_path / str(number),
            max_steps=4,
            weight_decay=0.0,
        )
        trainer.run()
        ends.append(trainer.model.decoder.output.weight.detach().clone())
    assert torch.equal(*ends)


def test_until_ends_a_stage_at_an_epoch(corpus, tmp_path):
    class Patient(Plugin):
        @hookimpl
        def pre_train_init(self, session):
            return [
                Stage(
                    "patient", lambda s: s.rec.mean(1), epochs=9, until=lambda now: now.index >= 4
                )
            ]

    trainer = trainer_of(build(Patient), corpus, tmp_path / "run", max_steps=1)
    steps = []
    while trainer.phase.name == "patient":
        steps.append(trainer.state.step)
        trainer.advance()
    assert max(steps) == 6  # three steps an epoch; asked after 3 (index 2) and after 6 (index 5)


@pytest.mark.parametrize("length", [{}, {"steps": 1, "epochs": 1}])
def test_a_stage_has_one_length(length):
    with pytest.raises(ConfigError, match="the stage 'odd' needs steps or epochs"):
        Stage("odd", lambda step: step.rec, **length)


def test_a_stage_called_joint_is_refused(corpus, tmp_path):
    class Joint(Plugin):
        @hookimpl
        def pre_train_init(self, session):
            return [Stage("joint", lambda step: step.rec.mean(1), steps=1)]

    with pytest.raises(PluginError, match="returned a stage with the name 'joint'"):
        trainer_of(build(Joint), corpus, tmp_path / "run")
