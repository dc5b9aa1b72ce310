"""Who is called, with what, in which order, and what is said of a value that is not what
was due.
"""

import pytest
import torch
from support import build, place, some_batch

from aecore.errors import DivergedError, PluginError, RunError
from aecore.hookspec import HOOKS, hookimpl
from aecore.plugin import Plugin
from aecore.step import Step


class Doubles(Plugin):
    @hookimpl
    def kl_penalty(self, kl):
        return 2 * kl

    @hookimpl
    def extra_loss(self, step):
        return torch.full((len(step.batch),), 2.0)


class Adds(Plugin):
    @hookimpl
    def kl_penalty(self, step, kl):  # any order of arguments
        return kl + step.index

    @hookimpl
    def extra_loss(self):
        return torch.zeros(1)


@pytest.mark.parametrize(
    ("classes", "expected"), [((Doubles, Adds), 2 * 1 + 5), ((Adds, Doubles), 2 * (1 + 5))]
)
def test_chains_apply_in_the_order_of_plugin(classes, expected):
    model = build(*classes)
    step = Step(model, some_batch(2), index=5)
    assert model.kl_penalty(torch.ones(2, 3), step).tolist() == [[expected] * 3] * 2


def test_all_hooks_are_called_one_by_one_in_order():
    model = build(Adds, Doubles)
    calls = list(model.hooks.each("extra_loss"))
    assert [call.plugin for call in calls] == ["adds", "doubles"]
    assert [call(step=Step(model, some_batch(2))).tolist() for call in calls] == [[0.0], [2.0, 2.0]]


def test_an_owner_is_called_alone():
    class Half(Plugin):
        @hookimpl
        def beta_schedule(self):
            return 0.5

    model = build(Doubles, Half)
    call = model.hooks.owner("beta_schedule")
    assert (call.plugin, call(index=0, epoch=0, total_steps=1, kl=torch.zeros(()))) == ("half", 0.5)
    assert model.plugin("half") is model.plugins["half"]  # a name that nn.Module has as well
    owners = {
        name: model.hooks.owner(name).plugin for name, hook in HOOKS.items() if hook.kind == "owner"
    }
    assert {name for name, plugin in owners.items() if plugin != "vae"} == {"beta_schedule"}


def test_an_empty_chain_changes_nothing():
    model, kl = build(), torch.rand(2, 3)
    assert model.kl_penalty(kl, Step(model, some_batch(2))) is kl


class Breaks(Plugin):
    problem = None

    @hookimpl
    def beta_schedule(self, index, kl):
        if isinstance(self.problem, BaseException):
            raise self.problem
        return self.problem


def broken(problem):
    model = build(Breaks)
    model.plugin("breaks").problem = problem
    return model.hooks.owner("beta_schedule")


def complain(problem):
    with pytest.raises(PluginError) as caught:
        broken(problem)(index=1, epoch=0.5, total_steps=2, kl=torch.zeros(()))
    return caught.value


WHO = "'breaks' (aecore-breaks 1.0)"


def hook_line():
    return f"  hook:   beta_schedule(index, kl), {place(Breaks, 'beta_schedule')}"


def test_none_is_an_error():
    assert (
        str(complain(None)) == f"{WHO} returned None from beta_schedule\n{hook_line()}\n"
        f"  likely: is a `return` missing?"
    )


def test_an_exception_gets_an_author_and_keeps_its_traceback():
    cause = ValueError("no such thing")
    error = complain(cause)
    assert str(error) == f"{WHO} raised ValueError in beta_schedule: no such thing\n{hook_line()}"
    assert (error.plugin, error.hook, error.__cause__) == ("breaks", "beta_schedule", cause)


def test_an_error_of_the_core_gets_an_author_too():
    error = complain(RunError("no such split", "splits: train"))
    assert (
        str(error)
        == f"{WHO} broke off in beta_schedule: no such split\n{hook_line()}\n  splits: train"
    )


@pytest.mark.parametrize(
    "error", [PluginError("x", plugin="other"), DivergedError("y"), KeyboardInterrupt()]
)
def test_what_has_an_author_already_passes_as_it_is(error):
    with pytest.raises(type(error)) as caught:
        broken(error)(index=1, epoch=0.5, total_steps=2, kl=torch.zeros(()))
    assert caught.value is error


def refusal(value, due, part="a value"):
    call = broken(0.0)
    with pytest.raises(PluginError) as caught:
        call.tensor(value, due, part)
    what, hook, *likely = str(caught.value).split("\n")
    assert hook == hook_line()
    assert what.startswith(f"{WHO} returned ")
    return what.removeprefix(f"{WHO} returned "), [line.strip() for line in likely]


GROUP = ["likely: keep the group axis, .unsqueeze(-1)"]
REDUCED = ["likely: a sum or mean over an axis that the core reduces itself"]
ONE_LEFT = ["likely: a sum over the last 1 axes is missing"]


@pytest.mark.parametrize(
    ("shape", "due", "shown", "likely"),
    [
        ((4,), (4, "G"), "(4, G)", GROUP),
        ((), (4, "G"), "(4, G)", REDUCED),
        ((), (4,), "(4,)", REDUCED),
        ((4, 2), (4,), "(4,)", ONE_LEFT),
        ((4, 2, 3), (4, "G"), "(4, G)", ONE_LEFT),
        ((3, "G"), (4, "G"), "(4, G)", []),
        ((4,), (), "()", ONE_LEFT),
    ],
)
def test_shapes(shape, due, shown, likely):
    value = torch.zeros(tuple(2 if axis == "G" else axis for axis in shape))
    what, hints = refusal(value, due)
    assert what == f"a value of shape {tuple(value.shape)} from beta_schedule; {shown} was due"
    assert hints == likely


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (1.0, "a value of type float from beta_schedule; a tensor () was due"),
        ([1.0], "a value of type list from beta_schedule; a tensor () was due"),
        (torch.tensor(1), "a value of type torch.int64 from beta_schedule; floating point was due"),
        (
            torch.tensor(True),
            "a value of type torch.bool from beta_schedule; floating point was due",
        ),
    ],
)
def test_types(value, what):
    assert refusal(value, ())[0] == what


def test_the_part_is_named():
    assert refusal(torch.zeros(2), (), "log_prob")[0].startswith("log_prob of shape (2,)")


def test_named_axes_have_any_size():
    call = broken(0.0)
    for groups in (1, 2, 7):
        value = torch.zeros(4, groups)
        assert call.tensor(value, (4, "G")) is value
