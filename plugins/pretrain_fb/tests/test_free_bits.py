"""What is charged: by hand, by the authors' masks, finite differences, and descent."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from aecore_pretrain_fb import FreeBits
from torch.distributions import Normal, kl_divergence

from aecore import Sizes
from aecore.catalogue import Catalogue
from aecore.composition import Part, compose
from aecore.errors import CompositionError
from aecore.manifest import parse_manifest

#: A step whose batch is all there is: free bits asks it for nothing but means.
ALL = SimpleNamespace(mean=lambda values: values.mean(0))
MODES = ["dimension", "sentence", "batch", "kingma"]


def free_bits(**settings):
    return FreeBits(
        FreeBits.Config(**settings), Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    )


def charge(kl, **settings):
    """(charged per sentence (B,), gradient of its mean (B, G)), for divergences as lists."""
    raw = torch.as_tensor(kl, dtype=torch.float64).clone().requires_grad_()
    charged = free_bits(**settings).kl_penalty(step=ALL, kl=raw).sum(1)
    (gradient,) = torch.autograd.grad(charged.mean() + 0 * raw.sum(), raw)
    return charged.detach(), gradient


# By hand


def test_a_fifth_of_a_nat_in_each_of_32_dimensions_is_free():
    charged, gradient = charge([[0.2] * 32] * 3, target_kl=8.0)
    assert charged.tolist() == [8.0] * 3
    assert not gradient.any()


def test_a_third_of_a_nat_has_its_full_price():
    charged, gradient = charge([[0.3] * 32] * 3, target_kl=8.0)
    assert charged.tolist() == pytest.approx([9.6] * 3)
    assert gradient.allclose(torch.tensor(1 / 3, dtype=torch.float64))


@pytest.mark.parametrize("mode", MODES)
def test_what_equals_its_floor_is_free(mode):
    charged, gradient = charge([[0.25] * 32] * 2, target_kl=8.0, mode=mode)
    assert charged.tolist() == [8.0, 8.0]
    assert not gradient.any()


#: Two sentences, two dimensions; totals 5 and 1, their mean 3; means by dimension 2.5 and 0.5;
#: lambda 2, so 1 a dimension.
KL = [[4.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("mode", "charged", "gradient"),
    [
        ("dimension", [5.5, 2.0], [[0.5, 0.0], [0.0, 0.0]]),
        ("sentence", [5.0, 2.0], [[0.5, 0.5], [0.0, 0.0]]),
        ("batch", [5.0, 1.0], [[0.5, 0.5], [0.5, 0.5]]),
        ("kingma", [5.5, 1.5], [[0.5, 0.0], [0.5, 0.0]]),
    ],
)
def test_the_modes_differ_in_what_they_compare(mode, charged, gradient):
    found = charge(KL, target_kl=2.0, mode=mode)
    assert found[0].tolist() == pytest.approx(charged)
    assert found[1].tolist() == gradient


def test_a_mean_below_the_floor_frees_every_sentence():
    charged, gradient = charge(KL, target_kl=3.5, mode="batch")
    assert charged.tolist() == [3.5, 3.5]
    assert not gradient.any()


# Against others


def masked(kl, floor, mode):
    """The authors' loss, which charges nothing below the floor: fb 1, 2, 3 and Kingma's."""
    if mode == "dimension":
        return ((kl > floor / kl.shape[1]).to(kl) * kl).sum(1)
    if mode == "sentence":
        return (kl.sum(1) > floor).to(kl) * kl.sum(1)
    if mode == "batch":
        return (kl.sum(1).mean() > floor).to(kl) * kl.sum(1)
    return ((kl.mean(0) > floor / kl.shape[1]).to(kl) * kl).sum(1)


def printed(kl, floor, mode):
    """The papers' max, in the mean over the batch."""
    if mode == "dimension":
        return np.maximum(kl, floor / kl.shape[1]).sum(1).mean()
    if mode == "sentence":
        return np.maximum(kl.sum(1), floor).mean()
    if mode == "batch":
        return max(kl.sum(1).mean(), floor)
    return np.maximum(kl.mean(0), floor / kl.shape[1]).sum()


