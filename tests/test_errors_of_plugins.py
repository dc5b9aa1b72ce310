"""Every way in which a plugin can break at run time, and the exact words; what is not applied stays
as it was, bit for bit.
"""

from contextlib import nullcontext

import pytest
import torch
from support import Joint, build, changed, place, snapshot, some_batch, trainer_of
from torch import nn
from torch.distributions import Independent, Normal

from aecore.errors import AecoreError, DivergedError, PluginError
from aecore.hookspec import hookimpl
from aecore.plugin import CriticConfig, Plugin
from aecore.posterior import PosteriorSample
from aecore.training.stages import Stage

DENSITY = {"posterior": "density", "geometry": "euclidean"}
PENALTY = {"kl": "penalty", "kl_estimator": "penalty", "kl_gradient": ["encoder"]}
B = 4


ARGUMENTS = {
    "posterior_sample": "features, n_samples, batch",
    "decoder_condition": "z",
    "beta_schedule": "kl",
    "kl_penalty": "kl, step",
    "corrupt_input": "batch",
}


def owner(hook, value, **provides):
    """A plugin class whose one hook returns ``value(self, ...)``, as if from line 1 of
    broken/module.py; its arguments.
    """
    names = ARGUMENTS.get(hook, "step")
    namespace = {"value": value, "hookimpl": hookimpl}
    source = f"@hookimpl\ndef {hook}(self, {names}):\n    return value(self, {names})\n"
    exec(compile(source, "/somewhere/broken/module.py", "exec"), namespace)
    return type(
        "Broken", (Plugin,), {hook: namespace[hook], "declares": {"provides": provides}}
    ), names


def message(cls, names, hook, corpus, error=PluginError):
    joint = Joint(build(cls), corpus)
    before = snapshot(joint.model)
    with pytest.raises(error) as caught:
        joint.step(some_batch(B))
    assert changed(before, joint.model) == set()
    what, place_line, *rest = str(caught.value).split("\n  ")
    assert place_line == f"hook:   {hook}({names}), broken/module.py:1"
    assert what.startswith("'broken' (aecore-broken 1.0) ")
    assert (caught.value.plugin, caught.value.hook) == ("broken", hook)
    return what.removeprefix("'broken' (aecore-broken 1.0) "), rest


