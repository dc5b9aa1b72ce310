"""Plugins whose results depend on more than the seed, or whose state is lost, shared or changed by
evaluation.
"""

import itertools
import random

import torch
from torch.distributions import Independent, Normal

from aecore import Plugin, PosteriorSample, hookimpl
from aecore import testing as kit


class Dice(Plugin):
    @hookimpl
    def beta_schedule(self):
        return random.random()


def test_randomness_that_the_core_does_not_seed(fails):
    fails(
        kit.check_same_seed_same_result,
        Dice,
        """two runs with the same seed differ
  first: joint step 1, beta: <n> and <n>
  likely: Python's random, which the core does not seed: draw with torch""",
    )


class Counter(Plugin):
    ticks = itertools.count()

    @hookimpl
    def beta_schedule(self):
        return 0.1 + 0.01 * next(self.ticks)


def test_a_counter_on_the_class(fails):
    fails(
        kit.check_same_seed_same_result,
        Counter,
        """two runs with the same seed differ
  first: joint step 1, beta: <n> and <n>
  likely: state on the class or module, time, or the order of a set""",
    )


def normal(mean):
    return Independent(Normal(mean, torch.ones_like(mean)), 1)


class Reseeding(Plugin):
    @hookimpl
    def posterior_sample(self, features, n_samples):
        q = normal(features[:, : self.sizes.latent])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return PosteriorSample(q.rsample((n_samples,)).transpose(0, 1), q)


GAUSSIAN = {"posterior": "gaussian", "geometry": "euclidean"}


def test_a_posterior_with_a_seed_of_its_own(fails):
    fails(
        kit.check_other_seed_other_result,
        Reseeding,
        """posterior_sample draws the same under another seed
  likely: a seed or a generator of the plugin's own, noise kept from an earlier call, \
or noise that is expanded""",
        provides=GAUSSIAN,
    )


class Expanded(Plugin):
    @hookimpl
    def posterior_sample(self, features, n_samples):
        q = normal(features[:, : self.sizes.latent])
        return PosteriorSample(q.rsample().unsqueeze(1).expand(-1, n_samples, -1), q)


def test_samples_that_share_their_noise(fails):
    fails(
        kit.check_other_seed_other_result,
        Expanded,
        """posterior_sample gives two samples the same noise
  likely: a seed or a generator of the plugin's own, noise kept from an earlier call, \
or noise that is expanded""",
        provides=GAUSSIAN,
    )


class Seeding(Plugin):
    @hookimpl
    def beta_schedule(self):
        torch.manual_seed(0)
        return 0.5


def test_a_hook_that_seeds(fails):
    fails(
        kit.check_hooks_never_seed,
        Seeding,
        """beta_schedule seeds torch
  hook: testing/test_repeats.py:<n>
  due: just draw; the core has seeded torch already, differently for each seed and step""",
    )


class SeedingConstructor(Seeding):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        torch.manual_seed(0)


def test_a_constructor_that_seeds(fails):
    fails(
        kit.check_hooks_never_seed,
        SeedingConstructor,
        """the constructor seeds torch
  due: just draw; the core has seeded torch already, differently for each seed and step""",
    )


class SharedList(Plugin):
    def __init__(self, config, sizes, history=[]):  # noqa: B006 - the defect
        super().__init__(config, sizes)
        self.history = history

    @hookimpl
    def beta_schedule(self, kl):
        return 0.5


def test_a_mutable_default_argument(fails):
    fails(
        kit.check_instances_share_nothing,
        SharedList,
        """two instances share state
  shared: history
  likely: a mutable class attribute or default argument, or state in the module""",
    )


SHARED = torch.zeros(())


class SharedBuffer(Plugin):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.register_buffer("state", SHARED[None][0])

    @hookimpl
    def beta_schedule(self, kl):
        return 0.5


def test_a_buffer_in_the_module(fails):
    fails(
        kit.check_instances_share_nothing,
        SharedBuffer,
        """two instances share state
  shared: state
  likely: a mutable class attribute or default argument, or state in the module""",
    )


class Written(Plugin):
    seen = 0

    @hookimpl
    def beta_schedule(self):
        type(self).seen += 1
        return 0.5


def test_training_that_writes_to_the_class(fails):
    fails(
        kit.check_instances_share_nothing,
        Written,
        """training writes to the class
  attributes: seen
  due: state in buffers""",
    )


