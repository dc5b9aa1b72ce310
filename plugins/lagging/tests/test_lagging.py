"""The inner loop and stop rule against scripted sessions and hand-made gradient steps."""

from types import SimpleNamespace

import pytest
import torch
from aecore_lagging import Lagging
from pydantic import ValidationError

import aecore
from aecore import Sizes
from aecore.api import opened
from aecore.errors import CompositionError
from aecore.runs.config import build_config
from aecore.step import Step
from aecore.testing import parametrize_with_checks

OWN = "own"


class Scripted:
    """A session whose inner losses, batches and mutual information are known beforehand."""

    def __init__(
        self,
        losses=lambda step: 3.0,
        sizes=lambda step: (4, 10),
        information=(),
        index=7,
        steps_per_epoch=10,
    ):
        self.losses, self.sizes, self.information = losses, sizes, list(information)
        self.index, self.steps_per_epoch = index, steps_per_epoch
        self.seen, self.updates, self.asked = [], [], []

    def made(self, name, step):
        sentences, tokens = self.sizes(step)
        lengths = torch.tensor([tokens, *[0] * (sentences - 1)])
        return Named(name, lengths)

    def batch(self):
        return self.made(len(self.seen), len(self.seen))

    def loss(self, batch):
        self.seen.append(batch.name)
        return torch.tensor(float(self.losses(len(self.seen) - 1)))

    def mean(self, values, batch):
        return values.mean(0)

    def update(self, loss, roles, clipped_with):
        assert clipped_with == ["decoder"]
        self.updates.append((float(loss), tuple(roles)))

    def evaluate(self, split, *names, limit=None):
        self.asked.append((split, names, limit))
        return {"mi_batch": self.information.pop(0)}

    def step(self, plugin):
        return list(plugin.before_step(session=self, batch=self.made(OWN, 0)))


class Named(SimpleNamespace):
    def __init__(self, name, lengths):
        super().__init__(name=name, lengths=lengths, global_size=len(lengths))

    def __len__(self):
        return len(self.lengths)


def plugin(**settings):
    return Lagging(Lagging.Config(**settings), Sizes(9, 2, 3, 2))


