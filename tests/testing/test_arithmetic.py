"""Plugins whose values look right and are not: parts detached, sums for means, powers of beta."""

import torch
from torch import nn
from torch.distributions import Normal

from aecore import Plugin, hookimpl
from aecore import testing as kit

ANALYTIC = {"kl": "dimension", "kl_estimator": "analytic", "kl_gradient": ["encoder"]}
CLOSED = {"provides": ANALYTIC, "requires": {"posterior": "gaussian", "prior": "standard"}}


def closed_form(mean, deviation):
    """(B, D): KL(N(mean, deviation^2) || N(0, 1)) by dimension."""
    return 0.5 * (mean.square() + deviation.square() - 1) - deviation.log()


class HalfDetached(Plugin):
    @hookimpl
    def kl_term(self, step):
        q = step.sample.distribution
        return closed_form(q.mean.detach(), q.stddev)


def test_a_divergence_whose_mean_is_detached(fails):
    fails(
        kit.check_gradients_are_derivatives,
        HalfDetached,
        """the gradient of kl is not its derivative
  along a random direction: gradient <n>, difference quotient <n>
  likely: a detach() of a part of it""",
        **CLOSED,
    )


class Whole(Plugin):
    @hookimpl
    def kl_term(self, step):
        q = step.sample.distribution
        return closed_form(q.mean, q.stddev)


def test_the_whole_divergence_is_right(subject_of):
    subject = subject_of(Whole, **CLOSED)
    kit.check_gradients_are_derivatives(subject)
    kit.check_kl_agrees_with_monte_carlo(subject)
    kit.check_samples_are_averaged(subject)


class Shuffled(Plugin):
    """The total is right; dimensions are charged for one another."""

    @hookimpl
    def kl_term(self, step):
        q = step.sample.distribution
        return closed_form(q.mean, q.stddev).flip(1)


def test_a_divergence_by_dimension_whose_total_alone_is_right(fails):
    fails(
        kit.check_kl_agrees_with_monte_carlo,
        Shuffled,
        """kl_term by dimension is not that of each dimension
  kl_term:  <n>, <n>, <n>, <n>
  KL(N(mu, sigma^2) || N(0, 1)) of each: <n>, <n>, <n>, <n>""",
        **CLOSED,
    )


class Extra(Plugin):
    """A pull of z towards 0, which is broken below."""

    def pull(self, step):
        return 0.1 * step.sample.z.square().sum(-1)


class DetachedExtra(Extra):
    @hookimpl
    def extra_loss(self, step):
        z = step.sample.z
        return (0.1 * z.detach() * z).sum(-1).mean(1)


def test_an_extra_loss_with_z_detached_in_a_product(fails):
    fails(
        kit.check_gradients_are_derivatives,
        DetachedExtra,
        """the gradient of extra_loss of detachedextra is not its derivative
  along a random direction: gradient <n>, difference quotient <n>
  likely: a detach() of a part of it""",
    )


class SummedExtra(Extra):
    @hookimpl
    def extra_loss(self, step):
        return self.pull(step).sum(1)


def test_an_extra_loss_that_is_summed_over_samples(fails):
    fails(
        kit.check_samples_are_averaged,
        SummedExtra,
        """extra_loss of summedextra depends on how often a draw is there
  largest difference: <n>
  seen: 1 draws of z, and each of them 3 times
  likely: a sum over K, where a mean is due""",
    )


class BatchExtra(Extra):
    @hookimpl
    def extra_loss(self, step):
        return self.pull(step).mean(1).sum().expand(len(step.batch))


def test_an_extra_loss_that_is_summed_over_the_batch(fails):
    fails(
        kit.check_two_halves_are_one_batch,
        BatchExtra,
        """two halves of a batch have another loss
  joint step 1: <n> in one process, <n> on rank 0 of 2
  likely: a mean or a decision over the batch; step.mean and session.agree have all of it""",
    )


class FirstSample(Plugin):
    @hookimpl
    def objective(self, step):
        return step.rec[:, 0] + step.beta * step.kl_loss.sum(1)


