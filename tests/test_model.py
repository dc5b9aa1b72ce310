"""The way of a batch, in numbers: shapes, padding, the decoder by hand, the divergences, and who is
moved by what.
"""

import math
from itertools import pairwise

import pytest
import torch
from support import SIZES, Joint, batch_of, build, changed, snapshot, some_batch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from aecore.autoencoder import Decoder
from aecore.batch import Batch
from aecore.errors import CompositionError, PluginError
from aecore.geometry import Ball, Euclidean, WrappedNormal
from aecore.hookspec import hookimpl
from aecore.model import evaluating
from aecore.plugin import MAIN_ROLES, ROLES, CriticConfig, Plugin, PluginConfig
from aecore.posterior import PosteriorSample
from aecore.step import Step
from aecore.streams import stream
from aecore.vae import gaussian_kl

B, K, D, H = 7, 3, SIZES.latent, SIZES.hidden


def lively(model, scale=0.7):
    """Weights large enough that every part of the network matters."""
    with torch.no_grad(), stream("lively"):
        for parameter in model.parameters():
            parameter.normal_(0, scale)
    return model.eval()


# Shapes


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("sentences", [1, 7])
def test_shapes_on_the_way(sentences, samples):
    model, batch = build(), some_batch(sentences)
    step = Step(model, batch, samples=samples)
    assert step.features.shape == (sentences, H)
    assert step.sample.z.shape == (sentences, samples, D)
    assert (
        step.sample.log_prob.shape == step.log_prior.shape == step.rec.shape == (sentences, samples)
    )
    assert step.code.shape == (sentences, D)
    assert step.condition.shape == (sentences, samples, D)
    assert step.kl.shape == step.kl_loss.shape == (sentences, D)
    assert step.beta.shape == ()
    assert model.objective(step).shape == (sentences,)
    assert step.prior_sample().shape == (sentences, D)
    assert step.prior_sample(2).shape == (2, D)
    assert model.nll(batch, step.sample.z).shape == (sentences, samples)
    assert model.code(batch).shape == (sentences, D)
    view = step.detached()
    assert (view.z.shape, view.code.shape, view.features.shape) == (
        (sentences, samples, D),
        (sentences, D),
        (sentences, H),
    )
    assert not any(
        value.requires_grad for value in (view.z, view.code, view.features, view.prior_sample())
    )


def test_z_may_have_any_leading_axes_for_prior_and_condition():
    model = build()
    for shape in ((D,), (2, D), (2, 3, 4, D)):
        assert model.prior_logprob(torch.zeros(shape)).shape == shape[:-1]
        assert model.condition(torch.zeros(shape)).shape == shape


def test_features_of_embedded_words_are_the_features():
    model, batch = lively(build()), some_batch(B)
    embedded = model.encoder.embedding(batch.tokens)
    assert torch.equal(
        model.features_of_embedded(embedded, batch.lengths + 1), model.features(batch)
    )


# Padding


def alone(batch, row):
    return batch.rows(slice(row, row + 1))


def test_padding_changes_nothing():
    model, batch = lively(build()), batch_of([4], [5, 6, 7, 8, 9, 10], [7, 7], width=11)
    z = torch.randn(3, K, D)
    features, energies = model.features(batch), model.nll(batch, z)
    for row in range(3):
        one = alone(batch, row)
        assert one.tokens.shape[1] == int(one.lengths) + 1
        assert torch.allclose(model.features(one)[0], features[row], atol=1e-5)
        assert torch.allclose(
            model.nll(one, z[row : row + 1])[0], energies[row], atol=1e-5, rtol=1e-6
        )


def test_what_stands_in_the_pads_does_not_matter():
    model, batch = lively(build()), batch_of([4], [5, 6, 7, 8])
    z = torch.randn(2, K, D)
    pads = torch.arange(batch.tokens.shape[1]) > batch.lengths.unsqueeze(1)
    odd = Batch(batch.tokens.masked_fill(pads, 9), batch.lengths, batch.index)
    assert not torch.equal(odd.tokens, batch.tokens)
    assert torch.equal(model.features(odd), model.features(batch))
    assert torch.equal(model.nll(odd, z), model.nll(batch, z))


