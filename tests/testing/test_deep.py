"""Ordinary posteriors that tiny benches misjudge: deep networks, and densities from the noise."""

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from aecore import Plugin, PosteriorSample, hookimpl
from aecore import testing as kit


class Deep(Plugin):
    """Three ReLU layers before the mean and the log-variance."""

    roles = {"head": "encoder"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        width = 64
        self.head = nn.Sequential(
            *(nn.Linear(sizes.hidden, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2 * sizes.latent)),
        )

    @hookimpl
    def posterior_sample(self, features, n_samples, batch):
        mean, log_variance = self.model.posterior_params(*self.head(features).chunk(2, -1), batch)
        q = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
        return PosteriorSample(q.rsample((n_samples,)).transpose(0, 1), q)


class InverseAutoregressive(Plugin):
    """z_d = m_d(z_<d, h) + s_d(z_<d, h) eps_d: its density is known at its own draws (Kingma et
    al. 2016).
    """

    roles = {"head": "encoder", "below": "encoder"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.head = nn.Linear(sizes.hidden, 2 * sizes.latent)
        self.below = nn.Parameter(0.3 * torch.randn(2, sizes.latent, sizes.latent))

    @hookimpl
    def posterior_sample(self, features, n_samples):
        latent = self.sizes.latent
        mean, raw = self.head(features).unsqueeze(1).chunk(2, -1)  # (B, 1, D)
        noise = torch.randn(len(features), n_samples, latent)
        base = mean + torch.nn.functional.softplus(raw) * noise
        shift, scale = (base.tanh() @ w.tril(-1).T for w in self.below)
        gate = torch.sigmoid(scale + 1.5)
        z = gate * base + (1 - gate) * shift
        volume = torch.nn.functional.softplus(raw).log() + gate.log()
        log_prob = (Normal(0.0, 1.0).log_prob(noise) - volume).sum(-1)
        return PosteriorSample(z, log_prob=log_prob)


DEEP = (Deep, {"provides": {"posterior": "gaussian", "geometry": "euclidean"}})
NOISE = (InverseAutoregressive, {"provides": {"posterior": "own_density", "geometry": "euclidean"}})


@pytest.mark.parametrize(("cls", "manifest"), [DEEP, NOISE], ids=["deep", "inverse"])
def test_it_passes_what_it_promises(cls, manifest, subject_of):
    results = kit.run_checks(subject_of(cls, **manifest))
    assert [result.message for result in results if result.status == "failed"] == []
    assert sum(result.status == "inconclusive" for result in results) <= 2


class Raising(Plugin):
    @hookimpl
    def kl_penalty(self, kl):
        raise ValueError("no")


def test_one_fault_is_one_cause_and_no_method_is_so(subject_of):
    results = kit.run_checks(subject_of(Raising))
    (group, *_) = kit.by_cause(results)
    assert len(group) > 5
    assert all("exceptions]" not in result.message for result in group)