@pytest.mark.parametrize("floor", [0.5, 4.0, 6.0, 20.0])
@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_those_of_the_authors_masks_and_values_the_papers_max(mode, floor):
    # totals from about 2 to 9
    kl = torch.from_numpy(np.random.default_rng(3).gamma(0.6, 1.5, (9, 6)))
    charged, gradient = charge(kl, target_kl=floor, mode=mode)
    reference = kl.clone().requires_grad_()
    (due,) = torch.autograd.grad(masked(reference, floor, mode).mean(), reference)
    assert torch.equal(gradient, due)
    assert float(charged.mean()) == pytest.approx(printed(kl.numpy(), floor, mode), rel=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_against_finite_differences(mode):
    kl = np.random.default_rng(4).gamma(0.6, 1.5, (5, 4))
    _, gradient = charge(kl, target_kl=3.0, mode=mode)
    found = np.zeros_like(kl)
    for place in np.ndindex(kl.shape):
        step = np.zeros_like(kl)
        step[place] = 1e-6
        found[place] = (printed(kl + step, 3.0, mode) - printed(kl - step, 3.0, mode)) / 2e-6
    np.testing.assert_allclose(gradient.numpy(), found, atol=1e-8)


def descend(mode, floor):
    """12 Gaussian posteriors in 4 dimensions, charged alone; their KL (12, 4) at rest."""
    made = torch.Generator().manual_seed(0)
    mean = (3 * torch.randn(12, 4, generator=made, dtype=torch.float64)).requires_grad_()
    log_scale = (0.5 * torch.randn(12, 4, generator=made, dtype=torch.float64)).requires_grad_()
    standard, plugin = Normal(0.0, 1.0), free_bits(mode=mode, target_kl=floor)
    optimiser = torch.optim.SGD([mean, log_scale], lr=0.02)
    for _ in range(300):
        kl = kl_divergence(Normal(mean, log_scale.exp()), standard)
        optimiser.zero_grad()
        (plugin.kl_penalty(step=ALL, kl=kl).sum() + 0 * kl.sum()).backward()
        optimiser.step()
    return kl.detach()


def test_charged_alone_the_batch_mean_comes_to_rest_on_the_target():
    assert 2.7 < float(descend("batch", 3.0).sum(1).mean()) <= 3.0


def test_charged_alone_every_sentence_comes_to_rest_on_the_target():
    totals = descend("sentence", 3.0).sum(1)
    assert float(totals.min()) > 2.8
    assert float(totals.max()) <= 3.0


def test_charged_alone_no_dimension_stays_above_its_share():
    kl = descend("dimension", 3.0)
    assert float(kl.max()) <= 0.75
    assert ((kl > 0.7).sum(1) >= 1).all()  # most began above; the others stay where they were
    means = descend("kingma", 3.0).mean(0)
    assert float(means.min()) > 0.7
    assert float(means.max()) <= 0.75


def test_the_floor_follows_any_number_of_groups():
    charged, _ = charge([[1.0], [9.0]], target_kl=5.0)
    assert charged.tolist() == [5.0, 9.0]
    assert free_bits(mode="batch").kl_penalty(step=ALL, kl=torch.ones(3, 7)).shape == (3, 1)
    assert free_bits(mode="kingma").kl_penalty(step=ALL, kl=torch.ones(3, 7)).shape == (3, 7)


def test_the_share_on_its_floor_is_logged():
    plugin = free_bits(target_kl=2.0)
    plugin.kl_penalty(step=ALL, kl=torch.tensor(KL))
    assert float(plugin.logged["free"]) == 0.75


def test_the_raw_divergence_is_left_as_it_is():
    kl = torch.tensor(KL)
    free_bits(target_kl=2.0).kl_penalty(step=ALL, kl=kl)
    assert kl.tolist() == KL


# What each mode needs


@pytest.mark.parametrize(
    ("mode", "least"),
    [
        ("dimension", "dimension"),
        ("kingma", "dimension"),
        ("sentence", "sentence"),
        ("batch", "batch"),
    ],
)
def test_each_mode_asks_for_no_more_of_the_divergence_than_it_compares(mode, least):
    levels = ["penalty", "batch", "sentence", "dimension"]
    for level in levels:
        giver = {"summary": "", "api": ">=1", "hooks": ["kl_term"]}
        estimator = "penalty" if level == "penalty" else "dual"
        giver["provides"] = {"kl": level, "kl_estimator": estimator, "kl_gradient": ["encoder"]}
        declared = Catalogue.discover().part("free_bits").manifest
        asked = Part("free_bits", FreeBits.manifest(declared, FreeBits.Config(mode=mode)))
        named = [Part("giver", parse_manifest(giver, "giver", "test")), asked]
        if levels.index(level) >= levels.index(least):
            assert compose(named, Catalogue.discover().defaults).owners["kl_term"] == "giver"
        else:
            with pytest.raises(
                CompositionError, match=f"free_bits needs: the divergence to be {least}"
            ):
                compose(named, Catalogue.discover().defaults)


@pytest.mark.parametrize(
    "settings", [{"target_kl": 0.0}, {"target_kl": -1.0}, {"mode": "fbp"}, {"lambda": 3}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="validation error"):
        FreeBits.Config(**settings)