def test_every_word_and_the_end_count():
    """Changing any one token of a sentence changes its features, and its energy at a given z."""
    model, batch, z = lively(build()), batch_of([4, 5, 6]), torch.randn(1, 1, D)
    for place in range(1, 4):
        tokens = batch.tokens.clone()
        tokens[0, place] = 9
        other = Batch(tokens, batch.lengths, batch.index)
        assert not torch.allclose(model.features(other), model.features(batch), atol=1e-4)
        assert not torch.allclose(model.nll(other, z), model.nll(batch, z), atol=1e-3)
    shorter = batch_of([4, 5])
    assert model.nll(shorter, z).item() != pytest.approx(model.nll(batch, z).item(), abs=1e-3)


# The decoder, by hand


def lstm_step(lstm, x, h, c):
    """One step of an LSTM, from its equations."""
    gates = x @ lstm.weight_ih_l0.T + lstm.bias_ih_l0 + h @ lstm.weight_hh_l0.T + lstm.bias_hh_l0
    i, f, g, o = gates.chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def nll_by_hand(decoder, ids, condition):
    """-log p(x | condition) of one sentence ``<s> ... </s>``, a word at a time."""
    c = decoder.bridge.weight @ condition
    h, total = torch.tanh(c), 0.0
    for word, target in pairwise(ids):
        h, c = lstm_step(decoder.lstm, torch.cat([decoder.embedding.weight[word], condition]), h, c)
        logits = decoder.output.weight @ h
        total += math.log(sum(math.exp(logit) for logit in logits.tolist())) - logits[target].item()
    return total


@pytest.mark.parametrize("grad", [True, False])
def test_the_decoder_against_its_equations(grad):
    model, batch = lively(build()).double(), some_batch(B)
    z = torch.randn(B, K, D, dtype=torch.float64)
    with torch.set_grad_enabled(grad):  # without gradients the output layer works in chunks
        energies = model.nll(batch, z).detach()
    for row in range(B):
        ids = batch.tokens[row, : batch.lengths[row] + 1].tolist()
        for k in range(K):
            with torch.no_grad():
                expected = nll_by_hand(model.decoder, ids, z[row, k])
            assert energies[row, k].item() == pytest.approx(expected, abs=1e-6)


def test_the_encoder_against_its_equations():
    model, batch = lively(build()).double(), some_batch(B)
    features = model.features(batch)
    for row in range(B):
        h = c = torch.zeros(H, dtype=torch.float64)
        for word in batch.tokens[row, : batch.lengths[row] + 1]:
            h, c = lstm_step(model.encoder.lstm, model.encoder.embedding.weight[word], h, c)
        assert torch.allclose(features[row], h, atol=1e-12)


def test_chunks_of_the_output_layer_change_nothing(monkeypatch):
    model, batch, z = lively(build()), some_batch(B), torch.randn(B, K, D)
    with torch.no_grad():
        whole = model.nll(batch, z)
        monkeypatch.setattr("aecore.crossentropy.EVALUATION_CHUNK", 5)
        assert torch.allclose(model.nll(batch, z), whole, atol=1e-5)


def test_k_samples_are_k_separate_calls():
    model, batch, z = lively(build()), some_batch(B), torch.randn(B, K, D)
    together = model.nll(batch, z)
    for k in range(K):
        assert torch.allclose(
            model.nll(batch, z[:, k : k + 1]).squeeze(1), together[:, k], atol=1e-5
        )
    assert not torch.allclose(together[:, 0], together[:, 1], atol=1e-2)


