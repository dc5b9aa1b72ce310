"""docs/hooks.md and the hook contracts say the same, and every hook is really called."""

import inspect
import re
from pathlib import Path

import pytest
import torch
from support import SIZES, Joint, build, some_batch, trainer_of
from torch import nn
from torch.distributions import Independent, Normal

from aecore.api import opened
from aecore.autoencoder import Sizes
from aecore.batch import Batch
from aecore.catalogue import Catalogue
from aecore.data.vocabulary import Vocabulary
from aecore.evaluation.protocol import evaluate_split
from aecore.generation.decode import decode
from aecore.hookspec import HOOKS, hookimpl
from aecore.manifest import Manifest
from aecore.model import Model
from aecore.plugin import CriticConfig, Plugin, check_class, implementations
from aecore.posterior import PosteriorSample
from aecore.run import Run
from aecore.runs.config import build_config
from aecore.step import Step
from aecore.streams import Streams
from aecore.training.session import Session
from aecore.training.stages import Stage
from aecore.transfer import TransferRequest

PAGE = (Path(__file__).parents[1] / "docs" / "hooks.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### `(.+?)`\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S))
IMPORTS = re.search(r"^```python\n(.*?)^```", PAGE, re.M | re.S)[1]


def section(name):
    return SECTIONS[HOOKS[name].signature]


def examples():
    """hook -> the class in its example."""
    namespace = {"__name__": "docs_hooks"}
    exec(compile(IMPORTS, "docs/hooks.md", "exec", dont_inherit=True), namespace)
    found = {}
    for name in HOOKS:
        blocks = re.findall(r"^```python\n(.*?)^```", section(name), re.M | re.S)
        assert len(blocks) == 1, name
        before = set(namespace)
        exec(compile(blocks[0], f"docs/hooks.md: {name}", "exec", dont_inherit=True), namespace)
        (made,) = [value for key, value in namespace.items() if key not in before]
        found[name] = made
    return found


#: What the manifests of the examples would have to say of the owner hooks.
PROVIDES = {
    "posterior_sample": {"posterior": "density", "geometry": "euclidean"},
    "prior_logprob": {"prior": "density", "geometry": "euclidean"},
    "kl_term": {"kl": "penalty", "kl_estimator": "penalty", "kl_gradient": ["encoder"]},
    "objective": {"objective_gradient": ["encoder", "decoder"]},
}


def test_the_page_documents_every_hook_by_its_signature_and_no_other():
    assert set(SECTIONS) == {hook.signature for hook in HOOKS.values()}


@pytest.mark.parametrize("name", HOOKS)
def test_a_section_gives_kind_and_every_argument(name):
    hook, text = HOOKS[name], section(name)
    assert re.match(rf"\n\*\*{hook.kind}\b", text), (
        f"the section of {name} must begin with **{hook.kind}.**"
    )
    bullets = re.findall(r"^- `(\w+)`:", text, re.M)
    assert tuple(bullets) == hook.arguments
    for word in ("When", "Returns", "Do not", "Made for"):
        assert f"\n- {word}: " in text, f"{name}: {word}"


@pytest.mark.parametrize("name", HOOKS)
def test_a_contract_says_when_what_and_returns(name):
    contract = HOOKS[name].contract
    assert "When:" in contract
    assert "Returns:" in contract
    described = re.findall(
        r"^    (\w+):", contract.partition("Args:")[2].partition("Returns:")[0], re.M
    )
    assert tuple(described) == HOOKS[name].arguments


@pytest.mark.parametrize("name", HOOKS)
def test_the_shapes_of_the_page_are_those_of_the_contract(name):
    def shapes(text):
        return set(re.findall(r"\((?:\.\.\.|B|n|N|K)[^()`]*\)", text))

    returns = HOOKS[name].contract.partition("Returns:")[2].partition("Do not:")[0]
    assert shapes(returns) <= shapes(section(name))


@pytest.mark.parametrize("name", HOOKS)
def test_an_example_implements_its_hook_and_trains(name, corpus):
    cls = examples()[name]
    hooks = {found.hook for found in implementations(cls)}
    assert name in hooks
    check_class(cls, cls.__name__, "docs", Manifest(summary="", api=">=1", hooks=tuple(hooks)))
    cls.declares = {"provides": {k: v for hook in hooks for k, v in PROVIDES.get(hook, {}).items()}}
    joint = Joint(build(cls), corpus)
    for seed in range(2):
        assert torch.isfinite(joint.step(some_batch(seed=seed))["loss"])


def test_what_the_page_offers_is_there():
    """Every ``step.x``, ``model.x`` and ``session.x`` of the page is an attribute."""
    model = build()
    offered = {
        "step": Step(model, some_batch()),
        "model": model,
        "session": Session(model, None, Streams(0), 4, 4, 1),
    }
    for word, thing in offered.items():
        # step.z is the detached view's
        named = set(re.findall(rf"(?<![\w.]){word}\.(\w+)", PAGE)) - {"z"}
        missing = [
            name for name in named if not hasattr(type(thing), name) and name not in thing.__dict__
        ]
        assert len(named) > 5
        assert [name for name in missing if name not in dict(model.named_buffers())] == []


def recorder(*names):
    """A decorator's worth of calls: hook -> the arguments of each call."""
    return {name: [] for name in names}


CALLS = recorder(*HOOKS)


def called(hook, **arguments):
    CALLS[hook].append(arguments)


class Everything(Plugin):
    """Implements every hook, the plainest way, and records each call."""

    declares = {
        "provides": {
            "posterior": "gaussian",
            "prior": "density",
            "kl": "sentence",
            "kl_estimator": "monte-carlo",
            "kl_gradient": ["encoder", "prior"],
            "objective_gradient": ["encoder", "decoder"],
            "geometry": "euclidean",
        }
    }
    roles = {"head": "encoder", "net": "critic"}
    critic = CriticConfig(steps=3)
    samples = 2

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.head = nn.Linear(sizes.hidden, sizes.latent)
        self.net = nn.Linear(sizes.latent, 1)

    @hookimpl
    def posterior_sample(self, features, n_samples, batch):
        called("posterior_sample", features=features, n_samples=n_samples, batch=batch)
        mean = self.head(features)
        mean, log_variance = self.model.posterior_params(mean, torch.zeros_like(mean), batch)
        normal = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
        return PosteriorSample(normal.rsample((n_samples,)).transpose(0, 1), normal)

    @hookimpl
    def posterior_params(self, mean, log_variance, batch):
        called("posterior_params", mean=mean, log_variance=log_variance, batch=batch)
        return mean, log_variance

    @hookimpl
    def prior_logprob(self, z):
        called("prior_logprob", z=z)
        return -z.square().sum(-1)

    @hookimpl
    def prior_sample(self, n):
        called("prior_sample", n=n)
        return torch.randn(n, self.sizes.latent)

    @hookimpl
    def decoder_condition(self, z):
        called("decoder_condition", z=z)
        return z.repeat_interleave(2, -1)

    @hookimpl
    def pre_train_init(self, session):
        called("pre_train_init", session=session)
        return [Stage("warm", lambda step: step.rec.mean(1), steps=2)]

    @hookimpl
    def before_step(self, session, batch):
        called("before_step", session=session, batch=batch)
        return []

    @hookimpl
    def corrupt_input(self, batch):
        called("corrupt_input", batch=batch)
        return batch

    @hookimpl
    def decoder_input(self, tokens, batch):
        called("decoder_input", tokens=tokens, batch=batch)
        return tokens

    @hookimpl
    def critic_loss(self, step):
        called("critic_loss", step=step)
        return self.net(step.z).mean() - self.net(step.prior_sample()).mean()

    @hookimpl
    def kl_term(self, step):
        called("kl_term", step=step)
        return -step.log_prior.mean(1, keepdim=True)

    @hookimpl
    def kl_penalty(self, kl, step):
        called("kl_penalty", kl=kl, step=step)
        return kl

    @hookimpl
    def beta_schedule(self, index, epoch, total_steps, kl):
        called("beta_schedule", index=index, epoch=epoch, total_steps=total_steps, kl=kl)
        return 0.5

    @hookimpl
    def objective(self, step):
        called("objective", step=step)
        return step.rec.mean(1) + step.beta * step.kl_loss.sum(1)

    @hookimpl
    def extra_loss(self, step):
        called("extra_loss", step=step)
        return step.rec.new_zeros(len(step.batch))

    @hookimpl
    def latent_map(self, z, request):
        called("latent_map", z=z, request=request)
        return z


@pytest.fixture(scope="module")
def calls(corpus, tmp_path_factory):
    """phase -> hook -> calls, of a run with a stage of 2 steps and 3 joint steps, its evaluations,
    and a generation.
    """
    for made in CALLS.values():
        made.clear()
    model = build(Everything)
    found = {}

    def close(phase):
        found[phase] = {name: list(made) for name, made in CALLS.items()}
        for made in CALLS.values():
            made.clear()

    close("composition")
    trainer = trainer_of(model, corpus, tmp_path_factory.mktemp("run") / "run")
    close("start")
    while not trainer.state.joint:
        trainer.advance()
    close("stage")
    while trainer.state.step < 3:
        trainer.advance()
    close("joint")
    evaluate_split(model, corpus.valid, Streams(0), 4)
    close("evaluation")
    decode(model, corpus.vocabulary, model.prior_sample(5))
    model.latent_map(torch.zeros(2, model.sizes.latent), TransferRequest())
    close("generation")
    return found


def test_every_hook_is_called(calls):
    unheard = [name for name in HOOKS if not any(phase[name] for phase in calls.values())]
    assert unheard == []


def test_every_argument_that_a_hook_offers_is_passed(calls):
    for name, hook in HOOKS.items():
        made = [call for phase in calls.values() for call in phase[name]]
        assert {tuple(call) for call in made} == {hook.arguments}


def test_how_often_each_hook_is_called_and_where(calls):
    counts = {
        phase: {name: len(made) for name, made in hooks.items() if made}
        for phase, hooks in calls.items()
    }
    assert counts["composition"] == {"decoder_condition": 1}
    assert counts["start"] == {"pre_train_init": 1}
    assert counts["stage"] == {
        "posterior_sample": 2,
        "posterior_params": 2,
        "decoder_condition": 2,
        "corrupt_input": 2,
        "decoder_input": 2,
    }
    assert counts["joint"] == {
        "posterior_sample": 3,
        "posterior_params": 3,
        "prior_logprob": 3,
        "prior_sample": 9,
        "decoder_condition": 3,
        "before_step": 3,
        "corrupt_input": 3,
        "decoder_input": 3,
        "critic_loss": 9,
        "kl_term": 3,
        "kl_penalty": 3,
        "beta_schedule": 3,
        "objective": 3,
        "extra_loss": 3,
    }
    batches = 3  # 10 sentences, 4 at a time
    assert counts["evaluation"] == {
        "posterior_sample": batches,
        "posterior_params": batches,
        "prior_logprob": 10,
        "kl_term": 10,
        "kl_penalty": batches,
        "decoder_condition": batches,
        "objective": batches,
    }
    assert counts["generation"] == {
        "prior_sample": 1,
        "decoder_condition": 1,
        "latent_map": 1,
    }


def test_what_the_schedule_is_told(calls):
    made = calls["joint"]["beta_schedule"]
    assert [call["index"] for call in made] == [0, 1, 2]
    assert [call["epoch"] for call in made] == [0, 1 / 3, 2 / 3]
    assert {call["total_steps"] for call in made} == {3}
    assert all(call["kl"].shape == () and not call["kl"].requires_grad for call in made)


def test_k_is_the_most_that_a_plugin_asks_for_and_one_in_evaluation(calls):
    assert {call["n_samples"] for call in calls["joint"]["posterior_sample"]} == {2}
    assert {call["n_samples"] for call in calls["evaluation"]["posterior_sample"]} == {1}


def test_the_condition_size_is_learnt_from_the_plugin(calls):
    assert calls["composition"]["decoder_condition"][0]["z"].shape == (1, 1, SIZES.latent)


def test_a_run_of_the_defaults_calls_their_hooks_too(tmp_path, monkeypatch):
    """The same through the public way: a run without plugins, whose default hooks all answer."""
    from aecore.vae import Vae

    heard = set()
    for name in [found.hook for found in implementations(Vae)]:
        original = getattr(Vae, name)

        def heard_of(*arguments, _name=name, _original=original):
            heard.add(_name)
            return _original(*arguments)

        heard_of.__wrapped__ = original
        heard_of.aecore_impl = original.aecore_impl
        monkeypatch.setattr(Vae, name, heard_of)
    config = build_config(
        None, {"data": {"spec": "toy[:64]"}, "train": {"max_steps": 2, "device": "cpu"}}, {}, []
    )
    with opened(config, tmp_path / "run") as trainer:
        assert isinstance(trainer.model, Model)
        while not trainer.state.checked:
            trainer.advance()
    run = Run.load(tmp_path / "run", "cpu", Catalogue.discover())
    assert isinstance(run.vocabulary, Vocabulary)
    run.sample(2)
    # the analytic KL does not ask for it
    assert heard == {found.hook for found in implementations(Vae)} - {"prior_logprob"}


@pytest.mark.parametrize("described", [Batch, PosteriorSample, Sizes, CriticConfig, Stage])
def test_the_page_names_every_field_of_what_a_plugin_gets_and_gives(described):
    (table,) = re.findall(rf"(?m)^\| `{described.__name__}` \|.*\n(?:\|.*\n)+", PAGE)
    fields = {name for name, _ in inspect.getmembers(described, lambda v: isinstance(v, property))}
    fields |= set(inspect.signature(described).parameters)
    assert {name for name in fields if not name.startswith(("model_", "_"))} <= set(
        re.findall(r"`(\w+)", table)
    )