TURNS = itertools.count()


class TakingTurns(Plugin):
    @hookimpl
    def beta_schedule(self):
        return 0.1 + 0.01 * next(TURNS)


def test_state_in_the_module(fails):
    fails(
        kit.check_instances_share_nothing,
        TakingTurns,
        """two equal runs that take turns differ
  first: joint step 1, beta: <n> and <n>
  likely: a mutable class attribute or default argument, or state in the module""",
    )


class Forgetful(Plugin):
    """A controller whose integral is a Python number. At the divergences of this corpus it would
    leave any clip.
    """

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.integral = 0.0

    @hookimpl
    def beta_schedule(self, kl):
        self.integral += 1e-3 * float(kl - 3)
        return min(max(0.01 + self.integral, 0.0), 1.0)


def test_state_that_is_not_saved(fails):
    fails(
        kit.check_state_survives_saving,
        Forgetful,
        """beta_schedule differs after saving and loading
  largest difference: <n>
  likely: state that is no buffer: register_buffer(name, tensor)""",
    )


def test_state_that_a_kill_loses(fails):
    fails(
        kit.check_resumed_run_is_identical,
        Forgetful,
        """a killed and resumed run ends with other weights
  differ: ...
  killed 4 times, each time after a checkpoint
  likely: state that is no buffer, such as a Python number or list, is lost with the process""",
    )


class DrawnOnce(Plugin):
    """A random constant that is no buffer: the next process has the same one, a model that only
    loads the weights has not.
    """

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.direction = torch.randn(sizes.latent)

    @hookimpl
    def extra_loss(self, step):
        return (step.sample.z @ self.direction).mean(1)


def test_a_random_constant_that_is_no_buffer(fails, subject_of):
    fails(
        kit.check_state_survives_saving,
        DrawnOnce,
        """extra_loss of drawnonce in training differs after saving and loading
  largest difference: <n>
  likely: state that is no buffer: register_buffer(name, tensor)""",
    )
    kit.check_resumed_run_is_identical(subject_of(DrawnOnce))


class Running(Plugin):
    """A running mean that evaluation moves as well."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.register_buffer("mean", torch.zeros(()))

    @hookimpl
    def kl_term(self, step):
        kl = (step.sample.log_prob - step.log_prior).mean(1, keepdim=True)
        self.mean.mul_(0.9).add_(0.1 * kl.detach().mean())
        return kl + self.mean


SENTENCE = {"kl": "sentence", "kl_estimator": "monte-carlo", "kl_gradient": ["encoder", "prior"]}


def test_evaluation_that_depends_on_what_was_evaluated_before(fails):
    fails(
        kit.check_evaluation_is_deterministic,
        Running,
        """evaluating twice gives another kl
  <n>, then <n>
  likely: state that changes in evaluation, or a generator of the plugin's own""",
        provides=SENTENCE,
    )


def test_evaluation_that_changes_a_buffer(fails):
    fails(
        kit.check_evaluation_leaves_training_alone,
        Running,
        """evaluating changes the model
  changed: plugins.running.mean, largest change <n>
  likely: a hook updates a buffer without asking whether self.training""",
        provides=SENTENCE,
    )


class Wider(Plugin):
    """A posterior whose width depends on how many sentences are evaluated at a time."""

    @hookimpl
    def objective(self, step):
        return step.rec.mean(1) + step.beta * step.kl_loss.sum(1)

    @hookimpl
    def decoder_condition(self, z):
        return z * z.numel()


def test_figures_that_depend_on_the_batch_size(fails):
    fails(
        kit.check_evaluation_is_deterministic,
        Wider,
        """rec depends on the evaluation's batch size
  <n> with 4 sentences at a time, <n> with 1""",
        provides={"objective_gradient": ["encoder", "decoder"]},
    )


class Remembering(Plugin):
    """It counts calls in a Python number, in evaluation too."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.calls = 0

    @hookimpl
    def decoder_condition(self, z):
        self.calls += 1
        return z

    @hookimpl
    def beta_schedule(self):
        return 0.01 * self.calls


def test_training_that_remembers_evaluation(fails):
    fails(
        kit.check_evaluation_leaves_training_alone,
        Remembering,
        """training is another when the model is evaluated in between
  first: joint step 1, beta: <n> and <n>
  likely: a hook keeps something from evaluation; ask self.training""",
    )
