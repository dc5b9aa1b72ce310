"""Sound plugins of every kind pass whatever they promise; the promises that follow from a manifest
are pinned.
"""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from aecore import Batch, CriticConfig, Plugin, PosteriorSample, Stage, hookimpl
from aecore import testing as kit
from aecore.batch import UNKNOWN
from aecore.geometry import Sphere

EUCLIDEAN = {"geometry": "euclidean"}


class FullCovariance(Plugin):
    """q(z | x) = N(mu, L L^T): no closed form is used, so the divergence is a Monte Carlo
    estimate.
    """

    roles = {"head": "encoder"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.head = nn.Linear(sizes.hidden, sizes.latent * (sizes.latent + 2), bias=False)
        nn.init.uniform_(self.head.weight, -0.01, 0.01)

    @hookimpl
    def posterior_sample(self, features, n_samples):
        d = self.sizes.latent
        mean, diagonal, below = self.head(features).split([d, d, d * d], -1)
        root = torch.diag_embed((0.3 * diagonal).exp()) + 0.3 * below.view(-1, d, d).tril(-1)
        q = MultivariateNormal(mean, scale_tril=root)
        return PosteriorSample(q.rsample((n_samples,)).transpose(0, 1), q)


class KnownFromTheNoise(Plugin):
    """z = mu + sinh(eps): its density comes from the noise, and cannot be asked elsewhere."""

    roles = {"head": "encoder"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.head = nn.Linear(sizes.hidden, sizes.latent, bias=False)

    @hookimpl
    def posterior_sample(self, features, n_samples):
        mean = self.head(features).unsqueeze(1)
        noise = torch.randn(len(features), n_samples, self.sizes.latent)
        log_prob = (Normal(0.0, 1.0).log_prob(noise) - noise.cosh().log()).sum(-1)
        return PosteriorSample(mean + noise.sinh(), log_prob=log_prob, centre=mean.squeeze(1))


class LearnedPrior(Plugin):
    roles = {"location": "prior", "log_scale": "prior"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.location = nn.Parameter(torch.zeros(sizes.latent))
        self.log_scale = nn.Parameter(torch.full((sizes.latent,), 0.2))

    @hookimpl
    def prior_logprob(self, z):
        return Normal(self.location, self.log_scale.exp()).log_prob(z).sum(-1)

    @hookimpl
    def prior_sample(self, n):
        return self.location + self.log_scale.exp() * torch.randn(n, self.sizes.latent)


class PseudoInputs(Plugin):
    """p(z) = mean over pseudo-inputs of q(z | u), cut out of the training data in a stage-less
    pre_train_init.
    """

    roles = {"inputs": "prior"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.inputs = nn.Parameter(0.3 * torch.randn(3, sizes.hidden))

    @hookimpl
    def pre_train_init(self, session):
        with torch.no_grad():
            self.inputs.copy_(session.gather(self.model.features(session.batch()))[:3])
        return []

    def components(self):
        return self.model.posterior_sample(self.inputs, 1).distribution

    @hookimpl
    def prior_logprob(self, z):
        q = self.components().base_dist
        each = Normal(q.loc, q.scale).log_prob(z.unsqueeze(-2)).sum(-1)
        return each.logsumexp(-1) - math.log(3)

    @hookimpl
    def prior_sample(self, n):
        q = self.components().base_dist
        chosen = torch.randint(3, (n,))
        return q.loc[chosen] + q.scale[chosen] * torch.randn(n, self.sizes.latent)


class Dual(Plugin):
    """An implicit posterior; a critic nu gives the dual of its divergence."""

    roles = {"head": "encoder", "nu": "critic"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.critic = CriticConfig(steps=2)
        self.head = nn.Linear(sizes.hidden + sizes.latent, sizes.latent)
        self.nu = nn.Sequential(
            nn.Linear(sizes.hidden + sizes.latent, 8), nn.Tanh(), nn.Linear(8, 1)
        )

    @hookimpl
    def posterior_sample(self, features, n_samples):
        h = features.unsqueeze(1).expand(-1, n_samples, -1)
        noise = torch.randn(len(features), n_samples, self.sizes.latent)
        return PosteriorSample(self.head(torch.cat([h, noise], -1)))

    def dual(self, features, z, prior):
        nu_q = self.nu(torch.cat([features, z], -1))
        return nu_q - self.nu(torch.cat([features, prior], -1)).exp() + 1  # (B, 1)

    @hookimpl
    def kl_term(self, step):
        return self.dual(step.features, step.sample.z[:, 0], step.prior_sample())

    @hookimpl
    def critic_loss(self, step):
        return -step.mean(self.dual(step.features, step.z[:, 0], step.prior_sample())).sum()


class Point(Plugin):
    """A plain autoencoder."""

    roles = {"head": "encoder"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.head = nn.Linear(sizes.hidden, sizes.latent)

    @hookimpl
    def posterior_sample(self, features):
        return PosteriorSample(self.head(features).unsqueeze(1))

    @hookimpl
    def kl_term(self, step):
        return step.rec.new_zeros(len(step.batch), 1)


class LanguageModel(Plugin):
    """The decoder reads no latent."""

    @hookimpl
    def posterior_sample(self, features, n_samples):
        return PosteriorSample(features.new_zeros(len(features), n_samples, self.sizes.latent))

    @hookimpl
    def decoder_condition(self, z):
        return z[..., :0]

    @hookimpl
    def kl_term(self, step):
        return step.rec.new_zeros(len(step.batch), 1)


class Penalty(Plugin):
    """A penalty on the batch's second moment, which couples its sentences, and does not touch the
    prior.
    """

    @hookimpl
    def kl_term(self, step):
        return (
            step.sample.z.mean(1)
            .square()
            .sum(1, keepdim=True)
            .mean(0, keepdim=True)
            .expand(len(step.batch), 1)
        )


class Staged(Plugin):
    """Two stages; the second one re-initialises the decoder when it is done."""

    @hookimpl
    def pre_train_init(self):
        return [
            Stage("autoencode", lambda step: step.rec.mean(1), steps=2),
            Stage(
                "decode", lambda step: step.rec.mean(1), ("decoder",), epochs=50, done=self.reset
            ),
        ]

    def reset(self, session):
        with torch.no_grad():
            self.model.decoder.output.weight.uniform_(-0.1, 0.1)


class Busy(Plugin):
    """Words are dropped; the encoder is trained on two more batches before each step, which then
    leaves it alone; a controller
    keeps its integral in a buffer."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.register_buffer("integral", torch.zeros(()))

    @hookimpl
    def corrupt_input(self, batch):
        words = batch.tokens > UNKNOWN
        return Batch(
            torch.where(words & (torch.rand(words.shape) < 0.5), UNKNOWN, batch.tokens),
            batch.lengths,
            batch.index,
        )

    @hookimpl
    def before_step(self, session, batch):
        for _ in range(2):
            session.update(session.loss(session.batch()), ["encoder"])
        return ["encoder"]

    @hookimpl
    def beta_schedule(self, kl):
        self.integral += 1e-3 * (kl - 3)
        self.log(integral=self.integral.clone())
        return (0.01 + self.integral).clamp(0, 1)


class ManySamples(Plugin):
    """An importance-weighted bound, which needs two samples at least."""

    samples = 3

    @hookimpl
    def extra_loss(self, step):
        if step.samples < 2:
            raise ValueError("one sample is the evidence bound itself")
        log_weight = step.log_prior - step.rec - step.sample.log_prob
        return -0.1 * (log_weight.logsumexp(1) - math.log(step.samples))


class Circle(Plugin):
    """Latents on the sphere, implicit, with a uniform prior: a density in another measure."""

    space = Sphere()
    roles = {"head": "encoder"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.head = nn.Linear(sizes.hidden + sizes.latent, sizes.latent)

    @hookimpl
    def posterior_sample(self, features, n_samples):
        h = features.unsqueeze(1).expand(-1, n_samples, -1)
        raw = self.head(torch.cat([h, torch.randn(len(h), n_samples, self.sizes.latent)], -1))
        z = nn.functional.normalize(raw, dim=-1)
        return PosteriorSample(z, centre=nn.functional.normalize(z.mean(1), dim=-1))

    @hookimpl
    def prior_logprob(self, z):
        d = z.shape[-1] / 2
        return torch.zeros_like(z[..., 0]) + math.lgamma(d) - d * math.log(math.pi) - math.log(2)

    @hookimpl
    def prior_sample(self, n):
        return nn.functional.normalize(torch.randn(n, self.sizes.latent), dim=-1)

    @hookimpl
    def kl_term(self, step):
        return step.rec.new_full((len(step.batch), 1), 2.0)


def provides(*, kl_gradient=("encoder", "prior"), **words):
    return {**words, "kl_gradient": list(kl_gradient)} if "kl" in words else words


POINT = provides(
    posterior="point", kl="penalty", kl_estimator="penalty", kl_gradient=(), **EUCLIDEAN
)
NONE = provides(
    posterior="none", kl="sentence", kl_estimator="constant", kl_gradient=(), **EUCLIDEAN
)
SPHERE = provides(
    posterior="sampled",
    prior="density",
    geometry="sphere",
    kl="penalty",
    kl_estimator="penalty",
    kl_gradient=(),
)
DUAL = provides(posterior="sampled", kl="batch", kl_estimator="dual", **EUCLIDEAN)

SOUND = [
    (FullCovariance, {"provides": {"posterior": "density", **EUCLIDEAN}}),
    (KnownFromTheNoise, {"provides": {"posterior": "density", **EUCLIDEAN}}),
    (LearnedPrior, {"provides": {"prior": "density", **EUCLIDEAN}}),
    (
        PseudoInputs,
        {"provides": {"prior": "density", **EUCLIDEAN}, "requires": {"posterior": "density"}},
    ),
    (Dual, {"provides": DUAL}),
    (Point, {"provides": POINT}),
    (LanguageModel, {"provides": NONE}),
    (
        Penalty,
        {"provides": provides(kl="penalty", kl_estimator="penalty", kl_gradient=("encoder",))},
    ),
    (Staged, {}),
    (Busy, {}),
    (ManySamples, {"requires": {"posterior": "density"}}),
    (Circle, {"provides": SPHERE}),
]


@pytest.fixture(params=SOUND, ids=lambda case: case[0].__name__)
def sound(request, subject_of):
    cls, manifest = request.param
    return subject_of(cls, **manifest)


#: What every plugin promises, and every one that is named.
GENERAL = {
    "check_manifest_matches_class",
    "check_exceptions_are_known",
    "check_published_settings_are_settings",
    "check_settings_round_trip",
    "check_unknown_settings_are_refused",
    "check_settings_never_change",
    "check_gradient_reaches_the_encoder",
    "check_hooks_are_called",
    "check_plugin_has_an_effect",
    "check_shapes",
    "check_padding_changes_nothing",
    "check_same_seed_same_result",
    "check_hooks_never_seed",
    "check_instances_share_nothing",
    "check_state_survives_saving",
    "check_resumed_run_is_identical",
    "check_evaluation_is_deterministic",
    "check_evaluation_leaves_training_alone",
    "check_two_halves_are_one_batch",
}
POSTERIOR = {
    "check_posterior_needs_no_batch",
    "check_sentences_do_not_couple",
    "check_levels_are_true",
}
INTEGRALS = {"check_{}_density_integrates", "check_{}_mass"}
FOLLOW = {
    "posterior": "check_posterior_draws_follow_the_density",
    "prior": "check_prior_sample_agrees_with_logprob",
}


def density(*which):
    return {name.format(one) for one in which for name in INTEGRALS} | {
        FOLLOW[one] for one in which
    }


DRAWS = {"check_other_seed_other_result"}
KL = {"check_kl_gradient_is_as_declared"}
TRUE = {"check_kl_agrees_with_monte_carlo"}
TRAINED = {"check_every_parameter_is_trained"}
PLACED = {"check_parameters_are_in_their_places"}
STEP = {"check_steps_do_not_wait"}
MEANS = {"check_samples_are_averaged"}
SLOPES = {"check_gradients_are_derivatives"}
PRIOR = {"check_leading_axes", "check_levels_are_true", *TRUE, *KL, *DRAWS, *TRAINED}
PROMISED = {
    FullCovariance: STEP | PLACED | POSTERIOR | KL | TRUE | DRAWS | TRAINED | density("posterior"),
    KnownFromTheNoise: STEP
    | PLACED
    | POSTERIOR
    | KL
    | TRUE
    | DRAWS
    | TRAINED
    | density("posterior"),
    LearnedPrior: STEP | PLACED | PRIOR | density("prior") | {"check_prior_is_differentiable"},
    PseudoInputs: STEP
    | PLACED
    | PRIOR
    | density("prior")
    | {"check_prior_is_differentiable", "check_stages_train_their_roles_alone"},
    Dual: STEP
    | PLACED
    | MEANS
    | SLOPES
    | POSTERIOR
    | KL
    | DRAWS
    | TRAINED
    | {"check_critic_leaves_main_parameters", "check_joint_step_leaves_the_critic"},
    Point: STEP | PLACED | MEANS | POSTERIOR | KL | TRAINED,
    LanguageModel: STEP | MEANS | POSTERIOR | KL | {"check_leading_axes"},
    Penalty: STEP
    | MEANS
    | SLOPES
    | KL
    | DRAWS
    | {"check_sentences_do_not_couple", "check_levels_are_true"},
    Staged: DRAWS | {"check_stages_train_their_roles_alone"},
    Busy: STEP | DRAWS | {"check_corrupted_input_is_a_batch"},
    ManySamples: STEP | MEANS | SLOPES | DRAWS,
    Circle: STEP
    | PLACED
    | MEANS
    | POSTERIOR
    | KL
    | DRAWS
    | TRAINED
    | density("prior")
    | {"check_leading_axes"},
}


@pytest.mark.verify
def test_it_passes_what_it_promises(sound):
    results = kit.run_checks(sound)
    assert [result.message for result in results if result.status == "failed"] == []
    run = {result.check for result in results if result.status == "passed"}
    assert run == GENERAL | PROMISED[sound.cls]


@kit.parametrize_with_checks("vae")
def test_the_defaults(subject, check):
    check(subject)