def test_generation_walks_the_same_decoder():
    """Stepping with ``advance`` along a sentence gives the energy that ``nll`` gives."""
    model, batch, z = lively(build()), batch_of([4, 9, 5]), torch.randn(1, 1, D)
    rows = model.condition(z)[:, 0]
    state, total = model.decoder.initial(rows), 0.0
    for word, target in zip(batch.inputs[0], batch.targets[0], strict=True):
        logits, state = model.decoder.advance(word.unsqueeze(0), rows, state)
        total -= logits.log_softmax(-1)[0, target].item()
    assert model.nll(batch, z).item() == pytest.approx(total, abs=1e-5)


def test_without_a_condition_the_decoder_is_a_language_model():
    class Nothing(Plugin):
        @hookimpl
        def decoder_condition(self, z):
            return z[..., :0]

    model, batch = lively(build(Nothing)), some_batch(B)
    assert model.decoder.lstm.input_size == SIZES.embedding
    one, two = model.nll(batch, torch.randn(B, 1, D)), model.nll(batch, torch.randn(B, 1, D))
    assert torch.equal(one, two)


def test_dropout_acts_in_training_alone():
    model, batch, z = lively(build(dropout=(0.5, 0.5))), some_batch(B), torch.randn(B, 1, D)
    assert torch.equal(model.nll(batch, z), model.nll(batch, z))
    model.train()
    assert not torch.equal(model.nll(batch, z), model.nll(batch, z))
    with evaluating(model):
        assert torch.equal(model.nll(batch, z), model.nll(batch, z))
    assert model.training


def test_dropout_acts_on_words_and_not_on_the_condition():
    decoder = Decoder(SIZES, D, 0.25, 0.0).train()
    inputs = decoder._inputs(torch.ones(4, 500, SIZES.embedding), torch.ones(4, D))
    assert torch.equal(inputs[..., SIZES.embedding :], torch.ones(4, 500, D))
    assert (inputs[..., : SIZES.embedding] == 0).float().mean().item() == pytest.approx(
        0.25, abs=0.03
    )


@pytest.mark.parametrize(
    ("dropout", "varies"), [((0.0, 0.0), False), ((0.5, 0.0), True), ((0.0, 0.5), True)]
)
def test_each_dropout_has_its_own_rate(dropout, varies):
    model, batch, z = lively(build(dropout=dropout)).train(), some_batch(B), torch.randn(B, 1, D)
    assert torch.equal(model.nll(batch, z), model.nll(batch, z)) != varies


def test_dropout_before_the_output_layer_is_unbiased_there(monkeypatch):
    """Half of the states are zero and the rest doubled, when they reach the output layer, each
    token by a mask of its own.
    """
    model, seen = lively(build(dropout=(0.0, 0.5))).train(), []

    def output(states, targets, weight, operands):
        seen.append(states)
        return states.new_zeros(len(states))

    monkeypatch.setattr("aecore.autoencoder.token_nll", output)
    batch, z = some_batch(200), torch.zeros(200, 1, D)
    for _ in range(20):
        model.nll(batch, z)
    dropped = torch.stack(seen)
    model.eval().nll(batch, z)
    whole = seen[-1].expand_as(dropped)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.5, abs=0.01)
    # hidden 6: most of the 64 masks occur
    assert len((dropped[0] == 0).unique(dim=0)) > 2 ** (SIZES.hidden - 1)
    kept = dropped != 0
    assert torch.allclose(dropped[kept], 2 * whole[kept], atol=1e-6)


# Initialisation


def test_initial_weights_are_within_their_bounds():
    model = build()
    for name, parameter in model.named_parameters():
        bound = 0.1 if "embedding" in name else 0.01
        assert parameter.abs().max() <= bound, name
        assert parameter.abs().max() > 0.5 * bound, name
    assert set(dict(model.plugin("vae").named_parameters())) == {"head.weight"}  # no bias


def test_encoder_and_decoder_embeddings_are_separate_and_the_output_is_untied():
    model = build()
    weights = [
        model.encoder.embedding.weight,
        model.decoder.embedding.weight,
        model.decoder.output.weight,
    ]
    assert len({weight.data_ptr() for weight in weights}) == 3
    assert model.decoder.output.bias is None
    assert model.decoder.bridge.bias is None


