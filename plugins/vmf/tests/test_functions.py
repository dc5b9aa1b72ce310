"""KL, normaliser and mean against published values, scipy, and integrals."""

import math

import numpy as np
import pytest
import scipy.special
import torch
from aecore_vmf.bessel import divergence, log_area, log_bessel, log_normaliser, mean_length
from scipy.integrate import quad
from scipy.stats import vonmises_fisher

#: (D, kappa, KL, what the authors' code makes of it), worked out from the two formulas.
TABLE = [
    (50, 35, 7.743, 7.628),
    (50, 80, 19.515, 19.585),
    (50, 100, 23.571, 23.748),
    (25, 100, 18.803, 19.429),
    (32, 13, 2.173, 2.084),
    (32, 40, 9.892, 9.867),
    (32, 80, 17.863, 18.166),
    (32, 100, 20.759, 21.208),
]


def one(value):
    return torch.tensor([float(value)], dtype=torch.float64)


def published(d, kappa):
    """`_vmf_kld` of the authors, after Guu et al., with scaled Bessel functions."""
    bessel = scipy.special.ive
    ratio = (bessel(d / 2 + 1, kappa) + bessel(d / 2, kappa) * d / (2 * kappa)) / bessel(
        d / 2, kappa
    ) - d / (2 * kappa)
    found = kappa * ratio + d * math.log(kappa) / 2 - math.log(bessel(d / 2, kappa)) - kappa
    return found - scipy.special.loggamma(d / 2 + 1) - d * math.log(2) / 2


@pytest.mark.parametrize(("d", "kappa", "true", "code"), TABLE)
def test_kl_by_the_table(d, kappa, true, code):
    assert divergence(one(kappa), d).item() == pytest.approx(
        true, abs=6e-4
    )  # three digits, one of them rounded up from 18.80248
    assert divergence(one(kappa), d + 2).item() == pytest.approx(code, abs=5e-4)


@pytest.mark.parametrize(("d", "kappa", "true", "code"), TABLE)
def test_the_authors_kl_is_that_of_two_more_dimensions(d, kappa, true, code):
    assert published(d, kappa) == pytest.approx(divergence(one(kappa), d + 2).item(), abs=1e-10)
    assert published(d, kappa) == pytest.approx(code, abs=5e-4)


@pytest.mark.parametrize(("d", "kappa"), [(2, 0.5), (3, 4.0), (32, 13.0), (50, 80.0)])
def test_kl_and_density_are_scipys(d, kappa):
    """Its entropy: KL(q || uniform) = log area - H(q)."""
    mu = np.eye(d)[0]
    oracle = vonmises_fisher(mu, kappa)
    assert divergence(one(kappa), d).item() == pytest.approx(
        log_area(d) - oracle.entropy(), abs=1e-9
    )
    z = oracle.rvs(5, random_state=0)
    assert oracle.logpdf(z) == pytest.approx(
        (log_normaliser(one(kappa), d).item() + kappa * z @ mu), abs=1e-9
    )


@pytest.mark.parametrize("d", [2, 3, 32, 512])
def test_kl_goes_to_0_with_kappa(d):
    # kappa^2 / 2D
    assert divergence(one(1e-3), d).item() == pytest.approx(1e-6 / (2 * d), rel=1e-4, abs=1e-12)
    assert abs(divergence(one(1e-3), d).item()) < 1e-6


@pytest.mark.parametrize(("d", "kappa"), [(2, 0.7), (5, 3.0), (32, 13.0), (32, 1000.0)])
def test_the_density_integrates_to_one(d, kappa):
    """area(S^{D-2}) times the integral of exp(kappa cos t + log C) sin^(D-2) t."""
    log_c = log_normaliser(one(kappa), d).item()
    area = log_area(d - 1)
    value, _ = quad(
        lambda t: math.exp(kappa * math.cos(t) + log_c + area) * math.sin(t) ** (d - 2),
        0,
        math.pi,
        limit=200,
    )
    assert value == pytest.approx(1, abs=1e-8)


def test_no_overflow_and_no_underflow():
    """I overflows for kappa > 713; scaled, it underflows for large orders."""
    assert scipy.special.ive(255, 1.0) == 0
    order, x = 255, np.array([1e-3, 1.0, 20.0, 100.0, 5e5])
    found = log_bessel(order, x)
    series = [
        order * math.log(v / 2) - math.lgamma(order + 1) + math.log1p(v**2 / 4 / (order + 1))
        for v in x[:2]
    ]
    assert found[:2] == pytest.approx(series, rel=1e-9)
    assert found[3] == pytest.approx(math.log(scipy.special.ive(order, 100.0)) + 100, rel=1e-12)
    assert np.isfinite(found).all()
    # both ways give the same where both can be had
    series = (
        order * math.log(50)
        - math.lgamma(order + 1)
        + math.log(scipy.special.hyp0f1(order + 1, 2500.0))
    )
    assert found[3] == pytest.approx(series, rel=1e-12)


@pytest.mark.parametrize("d", [2, 3, 32, 128])
@pytest.mark.parametrize("kappa", [0.05, 1.0, 13.0, 200.0])
def test_slopes_by_finite_differences(d, kappa):
    k = one(kappa).requires_grad_()
    assert torch.autograd.gradcheck(lambda k: log_normaliser(k, d), k, eps=1e-5 * kappa, atol=1e-6)
    assert torch.autograd.gradcheck(lambda k: mean_length(k, d), k, eps=1e-4 * kappa, atol=1e-7)
    assert torch.autograd.gradcheck(lambda k: divergence(k, d), k, eps=1e-4 * kappa, atol=1e-6)
    assert torch.autograd.gradgradcheck(lambda k: divergence(k, d), k, eps=1e-4 * kappa, atol=1e-5)