LATENT = ["likely: a sum or mean over an axis that the core reduces itself"]
VALUES = {
    "no group axis": (
        "kl_term",
        lambda self, step: step.sample.z.square().sum(-1).mean(1),
        PENALTY,
        "returned a value of shape (4,) from kl_term; (4, G) was due",
        ["likely: keep the group axis, .unsqueeze(-1)"],
    ),
    "averaged over sentences": (
        "kl_term",
        lambda self, step: step.sample.z.square().mean(),
        PENALTY,
        "returned a value of shape () from kl_term; (4, G) was due",
        LATENT,
    ),
    "the wrong sentences": (
        "kl_term",
        lambda self, step: torch.zeros(1, 1),
        PENALTY,
        "returned a value of shape (1, 1) from kl_term; (4, G) was due",
        [],
    ),
    "K left over": (
        "kl_term",
        lambda self, step: step.sample.z,
        PENALTY,
        "returned a value of shape (4, 1, 3) from kl_term; (4, G) was due",
        ["likely: a sum over the last 1 axes is missing"],
    ),
    "None": (
        "kl_term",
        lambda self, step: None,
        PENALTY,
        "returned None from kl_term",
        ["likely: is a `return` missing?"],
    ),
    "a float": (
        "kl_term",
        lambda self, step: 0.0,
        PENALTY,
        "returned a value of type float from kl_term; a tensor (4, G) was due",
        [],
    ),
    "it raises": (
        "kl_term",
        lambda self, step: step.nothing,
        PENALTY,
        "raised AttributeError in kl_term: 'Step' object has no attribute 'nothing'",
        [],
    ),
    "penalty without groups": (
        "kl_penalty",
        lambda self, kl, step: kl.sum(1),
        {},
        "returned a value of shape (4,) from kl_penalty; (4, G) was due",
        ["likely: keep the group axis, .unsqueeze(-1)"],
    ),
    "objective averaged": (
        "objective",
        lambda self, step: step.rec.mean(),
        {"objective_gradient": ["encoder"]},
        "returned a value of shape () from objective; (4,) was due",
        LATENT,
    ),
    "objective with K": (
        "objective",
        lambda self, step: step.rec,
        {"objective_gradient": ["encoder"]},
        "returned a value of shape (4, 1) from objective; (4,) was due",
        ["likely: a sum over the last 1 axes is missing"],
    ),
    "extra loss averaged": (
        "extra_loss",
        lambda self, step: step.rec.mean(),
        {},
        "returned a value of shape () from extra_loss; (4,) was due",
        LATENT,
    ),
    "beta of a type": (
        "beta_schedule",
        lambda self, kl: "1",
        {},
        "returned str from beta_schedule; a float or a 0-d tensor was due",
        [],
    ),
    "beta a bool": (
        "beta_schedule",
        lambda self, kl: True,
        {},
        "returned bool from beta_schedule; a float or a 0-d tensor was due",
        [],
    ),
    "beta per sentence": (
        "beta_schedule",
        lambda self, kl: kl.expand(4),
        {},
        "returned a value of shape (4,) from beta_schedule; () was due",
        ["likely: a sum over the last 1 axes is missing"],
    ),
    "beta None": (
        "beta_schedule",
        lambda self, kl: None,
        {},
        "returned None from beta_schedule",
        ["likely: is a `return` missing?"],
    ),
    "a tensor for a sample": (
        "posterior_sample",
        lambda self, features, n, batch: features,
        DENSITY,
        "returned Tensor from posterior_sample; a PosteriorSample was due",
        [],
    ),
    "z without K": (
        "posterior_sample",
        lambda self, features, n, batch: PosteriorSample(torch.zeros(4, 3)),
        DENSITY,
        "returned z of shape (4, 3) from posterior_sample; (4, 1, 3) was due",
        LATENT,
    ),
    "log_prob per dimension": (
        "posterior_sample",
        lambda self, features, n, batch: PosteriorSample(
            torch.zeros(4, 1, 3), log_prob=torch.zeros(4, 1, 3)
        ),
        DENSITY,
        "returned log_prob of shape (4, 1, 3) from posterior_sample; (4, 1) was due",
        ["likely: a sum over the last 1 axes is missing"],
    ),
    "a distribution that is not independent": (
        "posterior_sample",
        lambda self, features, n, batch: PosteriorSample(
            torch.zeros(4, 1, 3), Normal(torch.zeros(4, 3), 1.0)
        ),
        DENSITY,
        "returned log_prob of shape (4, 1, 3) from posterior_sample; (4, 1) was due",
        ["likely: a sum over the last 1 axes is missing"],
    ),
    "a distribution of other sentences": (
        "posterior_sample",
        lambda self, features, n, batch: PosteriorSample(
            torch.zeros(4, 1, 3),
            Independent(Normal(torch.zeros(5, 3), 1.0), 1, validate_args=False),
        ),
        DENSITY,
        "returned a distribution that raised ValueError: Value is not broadcastable with "
        "batch_shape+event_shape: "
        "torch.Size([1, 4, 3]) vs torch.Size([5, 3]).",
        [],
    ),
    "a centre with K": (
        "posterior_sample",
        lambda self, features, n, batch: PosteriorSample(
            torch.zeros(4, 1, 3), log_prob=torch.zeros(4, 1), centre=torch.zeros(4, 1, 3)
        ),
        DENSITY,
        "returned a mean of shape (4, 1, 3) from posterior_sample; (4, 3) was due",
        ["likely: a sum over the last 1 axes is missing"],
    ),
    "no density": (
        "posterior_sample",
        lambda self, features, n, batch: PosteriorSample(torch.zeros(4, 1, 3)),
        DENSITY,
        "provides posterior = 'density', but returned neither log_prob nor a distribution",
        [],
    ),
    "not Gaussian": (
        "posterior_sample",
        lambda self, features, n, batch: PosteriorSample(
            torch.zeros(4, 1, 3), log_prob=torch.zeros(4, 1)
        ),
        {**DENSITY, "posterior": "gaussian"},
        "provides posterior = 'gaussian', but returned no distribution with mean and stddev",
        [],
    ),
    "corruption that drops sentences": (
        "corrupt_input",
        lambda self, batch: batch.rows(slice(0, 2)),
        {},
        "did not return a Batch of 4 sentences from corrupt_input",
        [],
    ),
}