def test_a_seed_gives_the_weights_and_a_plugin_takes_none_of_the_others():
    class Noisy(Plugin):
        roles = {"net": "prior"}

        def __init__(self, config, sizes):
            super().__init__(config, sizes)
            self.net = nn.Linear(50, 50)

    plain, again, other, with_plugin = build(), build(), build(seed=1), build(Noisy)
    assert changed(snapshot(plain), again) == set()
    assert changed(snapshot(plain), other) == set(dict(plain.named_parameters()))
    shared = dict(with_plugin.named_parameters())
    assert all(torch.equal(value, shared[name]) for name, value in plain.named_parameters())


# Roles


class Many(Plugin):
    """Parameters of every role, one of them a bare tensor, and a critic."""

    roles = {"e": "encoder", "d": "decoder", "p": "prior", "c": "critic", "f": "frozen"}
    critic = CriticConfig()

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.e, self.d, self.p, self.f = (nn.Linear(1, 1) for _ in range(4))
        self.c = nn.Parameter(torch.ones(sizes.latent))

    @hookimpl
    def critic_loss(self, step):
        return (self.c * step.z).sum()

    @hookimpl
    def extra_loss(self, step):
        parts = sum(
            module(step.code[:, :1]).squeeze(1) for module in (self.e, self.d, self.p, self.f)
        )
        return parts + (self.c * step.code).sum(1)


def test_roles_partition_all_parameters():
    model = build(Many)
    by_role = {role: {id(p) for p in model.params(role)} for role in ROLES}
    assert sum(len(ids) for ids in by_role.values()) == len(list(model.parameters()))
    assert set().union(*by_role.values()) == {id(p) for p in model.parameters()}
    assert len(by_role["critic"]) == 1
    assert [len(by_role[role]) for role in ("prior", "frozen")] == [2, 2]
    assert id(model.plugin("vae").head.weight) in by_role["encoder"]
    assert {id(p) for p in model.decoder.parameters()} < by_role["decoder"]


def test_named_parameters_have_the_names_of_the_state_dict():
    model = build(Many)
    state = model.state_dict()
    for name, parameter in model.named_params(*ROLES):
        assert state[name].data_ptr() == parameter.data_ptr()


def test_nothing_is_built_for_a_hook_that_somebody_else_owns():
    class Own(Plugin):
        declares = {"provides": {"posterior": "gaussian", "geometry": "euclidean"}}

        @hookimpl
        def posterior_sample(self, features, n_samples):
            normal = Independent(Normal(features[:, :D], 1.0), 1)
            return PosteriorSample(normal.rsample((n_samples,)).transpose(0, 1), normal)

    assert list(build(Own).plugin("vae").parameters()) == []


def test_a_joint_step_moves_the_main_roles_and_no_other(corpus):
    joint = Joint(build(Many), corpus)
    joint.phase.critics.train = lambda view: None
    before = snapshot(joint.model)
    joint.step(some_batch(B))
    moved = changed(before, joint.model)
    assert {"plugins.many.c", "plugins.many.f.weight", "plugins.many.f.bias"} & moved == set()
    main = {name for name, _ in joint.model.named_params(*MAIN_ROLES)}
    assert moved == main


def test_critics_move_themselves_and_nobody_else(corpus):
    joint = Joint(build(Many), corpus)
    before = snapshot(joint.model)
    joint.phase.critics.train(Step(joint.model, some_batch(B), training=True).detached())
    assert changed(before, joint.model) == {"plugins.many.c"}
    assert all(parameter.grad is None for parameter in joint.model.parameters())


