"""Checks of densities: they integrate to 1, draws follow them, the divergence is theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aecore.composition import reaches
from aecore.geometry import Ball, Space, Sphere
from aecore.model import evaluating
from aecore.step import Step
from aecore.testing.compare import largest
from aecore.testing.curved import BallVolume, SphereArea
from aecore.testing.lab import batch_of, build, jolt, step_on
from aecore.testing.measures import Flat, Measure
from aecore.testing.registry import Case, at_least, estimated, implements, promise
from aecore.testing.subject import Subject

DRAWS = 20_000
#: Standard errors that a Monte Carlo figure may be off, and the largest standard error of a mass
#: that still tells something.
ERRORS, NOISE = 4.0, 0.1
POSTERIOR = (implements("posterior_sample"), at_least("posterior", "density"))
PRIOR = (implements("prior_logprob"), at_least("prior", "density"))
#: Grid cells round 0 reach this far for a prior, so that a sampler which is too narrow does not
#: hide mass.
PRIOR_REACH = 8.0


@dataclass(frozen=True)
class Density:
    """B densities on the latent space, as sampler and as function.

    Attributes:
        draws: (n, B, D).
        at_draws: (n, B), the log density that came with the draws.
        log_prob: (n, B, D) -> (n, B), where the density can be asked at any point.
    """

    owner: str
    space: Space
    draws: Tensor
    at_draws: Tensor
    log_prob: Callable[[Tensor], Tensor] | None
    least: float = 0.0

    @property
    def measure(self) -> Measure:
        """What the density refers to."""
        if isinstance(self.space, Ball):
            return BallVolume(self.space)
        return SphereArea() if isinstance(self.space, Sphere) else Flat()


def _posterior(subject: Subject, latent: int) -> Density:
    """The posteriors of 3 sentences."""
    model = build(subject, latent=latent, dropout=0.0)
    with evaluating(model):
        batch = batch_of((3, 7, 12))
        sample = model.posterior_sample(model.features(batch), DRAWS, batch)
    assert sample.log_prob is not None
    log_prob = None if sample.distribution is None else sample.distribution.log_prob
    return Density(
        "posterior_sample", model.space, sample.z.transpose(0, 1), sample.log_prob.t(), log_prob
    )


def _prior(subject: Subject, latent: int) -> Density:
    """The prior, away from its initial state where it is learned."""
    model = build(subject, latent=latent, dropout=0.0)
    jolt(model)
    with evaluating(model):
        draws = model.prior_sample(DRAWS).unsqueeze(1)
        return Density(
            "prior_logprob",
            model.space,
            draws,
            model.prior_logprob(draws),
            model.prior_logprob,
            PRIOR_REACH,
        )


@promise(*POSTERIOR)
def check_posterior_density_integrates(case: Case) -> None:
    """The density of the posterior integrates to 1 over a grid in two dimensions."""
    _require_integral(case, _posterior(case.subject, 2))


@promise(*PRIOR)
def check_prior_density_integrates(case: Case) -> None:
    """The density of the prior integrates to 1 over a grid in two dimensions."""
    _require_integral(case, _prior(case.subject, 2))


@promise(*POSTERIOR)
def check_posterior_mass(case: Case) -> None:
    """The density of the posterior has importance-sampled mass 1 in eight dimensions."""
    _require_mass(case, _posterior(case.subject, 8))


@promise(*PRIOR)
def check_prior_mass(case: Case) -> None:
    """The density of the prior has importance-sampled mass 1 in eight dimensions."""
    _require_mass(case, _prior(case.subject, 8))


@promise(*POSTERIOR)
def check_posterior_draws_follow_the_density(case: Case) -> None:
    """The draws of posterior_sample have the moments of its density."""
    _require_agreement(case, _posterior(case.subject, 2))


@promise(*PRIOR)
def check_prior_sample_agrees_with_logprob(case: Case) -> None:
    """The draws of prior_sample have the moments of prior_logprob."""
    _require_agreement(case, _prior(case.subject, 2))


@torch.no_grad()
def _require_integral(case: Case, density: Density) -> None:
    if density.log_prob is None:
        return _require_inverse_mass(case, density, 2)
    points, volume = density.measure.cells(density.draws, density.least)
    mass = (density.log_prob(points).double() + volume).logsumexp(0).exp()  # (B,)
    for number, value in enumerate(mass.tolist()):
        line = f"integral over {len(points)} cells: {value:.4f}"
        case.require(
            abs(value - 1) < 5e-3,
            f"the density of {density.owner} does not integrate to 1 at D = 2",
            line,
            *_for(number, mass),
        )
    return None


@torch.no_grad()
def _require_mass(case: Case, density: Density) -> None:
    if density.log_prob is None:
        return _require_inverse_mass(case, density, 8)
    points, log_proposal = density.measure.around(density.draws, DRAWS)
    weights = (density.log_prob(points).double() - log_proposal).exp()
    return _require_one(
        case,
        weights,
        f"the density of {density.owner} has not mass 1 at D = 8",
        "mass by importance sampling",
    )


@torch.no_grad()
def _require_inverse_mass(case: Case, density: Density, dimensions: int) -> None:
    """E_q[r / q] = 1 for a normalised r inside q, where q is known at its own draws alone."""
    narrow = density.measure.within(density.draws)
    weights = (narrow(density.draws) - density.at_draws).double().exp()
    what = f"the density of {density.owner} is not that of its draws at D = {dimensions}"
    _require_one(case, weights, what, "E_q[r / q], r a narrow normal")


def _require_one(case: Case, weights: Tensor, what: str, figure: str) -> None:
    """The mean of the weights (n, B) over n is 1 within `ERRORS` standard errors."""
    means, errors = weights.mean(0), weights.std(0) / len(weights) ** 0.5
    for number, (mean, error) in enumerate(zip(means.tolist(), errors.tolist(), strict=True)):
        line = f"{figure}, {len(weights)} draws: {mean:.4f}, standard error {error:.4f}"
        if error >= NOISE * max(mean, 1):
            case.inconclusive("its estimate is too noisy to tell", line, *_for(number, means))
        case.require(abs(mean - 1) <= ERRORS * error + 1e-4, what, line, *_for(number, means))


def _for(number: int, values: Tensor) -> tuple[str, ...]:
    return (f"for: sentence {number}",) if len(values) > 1 else ()


@torch.no_grad()
def _require_agreement(case: Case, density: Density) -> None:
    """E_q[r / q] = 1, and the moments of the draws are those of the density on a grid."""
    _require_inverse_mass(case, density, 2)
    if density.log_prob is None:
        return
    points, volume = density.measure.cells(density.draws, density.least)
    weights = (density.log_prob(points).double() + volume).softmax(0).unsqueeze(-1)  # (N, B, 1)
    due = (weights * _moments(points)).sum(0)  # (B, 5)
    found = _moments(density.draws)
    errors = found.std(0) / len(found) ** 0.5
    for number, name in enumerate(("z1", "z2", "z1^2", "z1 z2", "z2^2")):
        for row in range(due.shape[0]):
            mean, exact, error = (float(t[row, number]) for t in (found.mean(0), due, errors))
            line = (
                f"mean of {name}: {mean:.4f} over {len(found)} draws, {exact:.4f} by the density, "
                f"standard error {error:.4f}"
            )
            what = (
                f"the draws of {density.owner.replace('logprob', 'sample')} do not follow its "
                f"density"
            )
            case.require(
                abs(mean - exact) <= (ERRORS + 1) * error + 1e-4, what, line, *_for(row, due)
            )


def _moments(z: Tensor) -> Tensor:
    """(..., 5): z1, z2 and their products, for z (..., 2)."""
    one, two = z.double().unbind(-1)
    return torch.stack([one, two, one.square(), one * two, two.square()], -1)


@promise(
    implements("kl_term", "posterior_sample", "prior_logprob"),
    estimated("analytic", "monte-carlo"),
    at_least("posterior", "density"),
    at_least("prior", "density"),
    at_least("kl", "batch"),
)
def check_kl_agrees_with_monte_carlo(case: Case) -> None:
    """kl_term is E_q[log q - log p], sentence by sentence, or in the mean if it says so."""
    model, batch = build(case.subject, dropout=0.0), batch_of((3, 7, 11, 12, 15))
    with evaluating(model):
        sample = model.posterior_sample(model.features(batch), DRAWS, batch)
        assert sample.log_prob is not None
        log_ratio = (sample.log_prob - model.prior_logprob(sample.z)).double()  # (B, draws)
        analytic = model.level["kl_estimator"] == "analytic"
        # (B,)
        charged = step_on(model, batch, model.samples if analytic else DRAWS).kl.sum(1).double()
    due, error = log_ratio.mean(1), log_ratio.std(1) / DRAWS**0.5
    if model.level["kl"] == "batch":
        charged, due, error = (
            charged.mean()[None],
            due.mean()[None],
            error.square().sum().sqrt()[None] / len(error),
        )
    slack = ERRORS * error * (1 if analytic else 2**0.5) + 1e-3
    for number, (kl, truth, se) in enumerate(
        zip(charged.tolist(), due.tolist(), error.tolist(), strict=True)
    ):
        lines = (
            f"kl_term: {kl:.4f} nats",
            f"E[log q - log p]: {truth:.4f} nats over {DRAWS} draws, standard error {se:.4f}",
        )
        what = "kl_term is not the divergence of the posterior from the prior"
        case.require(abs(kl - truth) <= float(slack[number]), what, *lines, *_for(number, due))
    _require_dimensions(case, step_on(model, batch, 1))


@torch.no_grad()
def _require_dimensions(case: Case, step: Step) -> None:
    """Each group of a KL by dimension is that dimension's, where both sides factorise."""
    level, normal = step.model.level, step.sample.distribution
    if level["kl"] != "dimension" or level["prior"] != "standard":
        return
    if not reaches("posterior", level["posterior"], "gaussian"):
        return
    mean, variance = normal.mean, normal.stddev.square()  # type: ignore[union-attr]
    due = 0.5 * (mean.square() + variance - variance.log() - 1)  # (B, D)
    number = int((step.kl - due).abs().max(1).values.argmax())
    lines = (
        f"kl_term:  {', '.join(f'{kl:.4f}' for kl in step.kl[number].tolist())}",
        f"KL(N(mu, sigma^2) || N(0, 1)) of each: "
        f"{', '.join(f'{kl:.4f}' for kl in due[number].tolist())}",
    )
    close = largest(step.kl, due) <= 1e-3 * max(1.0, float(due.max()))
    case.require(close, "kl_term by dimension is not that of each dimension", *lines)