@pytest.mark.parametrize("case", VALUES)
def test_a_value_that_is_not_what_was_due(case, corpus):
    hook, value, provides, what, rest = VALUES[case]
    cls, names = owner(hook, value, **provides)
    came, more = message(cls, names, hook, corpus)
    assert (came, more) == (what, rest)


class BadPrior(Plugin):
    """A prior that forgets to sum over D and draws one latent too few."""

    declares = {"provides": {"prior": "density"}}

    @hookimpl
    def prior_logprob(self, z):
        return -z.square()

    @hookimpl
    def prior_sample(self, n):
        return torch.zeros(n - 1, self.sizes.latent)


def test_a_prior_of_the_wrong_shape():
    model = build(BadPrior)
    with pytest.raises(PluginError) as caught:
        model.prior_logprob(torch.zeros(4, 2, 3))
    assert str(caught.value) == (
        "'badprior' (aecore-badprior 1.0) returned a value of shape (4, 2, 3) from prior_logprob; "
        "(4, 2) was due\n"
        f"  hook:   prior_logprob(z), {place(BadPrior, 'prior_logprob')}\n"
        "  likely: a sum over the last 1 axes is missing"
    )
    with pytest.raises(
        PluginError, match=r"returned a value of shape \(4, 3\) from prior_sample; \(5, 3\) was due"
    ):
        model.prior_sample(5)


def test_a_condition_of_the_wrong_shape_stops_at_composition():
    class Flat(Plugin):
        @hookimpl
        def decoder_condition(self, z):
            return z.flatten()

    with pytest.raises(
        PluginError,
        match=r"returned a value of shape \(3,\) from decoder_condition; \(1, 1, C\) was due",
    ):
        build(Flat)


def test_a_condition_whose_size_changes(corpus):
    class Changes(Plugin):
        @hookimpl
        def decoder_condition(self, z):
            return z if len(z) == 1 else z[..., :2]

    with pytest.raises(
        PluginError,
        match=r"returned a value of shape \(4, 1, 2\) from decoder_condition; \(4, 1, 3\) was due",
    ):
        Joint(build(Changes), corpus).step(some_batch(B))


# Roles and critics


class NoRole(Plugin):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.net = nn.Linear(2, 2)


def test_parameters_without_a_role():
    with pytest.raises(PluginError) as caught:
        build(NoRole)
    assert str(caught.value) == (
        "the parameters 'net' of 'norole' have no role\n"
        '  due: roles = {"net": ...} with one of encoder, decoder, prior, critic, frozen'
    )
    assert caught.value.plugin == "norole"


def test_a_role_that_does_not_exist():
    class Unknown(NoRole):
        roles = {"net": "discriminator"}

    with pytest.raises(
        PluginError, match="the parameters 'net' of 'unknown' have the unknown role 'discriminator'"
    ):
        build(Unknown)


def test_a_parameter_that_is_no_module_needs_a_role_as_well():
    class Bare(Plugin):
        def __init__(self, config, sizes):
            super().__init__(config, sizes)
            self.scale = nn.Parameter(torch.ones(()))

    with pytest.raises(PluginError, match="the parameters 'scale' of 'bare' have no role"):
        build(Bare)


class Critic(NoRole):
    """A critic on z; ``asks`` names what it asks the step for."""

    roles = {"net": "critic"}
    critic = CriticConfig()
    asks = "z"

    def __init__(self, config, sizes):
        Plugin.__init__(self, config, sizes)
        self.net = nn.Linear(sizes.latent, 1)

    @hookimpl
    def critic_loss(self, step):
        return self.net(getattr(step, self.asks)).mean()


def test_a_critic_role_without_a_critic():
    class Forgot(Critic):
        critic = None

    with pytest.raises(
        PluginError, match=r"^'forgot' has parameters of role critic, but `critic` is None$"
    ):
        build(Forgot)


def test_a_critic_that_nothing_would_train():
    class Idle(NoRole):
        roles = {"net": "critic"}
        critic = CriticConfig()

    with pytest.raises(
        PluginError, match="'idle' has a critic, but no hook critic_loss that would train them"
    ):
        build(Idle)