def test_an_objective_that_takes_the_first_sample(fails):
    fails(
        kit.check_samples_are_averaged,
        FirstSample,
        """objective looks at some draws of z only
  gradient norms of the draws: <n>, <n>, <n>
  likely: [:, 0] for mean(1)""",
        provides={"objective_gradient": ["encoder", "decoder"]},
    )


class SquaredBeta(Plugin):
    @hookimpl
    def objective(self, step):
        return step.rec.mean(1) + step.beta.square() * step.kl_loss.sum(1)


def test_an_objective_that_squares_beta(fails):
    fails(
        kit.check_beta_is_a_weight,
        SquaredBeta,
        """the objective is not affine in beta
  largest difference between the objective at beta 0.3 and the mean of those at 0 and 0.6: <n>
  likely: beta is squared, or in a place of its own""",
        provides={"objective_gradient": ["encoder", "decoder"]},
    )


class Learned(Plugin):
    """N(location, exp(log_variance)); both are 0 at the start, where much goes unseen."""

    roles = {"location": "prior", "log_variance": "prior"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.location = nn.Parameter(torch.zeros(sizes.latent))
        self.log_variance = nn.Parameter(torch.zeros(sizes.latent))

    @hookimpl
    def prior_logprob(self, z):
        return Normal(self.location, (0.5 * self.log_variance).exp()).log_prob(z).sum(-1)


class Forgetful(Learned):
    @hookimpl
    def prior_sample(self, n):
        return (0.5 * self.log_variance).exp() * torch.randn(n, self.sizes.latent)


class Wide(Learned):
    @hookimpl
    def prior_sample(self, n):
        return self.location + self.log_variance.exp() * torch.randn(n, self.sizes.latent)


class Right(Learned):
    @hookimpl
    def prior_sample(self, n):
        deviation = (0.5 * self.log_variance).exp()
        return self.location + deviation * torch.randn(n, self.sizes.latent)


PRIOR = {"provides": {"prior": "density", "geometry": "euclidean"}}
UNLIKE = """the d... of prior_... its d...
  ...standard error <n>"""


def test_draws_that_forget_the_learned_mean(fails):
    fails(kit.check_prior_sample_agrees_with_logprob, Forgetful, UNLIKE, **PRIOR)


def test_draws_that_take_the_variance_for_the_deviation(fails):
    fails(kit.check_prior_sample_agrees_with_logprob, Wide, UNLIKE, **PRIOR)


def test_draws_that_follow_the_learned_prior(subject_of):
    kit.check_prior_sample_agrees_with_logprob(subject_of(Right, **PRIOR))


class Waiting(Plugin):
    @hookimpl
    def kl_penalty(self, kl):
        return kl * (1.0 if kl.mean().item() > 1e-3 else 2.0)


def test_a_step_that_waits_for_the_device(fails):
    fails(
        kit.check_steps_do_not_wait,
        Waiting,
        """kl_penalty waits for the device
  at: testing/test_arithmetic.py:<n>
  due: tensors all the way; self.log takes them too""",
    )


class Counting(Plugin):
    """Says 1 for the first hundred steps; the count is lost with the process."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.count = 0

    @hookimpl
    def beta_schedule(self):
        self.count += 1
        return 1.0 if self.count < 100 else 0.0


def test_a_number_that_matters_late(fails):
    fails(
        kit.check_resumed_run_is_identical,
        Counting,
        """a killed and resumed run ends with other Python numbers
  self.count: '6', and '<n>' with kills
  due: state that matters, now or later, is a buffer: register_buffer(name, tensor)""",
    )


class Plain(Plugin):
    @hookimpl
    def objective(self, step):
        return step.rec.mean(1) + step.beta * step.kl_loss.sum(1)


def test_where_the_core_waits_inside_of_a_hook_is_not_the_plugin(subject_of):
    declared = {"objective_gradient": ["encoder", "decoder"]}
    kit.check_steps_do_not_wait(subject_of(Plain, provides=declared))
