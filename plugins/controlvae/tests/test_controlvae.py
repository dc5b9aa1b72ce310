"""The controller against hand-worked numbers and two published, broken variants."""

import math

import pytest
import torch
from aecore_controlvae import ControlVAE
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aecore import Sizes
from aecore.testing import parametrize_with_checks


def controller(**settings):
    return ControlVAE(
        ControlVAE.Config(**settings), Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    )


def betas(plugin, kls):
    return [float(plugin.beta_schedule(kl=torch.tensor(float(kl)))) for kl in kls]


def test_beta_by_hand_while_the_kl_is_zero():
    # e = 2, P = 0.01 / (1 + e^2) = 0.00119203; I falls by 2e-4 a step.
    found = betas(controller(target_kl=2.0, kp=0.01, ki=1e-4), [0] * 8)
    expected = [0.01 / (1 + math.exp(2)) - 2e-4 * (step + 1) for step in range(5)]
    assert found[:5] == pytest.approx(expected, abs=1e-12)
    assert found[:2] == pytest.approx([0.000992, 0.000792], abs=1e-6)
    assert found[5:] == [0, 0, 0]


def test_at_the_set_point_the_integral_stays_and_p_is_half_of_kp():
    plugin = controller(target_kl=4.0, kp=0.01, ki=1e-3, beta_min=0.2)
    assert betas(plugin, [4, 4, 4]) == pytest.approx([0.205] * 3, abs=1e-12)
    assert float(plugin.integral) == 0


def test_the_integral_holds_while_beta_is_at_its_bound():
    # The authors' text code tests `w < 0 and w > 1`, never holds, and then needs 30 more steps
    # before beta leaves 0.
    plugin = controller(target_kl=2.0, kp=0.01, ki=1e-4)
    betas(plugin, [0] * 200)
    # -0.0400 without anti-windup
    assert float(plugin.integral) == pytest.approx(-0.0010, abs=1e-12)
    later = betas(plugin, [12] * 400)
    assert later[0] == pytest.approx(0.01 / (1 + math.exp(-10)), abs=1e-9)
    assert later[40] == pytest.approx(0.01 / (1 + math.exp(-10)) + 0.04, abs=1e-9)


def test_the_low_bound_does_not_deadlock():
    # ki * target_kl > kp: one literal step takes I to -0.02, below -kp, and the printed rule then
    # holds it there for ever.
    plugin = controller(target_kl=200.0, kp=0.01, ki=1e-4)
    betas(plugin, [0] * 50)
    assert betas(plugin, [300] * 20)[-1] > 0.1


def test_the_high_bound_does_not_deadlock():
    # After an overshoot of the integral beyond 1 the printed rule leaves beta at 1 for ever, since
    # P -> 0 below the set point.
    plugin = controller(target_kl=5.0, kp=0.01, ki=1e-3)
    assert betas(plugin, [500] * 50)[-1] == 1
    later = betas(plugin, [0] * 300)
    assert later[10] < 1
    assert later[-1] == 0


@pytest.mark.parametrize(("target", "slope"), [(2.0, 8.0), (5.0, 20.0), (17.0, 30.0)])
def test_the_loop_settles_at_the_set_point_of_a_lagging_plant(target, slope):
    # A stand-in for training: the KL drifts with a lag of 50 steps to slope / (1 + 10 beta) - 1,
    # which falls with beta.
    plugin, kl = controller(target_kl=target, kp=0.01, ki=1e-4), 0.0
    trace = []
    for _ in range(12_000):
        (beta,) = betas(plugin, [kl])
        kl += (slope / (1 + 10 * beta) - 1 - kl) / 50
        trace.append(kl)
    assert sum(trace[-1000:]) / 1000 == pytest.approx(target, abs=0.05)


def reference(kls, target, kp, ki, low, high):
    """Algorithm 1 in plain floats, with conditional integration written as two cases."""
    integral, found = 0.0, []
    for kl in kls:
        e = target - kl
        p = kp / (1 + math.exp(min(e, 700)))
        step = -ki * e
        w = low + p + integral + step
        too_high = w > high and step > 0
        too_low = w < low and step < 0
        if not (too_high or too_low):
            integral += step
        found.append(min(max(w, low), high))
    return found


@given(
    kls=st.lists(st.floats(0, 60), min_size=1, max_size=60),
    target=st.floats(0.1, 50),
    kp=st.floats(0, 0.1),
    ki=st.floats(0, 0.01),
)
def test_agrees_with_plain_floats_and_stays_in_range(kls, target, kp, ki):
    kls = [float(torch.tensor(kl)) for kl in kls]  # the core's KL is float32
    found = betas(controller(target_kl=target, kp=kp, ki=ki, beta_min=0.1, beta_max=0.9), kls)
    assert found == pytest.approx(reference(kls, target, kp, ki, 0.1, 0.9), abs=1e-9)
    assert all(0.1 <= beta <= 0.9 for beta in found)


def test_the_state_is_a_buffer_that_goes_on_where_it_was():
    kls = [0, 3, 9, 14, 6, 2, 8, 1]
    whole, first, second = controller(), controller(), controller()
    expected = betas(whole, kls)
    betas(first, kls[:4])
    second.load_state_dict(first.state_dict())
    assert betas(second, kls[4:]) == expected[4:]


def test_a_small_increment_is_not_lost_near_one():
    plugin = controller(target_kl=5.0, kp=0.0, ki=1e-9)
    plugin.integral.fill_(0.9)
    betas(plugin, [6] * 100)
    assert float(plugin.integral) == pytest.approx(0.9 + 1e-7, abs=1e-12)


@pytest.mark.parametrize(
    "settings",
    [
        {"target_kl": 0},
        {"target_kl": -1},
        {"ki": -1e-4},
        {"beta_min": 1.0},
        {"beta_min": 2, "beta_max": 1},
        {"v": 3},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        ControlVAE.Config(**settings)


@parametrize_with_checks("controlvae")
def test_conformance(subject, check):
    check(subject)