def test_a_critic_loss_that_would_train_nothing():
    class Empty(Critic):
        roles = {"net": "encoder"}

    with pytest.raises(
        PluginError, match="'empty' has the hook critic_loss, but no parameters of role critic"
    ):
        build(Empty)


@pytest.mark.parametrize(
    "asks", ["rec", "kl", "kl_loss", "beta", "log_prior", "sample", "condition"]
)
def test_a_critic_that_asks_for_what_it_must_not_see(corpus, asks):
    joint = Joint(build(Critic), corpus)
    joint.model.plugin("critic").asks = asks
    before = snapshot(joint.model)
    with pytest.raises(PluginError) as caught:
        joint.step(some_batch(B))
    assert str(caught.value) == (
        "'critic' (aecore-critic 1.0) broke off in critic_loss: "
        f"critic_loss asked for step.{asks}, which a critic does not see\n"
        f"  hook:   critic_loss(step), {place(Critic, 'critic_loss')}\n"
        "  offered: batch, index, features, z, code, prior_sample(n), mean, gather"
    )
    assert changed(before, joint.model) == set()


def test_a_critic_loss_per_sentence(corpus):
    class PerSentence(Critic):
        @hookimpl
        def critic_loss(self, step):
            return self.net(step.code).squeeze(-1)

    with pytest.raises(
        PluginError, match=r"returned a value of shape \(4,\) from critic_loss; \(\) was due"
    ):
        Joint(build(PerSentence), corpus).step(some_batch(B))


# before_step and pre_train_init


@pytest.mark.parametrize(
    ("roles", "shown"),
    [(["enc", "decoder", "post"], "['enc', 'post']"), ("prior", "['p', 'r', 'i', 'o', 'r']")],
)
def test_before_step_returns_unknown_roles(corpus, roles, shown):
    class Before(Plugin):
        @hookimpl
        def before_step(self):
            return roles

    with pytest.raises(PluginError) as caught:
        Joint(build(Before), corpus).step(some_batch(B))
    assert str(caught.value) == (
        f"'before' (aecore-before 1.0) returned {shown} from before_step; parameter roles were "
        f"due\n"
        f"  hook:   before_step(), {place(Before, 'before_step')}\n"
        "  roles: encoder, decoder, prior, critic, frozen"
    )


def test_before_step_returns_none(corpus):
    class Nothing(Plugin):
        @hookimpl
        def before_step(self):
            pass

    with pytest.raises(PluginError, match="returned None from before_step"):
        Joint(build(Nothing), corpus).step(some_batch(B))


def loss(step):
    return step.rec.mean(1)


STAGES = {
    "a tuple": (
        lambda: (Stage("a", loss, steps=1),),
        "did not return a list of stages from pre_train_init",
    ),
    "no stages": (lambda: ["a"], "did not return a list of stages from pre_train_init"),
    "None": (lambda: None, "returned None from pre_train_init"),
    "the joint name": (
        lambda: [Stage("joint", loss, steps=1)],
        "returned a stage with the name 'joint'",
    ),
    "unknown roles": (
        lambda: [Stage("a", loss, trains=("enc",), steps=1)],
        "returned a stage with the roles ['enc']",
    ),
    "no length": (
        lambda: [Stage("a", loss)],
        "broke off in pre_train_init: the stage 'a' needs steps or epochs, one of the two",
    ),
    "two lengths": (
        lambda: [Stage("a", loss, steps=1, epochs=1)],
        "the stage 'a' needs steps or epochs, one of the two",
    ),
    "no roles": (
        lambda: [Stage("a", loss, trains=(), steps=1)],
        "the stage 'a' trains no parameter role",
    ),
}


@pytest.mark.parametrize("case", STAGES)
def test_wrong_stages(corpus, tmp_path, case):
    stages, what = STAGES[case]

    class Staged(Plugin):
        @hookimpl
        def pre_train_init(self, session):
            return stages()

    with pytest.raises(PluginError) as caught:
        trainer_of(build(Staged), corpus, tmp_path / "run")
    assert what in caught.value.what
    assert caught.value.what.startswith("'staged' (aecore-staged 1.0) ")
    assert f"hook:   pre_train_init(session), {place(Staged, 'pre_train_init')}" in str(
        caught.value
    )