def test_a_critic_is_clamped_and_trained_as_often_as_it_says(corpus):
    class Clamped(Many):
        critic = CriticConfig(optimiser="sgd", lr=1.0, steps=4, clamp=0.01)
        calls = 0

        @hookimpl
        def critic_loss(self, step):
            self.calls += 1
            return 100 * self.c.sum()

    joint = Joint(build(Clamped), corpus)
    joint.step(some_batch(B))
    assert joint.model.plugin("clamped").calls == 4
    assert torch.equal(joint.model.plugin("clamped").c, torch.full((D,), -0.01))


class Leaves(Plugin):
    leaves = ()

    @hookimpl
    def before_step(self):
        return list(self.leaves)


@pytest.mark.parametrize(
    "leaves", [("encoder",), ("decoder",), ("prior",), ("encoder", "prior"), ("critic",)]
)
def test_roles_that_before_step_names_are_left_alone_bit_for_bit(corpus, leaves):
    joint = Joint(build(Leaves, Many), corpus)
    joint.step(some_batch(B))  # momentum is there from the first step
    joint.model.plugin("leaves").leaves = leaves
    before = snapshot(joint.model)
    joint.step(some_batch(B, seed=1))
    moved = changed(before, joint.model)
    still = {name for name, _ in joint.model.named_params(*leaves)}
    assert moved & still - {"plugins.many.c"} == set()
    assert (
        moved - {"plugins.many.c"}
        == {name for name, _ in joint.model.named_params(*MAIN_ROLES)} - still
    )


def test_session_updates_move_their_roles_alone(corpus):
    class Inner(Plugin):
        @hookimpl
        def before_step(self, session):
            before = snapshot(session.model)
            norm = session.update(session.loss(session.batch()), ["encoder"])
            self.moved = changed(before, session.model)
            self.norm = norm
            self.after = snapshot(session.model)
            return ["encoder"]

    joint = Joint(build(Inner), corpus)
    joint.step(some_batch(B))
    inner, model = joint.model.plugin("inner"), joint.model
    encoder = {name for name, _ in model.named_params("encoder")}
    assert inner.moved == encoder
    assert inner.norm > 0
    assert changed(inner.after, model) == {name for name, _ in model.named_params("decoder")}


def test_the_loss_of_a_session_is_what_the_joint_step_minimises(corpus):
    """Extra losses included: an encoder that was updated on less would chase another bound than the
    decoder's.
    """

    class Extra(Plugin):
        @hookimpl
        def before_step(self, session, batch):
            with stream("the same noise"):
                self.whole = session.loss(batch).item()
            with stream("the same noise"):
                step = Step(
                    session.model, batch, training=True, schedule=lambda _: session.model.beta
                )
                self.part = session.model.objective(step).mean().item()
            return []

        @hookimpl
        def extra_loss(self, step):
            return 7.0 + 0 * step.rec.mean(1)

    joint = Joint(build(Extra), corpus)
    joint.step(some_batch(B))
    extra = joint.model.plugin("extra")
    assert extra.whole == pytest.approx(extra.part + 7.0, abs=1e-5)


def test_the_gradient_is_clipped_over_encoder_and_decoder_together(corpus):
    joint = Joint(build(), corpus, optimiser="sgd", lr=1.0, clip=0.01, warmup_steps=0)
    before = snapshot(joint.model)
    norm = joint.step(some_batch(B))["grad_norm"].item()
    moves = [value.detach() - before[name] for name, value in joint.model.named_parameters()]
    assert norm > 0.01
    assert torch.cat([move.flatten() for move in moves]).norm().item() == pytest.approx(
        0.01, rel=1e-3
    )


# Gradients and divergences