def test_a_constant_loss_runs_all_99_steps():
    session = Scripted()
    made = plugin()
    assert session.step(made) == ["encoder"]
    assert session.seen == [OWN, *range(1, 99)]  # first the step's own batch, then 98 others
    assert session.updates == [(3.0, ("encoder",))] * 99
    assert made.logged["inner_steps"] == 99


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([5, 6], 30),
        ([5, 4, 4.5], 45),
        ([5, 5, 5, 5.001], 60),
        ([9, 8, 7, 6, 5, 4], 99),
        ([5, 4, 3, 2, 1, 2], 90),
    ],
)
def test_it_ends_with_the_first_window_that_is_worse(windows, expected):
    session = Scripted(losses=lambda step: windows[min(step // 15, len(windows) - 1)])
    session.step(plugin())
    assert len(session.updates) == expected


def test_losses_are_weighed_per_token():
    """Per sentence the second window is better, 8 to 9; per token worse, 8 / 2 to 9 / 3."""
    session = Scripted(
        losses=lambda step: 9.0 if step < 15 else 8.0,
        sizes=lambda step: (4, 12) if step < 15 else (4, 8),
    )
    session.step(plugin())
    assert len(session.updates) == 30
    # One batch of 1 sentence in 14 of 4: (14 * 4 * 2 + 1 * 1 * 20) / (14 * 40 + 10), not the mean
    # of the quotients.
    session = Scripted(
        losses=lambda step: (20.0 if step % 15 == 0 else 2.0) if step < 15 else 2.4,
        sizes=lambda step: (1, 10) if step == 0 else (4, 40),
    )
    session.step(plugin())
    assert (14 * 4 * 2 + 20) / (14 * 40 + 10) < 2.4 * 4 / 40 < (14 * 2 * 4 / 40 + 20 / 10) / 15
    assert len(session.updates) == 30


def test_windows_and_length_are_settings():
    session = Scripted(losses=lambda step: step)
    session.step(plugin(window=4, inner_steps=20))
    assert len(session.updates) == 8
    session = Scripted()
    session.step(plugin(window=4, inner_steps=3))
    assert len(session.updates) == 3


def test_the_first_step_is_an_ordinary_one():
    session = Scripted(index=0, information=[0.0])
    assert session.step(plugin()) == []
    assert session.updates == []
    assert session.asked == [("valid", ("mi_batch",), 2)]


def test_it_ends_for_good_when_the_information_falls():
    session, made = Scripted(information=[0.3, 0.3, 0.9, 0.8, 1.5]), plugin()
    found = []

    def train():
        for index in range(1, 60):
            session.index = index
            found.append(bool(session.step(made)))

    with pytest.warns(UserWarning, match=r"ends at step 40: .* fell from 0.900 to 0.800 nats$"):
        train()
    assert found == [True] * 39 + [False] * 20  # epochs begin at 10, 20, ..., and 0.8 comes at 40
    assert session.information == [1.5]  # nobody asks any more
    assert float(made.information) == pytest.approx(0.8)
    assert session.asked == [("valid", ("mi_batch",), None)] * 4
    assert made.logged["inner_steps"] == 0


@pytest.mark.filterwarnings("ignore:lagging")
def test_the_first_epoch_is_compared_with_0():
    session = Scripted(index=10, information=[-1e-6])
    assert session.step(plugin()) == []


@pytest.mark.filterwarnings("ignore:lagging")
def test_the_state_goes_on_where_it_was():
    one, other = plugin(), plugin()
    Scripted(index=10, information=[0.7]).step(one)
    other.load_state_dict(one.state_dict())
    assert Scripted(index=20, information=[0.6]).step(other) == []
    assert Scripted(index=20, information=[0.8]).step(one) == ["encoder"]
    again = plugin()
    again.load_state_dict(other.state_dict())
    assert Scripted(index=30, information=[]).step(again) == []


def test_the_stop_rule_may_look_at_fewer_sentences():
    session = Scripted(index=10, information=[0.1])
    session.step(plugin(sentences=50))
    assert session.asked == [("valid", ("mi_batch",), 50)]


def test_a_posterior_without_information_is_refused_at_the_first_step():
    with pytest.raises(
        CompositionError, match="the mutual information of this posterior cannot be measured"
    ):
        Scripted(index=0, information=[None]).step(plugin())


def opened_run(path, *plugins, **settings):
    tiny = {
        "train.threads": 1,
        "train.optimiser": "sgd",
        "train.lr": 0.5,
        "train.max_steps": 4,
        "train.device": "cpu",
    }
    config = build_config(
        None, {}, {**tiny, "train.log_every": 1, **settings}, ["lagging", *plugins]
    )
    return opened(config, path)


@pytest.mark.parametrize("alone", [False, True])
def test_the_inner_steps_are_gradient_steps_of_the_encoder(tmp_path, alone):
    """Three inner steps by hand, then a joint step of the decoder alone."""
    settings = {
        "lagging.inner_steps": 3,
        "betavae.beta": 0.3,
        "model.dropout_in": 0.2,
        "train.clip": 0.05,
    }
    settings |= {"model.initialisation": "published", "lagging.clip_encoder_alone": alone}
    with (
        opened_run(tmp_path / "run", "betavae", **settings) as trainer,
        opened_run(tmp_path / "twin", "betavae", **settings) as twin,
    ):
        for run in (trainer, twin):
            with torch.no_grad():
                for parameter in run.model.parameters():
                    # the first weights hardly let a gradient through to the encoder
                    parameter.mul_(20)
            run.advance()
        model, session = twin.model.train(), twin.session
        first = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        batch, beta = twin._next_batch(), twin.model.beta.clone()
        norms = []
        with twin.streams("step", 1):
            for inner in range(3):
                some = batch if inner == 0 else session.batch()
                step = Step(model, some)
                loss = (step.rec.mean(1) + beta * step.kl.sum(1)).mean()
                beside = [] if alone else model.params("decoder")
                norms.append(descend(loss, model.params("encoder"), 0.5, 0.05, beside))
            step = Step(model, batch)
            loss = (step.rec.mean(1) + 0.3 * step.kl.sum(1)).mean()
            descend(loss, model.params("decoder"), rate=0.5, clip=0.05)
        trainer.advance()
        assert float(beta) == pytest.approx(0.3)
        assert max(norms) > 0.05  # the clip was at work
        assert trainer.session.draws == 2
        for (name, one), other in zip(
            trainer.model.named_parameters(), model.parameters(), strict=True
        ):
            assert torch.allclose(one - first[name], other - first[name], rtol=1e-3, atol=3e-7), (
                name
            )
            assert (one - first[name]).abs().max() > 1e-4, name


def descend(loss, parameters, rate, clip, beside=()):
    """Plain descent, clipped by the norm of these gradients and of those beside; that norm."""
    parameters = list(parameters)
    gradients = torch.autograd.grad(loss, [*parameters, *beside])
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=False):
            parameter -= rate * gradient * min(1.0, clip / (float(norm) + 1e-6))
    return float(norm)


def test_the_information_is_that_of_the_validation_split_and_disturbs_nothing(tmp_path):
    settings = {
        "data.spec": "toy[:64]",
        "train.epochs": 2,
        "train.max_steps": 3,
        "lagging.inner_steps": 2,
    }
    with opened_run(tmp_path / "run", **settings) as trainer:
        trainer.run()
        found = trainer.session.evaluate("valid", "mi_batch")["mi_batch"]
        rows = [
            row
            for row in aecore.load(tmp_path / "run", "cpu").metrics()
            if row.get("span") == "window"
        ]
    assert [row["lagging.inner_steps"] for row in rows[:2]] == [0, 2]
    assert rows[2]["lagging.information"] != 0
    assert abs(rows[2]["lagging.information"] - found) < 0.05  # one step later


def test_a_language_model_has_no_encoder_to_train(tmp_path):
    with pytest.raises(aecore.AecoreError, match="'lagging' does not compose with 'lstm_lm'"):
        aecore.train(["lagging", "lstm_lm"], out=tmp_path / "run")


@pytest.mark.parametrize(
    "settings",
    [{"window": 0}, {"inner_steps": 0}, {"sentences": 1}, {"window": 1.5}, {"patience": 2}],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        Lagging.Config(**settings)


@parametrize_with_checks("lagging", settings={"window": 3, "inner_steps": 9})
def test_conformance(subject, check):
    check(subject)


@pytest.mark.verify
@parametrize_with_checks("lagging")
def test_conformance_as_published(subject, check):
    check(subject)