def test_an_update_before_training(corpus, tmp_path):
    class Eager(Plugin):
        @hookimpl
        def pre_train_init(self, session):
            session.update(session.loss(session.batch()), ["encoder"])
            return []

    with pytest.raises(
        PluginError,
        match=r"broke off in pre_train_init: session\.update was called outside a training step",
    ):
        trainer_of(build(Eager), corpus, tmp_path / "run")


# What is not finite


def nan_like(step):
    return step.rec.new_full((len(step.batch),), float("nan"))


class RootAtZero(torch.autograd.Function):
    """0 forwards, an infinite gradient backwards: a finite loss that only the gradient norm gives
    away.
    """

    @staticmethod
    def forward(ctx, value):
        return value * 0

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("inf")


def diverging(hook, value, **provides):
    return owner(hook, value, **provides)[0]


class Ugly(Plugin):
    """A parameter of its own whose gradient is infinite."""

    roles = {"scale": "prior"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.scale = nn.Parameter(torch.ones(()))

    @hookimpl
    def extra_loss(self, step):
        return RootAtZero.apply(self.scale).expand(len(step.batch))


NOT_FINITE = {
    "extra_loss": (
        diverging("extra_loss", lambda self, step: nan_like(step)),
        "extra_loss",
        "'broken' (extra_loss)",
    ),
    "kl": (
        diverging("kl_term", lambda self, step: nan_like(step)[:, None], **PENALTY),
        "kl",
        "'broken' (kl_term)",
    ),
    "kl_loss": (
        diverging("kl_penalty", lambda self, kl, step: kl / 0.0),
        "kl_loss",
        "'broken' (kl_penalty)",
    ),
    "beta": (
        diverging("beta_schedule", lambda self, kl: float("inf")),
        "beta",
        "'broken' (beta_schedule)",
    ),
    "z": (
        diverging(
            "posterior_sample",
            lambda self, f, n, batch: PosteriorSample(
                f.new_full((4, 1, 3), float("nan")), log_prob=f.new_zeros(4, 1)
            ),
            **DENSITY,
        ),
        "z",
        "'broken' (posterior_sample)",
    ),
    "condition": (
        diverging("decoder_condition", lambda self, z: z + float("nan")),
        "condition",
        "'broken' (decoder_condition)",
    ),
    "gradient": (Ugly, "the gradient", "the parameters plugins.ugly.scale"),
}


@pytest.mark.parametrize("case", NOT_FINITE)
def test_a_step_that_is_not_finite_is_not_applied(corpus, case):
    cls, term, author = NOT_FINITE[case]
    joint = Joint(build(cls), corpus)
    before = snapshot(joint.model)
    with pytest.raises(DivergedError) as caught:
        joint.step(some_batch(B))
    what, origin, *rest = str(caught.value).split("\n  ")
    assert what == f"training stopped: {term} is not finite at step 0 of 'joint'"
    assert author in origin
    assert origin.startswith("from: ")
    assert rest == [
        "the step was not applied; the last checkpoint is kept",
        "try: a smaller train.lr or train.clip, or another setting of that plugin",
    ]
    assert changed(before, joint.model) == set()


def test_an_objective_that_is_not_finite_is_named(corpus):
    cls = diverging(
        "objective",
        lambda self, step: step.rec.mean(1) * float("nan"),
        objective_gradient=["encoder"],
    )
    with pytest.raises(DivergedError) as caught:
        Joint(build(cls), corpus).step(some_batch(B))
    assert "the objective is not finite" in str(caught.value)
    assert "'broken' (objective)" in str(caught.value)


class BreaksAtTwo(Plugin):
    @hookimpl
    def extra_loss(self, step):
        return nan_like(step) if step.index == 2 else torch.zeros(len(step.batch))


def test_the_last_checkpoint_is_kept_and_loads(corpus, tmp_path):
    from aecore.runs.checkpoint import load_tensors

    trainer = trainer_of(build(BreaksAtTwo), corpus, tmp_path / "run", checkpoint_seconds=0)
    with pytest.raises(DivergedError, match="extra_loss is not finite at step 2 of 'joint'"):
        trainer.run()
    tensors, meta = load_tensors(tmp_path / "run" / "checkpoint.safetensors")
    assert meta["state"]["loop"]["step"] == 2
    for name, value in trainer.model.state_dict().items():
        if name != "beta":
            assert torch.equal(tensors[f"model.{name}"], value), name


class Overconfident(Plugin):
    """Says that its draws are less likely than they are, so that the KL comes out negative."""

    declares = {"provides": DENSITY}
    shift = 0.0

    @hookimpl
    def posterior_sample(self, features, n_samples):
        normal = Independent(Normal(torch.zeros(len(features), self.sizes.latent), 1.0), 1)
        z = normal.rsample((n_samples,)).transpose(0, 1)
        return PosteriorSample(
            z, log_prob=normal.log_prob(z.transpose(0, 1)).transpose(0, 1) + self.shift
        )


@pytest.mark.parametrize(("shift", "stops"), [(-0.99, False), (-1.01, True), (-1e12, True)])
def test_a_monte_carlo_kl_below_minus_one_nat(corpus, shift, stops):
    joint = Joint(build(Overconfident), corpus)
    joint.model.plugin("overconfident").shift = shift
    before = snapshot(joint.model)
    if not stops:
        assert joint.step(some_batch(8))["kl"].item() == pytest.approx(shift, abs=1e-5)
        return
    with pytest.raises(DivergedError) as caught:
        joint.step(some_batch(8))
    assert changed(before, joint.model) == set()
    what, origin, _, way = str(caught.value).split("\n  ")
    assert way.startswith("try: aecore plugins check NAME")  # no learning rate mends a density
    assert (
        what
        == f"training stopped: the Monte Carlo KL is {shift:.3g} nats in the mean of the batch at "
        f"step 0 of 'joint'"
    )
    who = "'overconfident' (posterior_sample) and 'vae' (prior_logprob)"
    assert (
        origin
        == f"from: {who}: E[log q - log p] cannot be negative, so one of the densities is wrong"
    )


@pytest.mark.parametrize(
    ("sentences", "shift", "stops"),
    [(1, -7.9, False), (1, -8.1, True), (4, -1.9, False), (4, -2.1, True)],
)
def test_fewer_sentences_may_fall_lower(corpus, sentences, shift, stops):
    joint = Joint(build(Overconfident), corpus)
    joint.model.plugin("overconfident").shift = shift
    with pytest.raises(DivergedError) if stops else nullcontext():
        joint.step(some_batch(sentences))


def test_a_diverging_update_of_a_session_is_not_applied(corpus):
    class Inner(Plugin):
        @hookimpl
        def before_step(self, session):
            session.update(session.loss(session.batch()) * float("nan"), ["encoder"])
            return []

    joint = Joint(build(Inner), corpus)
    before = snapshot(joint.model)
    with pytest.raises(
        DivergedError, match=r"a gradient is not finite at step 0 of 'session\.update'"
    ):
        joint.step(some_batch(B))
    assert changed(before, joint.model) == set()


def test_every_one_of_these_is_an_error_without_traceback():
    assert issubclass(PluginError, AecoreError)
    assert issubclass(DivergedError, AecoreError)
    assert PluginError("x", plugin="p").exit_code == DivergedError("x").exit_code == 2


# Before the first hook


class ReadsModel(Plugin):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.size = self.model.sizes


class Forgets(Plugin):
    def __init__(self, config, sizes):
        pass


class AssignsFirst(Plugin):
    def __init__(self, config, sizes):
        self.layer = nn.Linear(1, 1)


class Leaves(Plugin):
    def __init__(self, config, sizes):
        raise SystemExit(0)


@pytest.mark.parametrize(
    ("cls", "what", "hint"),
    [
        (ReadsModel, "raised AttributeError in its constructor", "likely: self.model is there"),
        (Forgets, "leaves out super", ""),
        (AssignsFirst, "raised AttributeError in its constructor", "likely: super"),
        (Leaves, "raised SystemExit in its constructor", ""),
    ],
)
def test_a_constructor_that_breaks_has_an_author(cls, what, hint):
    with pytest.raises(PluginError) as caught:
        build(cls)
    assert f"'{cls.__name__.lower()}' (aecore-{cls.__name__.lower()} 1.0)" in str(caught.value)
    assert what in str(caught.value)
    assert hint in str(caught.value)
    if "raised" in what:
        assert any(
            "test_errors_of_plugins.py:" in line or "module.py" in line
            for line in caught.value.evidence
        )