def test_the_gradient_reaches_the_encoder_by_both_terms():
    model = lively(build())
    for term in ("rec", "kl"):
        step = Step(model, some_batch(B))
        gradients = torch.autograd.grad(getattr(step, term).sum(), model.params("encoder"))
        assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_the_analytic_divergence_against_torch():
    mean, scale = (
        torch.randn(B, D, dtype=torch.float64),
        torch.rand(B, D, dtype=torch.float64) + 0.1,
    )
    expected = kl_divergence(
        Normal(mean, scale), Normal(torch.zeros(()).double(), torch.ones(()).double())
    )
    assert torch.allclose(gaussian_kl(mean, scale), expected, atol=1e-12)
    model = lively(build()).double()
    step = Step(model, some_batch(B), samples=K)
    head = step.features @ model.plugin("vae").head.weight.T
    normal = Normal(head[:, :D], (head[:, D:] / 2).exp())
    assert torch.allclose(step.kl, kl_divergence(normal, Normal(0.0, 1.0)), atol=1e-12)
    assert torch.allclose(step.code, normal.mean, atol=1e-12)


class SamePrior(Plugin):
    """The standard normal again, as somebody else's density: the defaults fall back to
    Monte Carlo.
    """

    declares = {"provides": {"prior": "density"}}

    @hookimpl
    def prior_logprob(self, z):
        return Normal(0.0, 1.0).log_prob(z).sum(-1)

    @hookimpl
    def prior_sample(self, n):
        return torch.randn(n, D)


def test_monte_carlo_agrees_with_the_closed_form():
    exact, sampled = lively(build()), lively(build(SamePrior))
    batch, draws = some_batch(B), 20_000
    assert (exact.level["kl"], sampled.level["kl"]) == ("dimension", "sentence")
    with torch.no_grad(), stream("monte-carlo"):
        expected = Step(exact, batch).kl.sum(1)
        step = Step(sampled, batch, samples=draws)
        assert step.kl.shape == (B, 1)
        values = step.sample.log_prob - step.log_prior  # (B, K)
        error = values.std(1) / draws**0.5
    assert torch.allclose(step.kl.squeeze(1), values.mean(1), atol=1e-4)
    assert error.max() < 0.05 * expected.max()
    assert ((step.kl.squeeze(1) - expected).abs() < 4 * error).all()


def test_draws_have_the_posteriors_moments_and_density():
    model, draws = lively(build()), 20_000
    with torch.no_grad(), stream("moments"):
        features = model.features(some_batch(2))
        sample = model.posterior_sample(features, draws)
    mean, log_variance = (features @ model.plugin("vae").head.weight.T).chunk(2, -1)
    deviation = (log_variance / 2).exp()
    assert ((sample.z.mean(1) - mean).abs() < 4 * deviation / draws**0.5).all()
    assert torch.allclose(sample.z.std(1), deviation, rtol=0.03)
    full = MultivariateNormal(mean, torch.diag_embed(deviation.square()))
    assert torch.allclose(sample.log_prob, full.log_prob(sample.z.transpose(0, 1)).T, atol=1e-3)


def test_the_default_prior_against_torch():
    model, z = build(), torch.randn(5, 4, D)
    expected = MultivariateNormal(torch.zeros(D), torch.eye(D)).log_prob(z)
    assert torch.allclose(model.prior_logprob(z), expected, atol=1e-5)
    with stream("prior"):
        draws = model.prior_sample(20_000)
    assert draws.mean().abs() < 4 / (20_000 * D) ** 0.5
    assert draws.std().item() == pytest.approx(1, abs=0.02)


def test_the_objective_is_the_mean_over_k_plus_beta_times_the_charge():
    model = lively(build())
    step = Step(model, some_batch(B), samples=K, schedule=lambda kl: torch.tensor(0.3))
    expected = step.rec.sum(1) / K + 0.3 * step.kl.sum(1)
    assert torch.allclose(model.objective(step), expected, atol=1e-5)


# The lazy step


class Counts(Plugin):
    """Counts its calls, and passes everything on."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.counts = {}

    def count(self, name):
        self.counts[name] = self.counts.get(name, 0) + 1

    @hookimpl
    def decoder_condition(self, z):
        self.count("condition")
        return z

    @hookimpl
    def corrupt_input(self, batch):
        self.count("corrupt")
        return batch

    @hookimpl
    def kl_penalty(self, kl):
        self.count("penalty")
        return kl + 1

    @hookimpl
    def beta_schedule(self, kl):
        self.count("beta")
        self.seen = kl
        return 0.25

    @hookimpl
    def extra_loss(self, step):
        for name in (
            "features",
            "sample",
            "code",
            "condition",
            "rec",
            "log_prior",
            "kl",
            "kl_loss",
            "beta",
        ):
            assert getattr(step, name) is getattr(step, name)
        return 0 * step.beta * step.kl_loss.sum(1)


def test_each_thing_is_computed_once_in_a_joint_step(corpus):
    joint = Joint(build(Counts), corpus)
    counts = joint.model.plugin("counts")
    counts.counts.clear()  # the call on zeros
    values = joint.step(some_batch(B))
    assert counts.counts == {"condition": 1, "corrupt": 1, "penalty": 1, "beta": 1}
    assert counts.seen.item() == pytest.approx(values["kl"].item(), rel=1e-6)
    assert values["kl_loss"].item() == pytest.approx(values["kl"].item() + D, rel=1e-6)
    assert values["beta"].item() == joint.model.beta.item() == 0.25


def test_nothing_is_computed_that_nobody_asks_for(corpus):
    class RecOnly(Plugin):
        declares = {"provides": {"objective_gradient": ["encoder", "decoder"]}}

        @hookimpl
        def objective(self, step):
            return step.rec.mean(1)

    joint = Joint(build(RecOnly), corpus)
    joint.model.beta.fill_(0.5)
    values = joint.step(some_batch(B))
    assert set(values) == {"loss", "grad_norm", "rec", "lr"}
    assert joint.model.beta.item() == 0.5


def test_outside_training_beta_is_one_and_neither_corruption_nor_penalty_applies():
    model = build(Counts)
    model.plugin("counts").counts.clear()
    step = Step(model, some_batch(B))
    assert step.beta.item() == 1
    assert step.kl_loss is step.kl
    assert step.rec is not None
    assert model.plugin("counts").counts == {"condition": 1}


def test_the_corruption_reaches_the_encoder_and_not_the_decoder():
    class Silence(Plugin):
        @hookimpl
        def corrupt_input(self, batch):
            return batch_of(*([4] for _ in range(len(batch))))

    model, batch = lively(build(Silence)), some_batch(B)
    step = Step(model, batch, training=True)
    assert torch.allclose(step.features, model.features(batch_of([4])).expand(B, H), atol=1e-6)
    assert torch.equal(step.rec, model.nll(batch, step.sample.z))


def test_known_values_are_taken_as_they_are():
    model, batch = build(Counts), some_batch(2)
    sample, kl = PosteriorSample(torch.zeros(2, 1, D)), torch.full((2, 1), 3.0)
    step = Step(model, batch, features=torch.zeros(2, H), sample=sample, kl=kl)
    assert step.kl is kl
    assert step.sample is sample
    assert step.computed("kl")
    assert not step.computed("rec")


def test_the_mean_of_a_sample():
    z = torch.arange(6.0).view(1, 2, 3)
    assert PosteriorSample(z).mean.tolist() == [[1.5, 2.5, 3.5]]
    assert PosteriorSample(z, Independent(Normal(torch.ones(1, 3), 1.0), 1)).mean.tolist() == [
        [1.0, 1.0, 1.0]
    ]
    assert PosteriorSample(z, centre=torch.zeros(1, 3)).mean.tolist() == [[0.0, 0.0, 0.0]]
    assert PosteriorSample(z).log_prob is None
    exact = torch.tensor([[7.0, 8.0]])
    assert (
        PosteriorSample(z, Independent(Normal(torch.ones(1, 3), 1.0), 1), exact).log_prob is exact
    )


def test_a_plugin_logs_under_its_name_and_only_once(corpus):
    class Logs(Plugin):
        @hookimpl
        def extra_loss(self, step):
            if step.index == 0:
                self.log(twice=2 * step.beta, plain=3.0)
            return step.rec.new_zeros(len(step.batch))

    joint = Joint(build(Logs), corpus)
    values = joint.step(some_batch(B))
    assert (float(values["logs.twice"]), values["logs.plain"]) == (2.0, 3.0)
    assert not any(name.startswith("logs.") for name in joint.step(some_batch(B)))


def test_the_model_is_no_submodule_of_its_plugins():
    model = build(Many)
    assert model.plugin("many").model is model
    assert not any("model" in name for name in model.state_dict())


# Drawing the decoder again


class InTwoParts(Plugin):
    """A map before the decoder and one behind the encoder, and a count."""

    roles = {"map": "decoder", "gate": "encoder"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.map = nn.Linear(sizes.latent, 2)
        self.gate = nn.Linear(sizes.hidden, sizes.hidden)
        self.register_buffer("count", torch.zeros(()))

    @hookimpl
    def decoder_condition(self, z):
        return self.map(z)


def test_a_reset_draws_what_has_the_role_decoder_and_nothing_else():
    model = lively(build(InTwoParts, dropout=(0.1, 0.2))).train()
    model.plugin("intwoparts").count.fill_(7)
    before, kept = snapshot(model), dict(model.named_parameters())
    with stream("again"):
        model.reset_decoder()
    assert changed(before, model) == {name for name, _ in model.named_params("decoder")}
    assert {"plugins.intwoparts.map.weight", "decoder.embedding.weight"} < changed(before, model)
    assert all(kept[name] is parameter for name, parameter in model.named_parameters())
    assert float(model.plugin("intwoparts").count) == 7
    assert model.training
    bounds = {name: float(p.detach().abs().max()) for name, p in model.decoder.named_parameters()}
    assert 0.09 < bounds.pop("embedding.weight") <= 0.1
    assert all(0.005 < bound <= 0.01 for bound in bounds.values())
    assert float(model.plugin("intwoparts").map.weight.detach().abs().max()) <= D**-0.5


def test_a_reset_is_a_matter_of_its_stream():
    def after(key):
        model = build(InTwoParts)
        with stream(key):
            model.reset_decoder()
        return torch.cat([p.detach().flatten() for p in model.params("decoder")])

    assert torch.equal(after("one"), after("one"))
    assert not torch.equal(after("one"), after("other"))


# The latent space


class Curved(Plugin):
    """A code on a ball, whose curvature is a setting."""

    declares = {"provides": {"posterior": "density", "geometry": "ball"}}

    class Config(PluginConfig):
        c: float = 2.0

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.space = Ball(config.c)

    @hookimpl
    def posterior_sample(self, features, n_samples):
        mean = torch.zeros(len(features), self.sizes.latent)
        z, log_prob, _ = WrappedNormal(self.space, mean, mean + 0.1).rsample((n_samples,))
        return PosteriorSample(z.transpose(0, 1), log_prob=log_prob.t())


class CurvedPrior(Plugin):
    declares = {"provides": {"prior": "density", "geometry": "ball"}}
    space = Ball(1.0)

    @hookimpl
    def prior_logprob(self, z):
        return z[..., 0]

    @hookimpl
    def prior_sample(self, n):
        return torch.zeros(n, self.sizes.latent)


def test_the_space_is_that_of_the_plugin_with_its_curvature():
    assert build().space == Euclidean()
    assert build(Curved, CurvedPrior, settings={"curved": {"c": 1.0}}).space == Ball(1.0)


def test_two_curvatures_are_two_spaces():
    with pytest.raises(
        CompositionError,
        match=r"(?s)'curved' and 'curvedprior' do not share .*Ball\(curvature=2.0\)",
    ):
        build(Curved, CurvedPrior)


def test_a_space_that_is_not_the_declared_one():
    class Flat(Curved):
        def __init__(self, config, sizes):
            Plugin.__init__(self, config, sizes)

    with pytest.raises(
        PluginError, match=r"'flat' provides geometry = 'ball', but its `space` is Euclidean\(\)"
    ):
        build(Flat, CurvedPrior)
