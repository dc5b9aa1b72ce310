"""The refinement against closed forms, torch's optimiser, differences, quadrature."""

import math

import pytest
import torch
from aecore_savae import NOISES, STRIDE, SaVae, clipped, descend
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

import aecore
from aecore import Step
from aecore.streams import stream
from aecore.testing import parametrize_with_checks
from aecore.testing.lab import batch_of, build
from aecore.testing.subject import Subject


@pytest.fixture(autouse=True)
def _one_thread():
    """Two threads wait for each other longer than these small tensors take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small():
    """(model, 5 sentences): float64, four dimensions, some nats of divergence, beta 0.3."""

    def made(dropout=0.0, **settings):
        model = build(Subject.installed("savae", settings), dropout=dropout).double()
        with stream("weights"), torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.5)
            model.beta.fill_(0.3)
        return model, batch_of(5)

    return made


# The recursion


@pytest.mark.parametrize(
    ("steps", "lr", "momentum"), [(1, 0.3, 0.5), (7, 0.3, 0.5), (20, 0.1, 0.9), (5, 0.2, 0.0)]
)
def test_a_quadratic_has_a_closed_form(steps, lr, momentum):
    """f = a lambda^2 / 2: (lambda, v) <- M (lambda, v), so d lambda_K / d lambda_0 = (M^K)_00."""
    start = torch.tensor([[1.7], [-0.4]], dtype=torch.float64, requires_grad=True)
    curvature = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    found = descend(
        lambda point, _: (0.5 * curvature * point.square()).sum(1), start, steps, lr, momentum
    )

    def matrix(a):
        return torch.tensor(
            [[1 - lr * a, lr * momentum], [-a, momentum]], dtype=torch.float64
        ).matrix_power(steps)

    assert torch.allclose(found, matrix(0.8)[0, 0] * start, atol=1e-14)
    by_start, by_curvature = torch.autograd.grad(found.sum(), (start, curvature))
    assert torch.allclose(by_start, matrix(0.8)[0, 0].expand(2, 1), atol=1e-14)
    slope = (matrix(0.8 + 1e-6) - matrix(0.8 - 1e-6))[0, 0] / 2e-6 * float(start.detach().sum())
    assert float(by_curvature) == pytest.approx(float(slope), abs=1e-8)


def test_without_a_graph_the_point_is_the_same():
    start = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    one, other = (
        descend(lambda p, _: p.pow(4).sum(1), start, 6, 0.01, 0.5, 3.0, keep)
        for keep in (True, False)
    )
    assert torch.equal(one, other)


def test_rows_are_clipped_by_themselves_and_smoothly():
    rows = torch.tensor(
        [[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]], dtype=torch.float64, requires_grad=True
    )
    assert torch.allclose(
        clipped(rows, 2.0), torch.tensor([[1.2, 1.6], [0.3, 0.4], [0.0, 0.0]], dtype=torch.float64)
    )
    assert torch.autograd.gradcheck(lambda r: clipped(r, 2.0), rows)


# The refinement


def own_energy(model, batch, point, noise, beta):
    """(B,): -log p(x given mu + sigma eps) + beta KL by an LSTM written here."""
    mean, log_variance = point.chunk(2, 1)
    z = mean + torch.exp(log_variance / 2) * noise
    decoder, sizes = model.decoder, model.sizes
    lstm = nn.LSTM(
        sizes.embedding + sizes.latent, sizes.hidden, batch_first=True, dtype=torch.float64
    )
    lstm.load_state_dict(decoder.lstm.state_dict())
    words = decoder.embedding(batch.inputs)
    cell = z @ decoder.bridge.weight.T
    inputs = torch.cat([words, z.unsqueeze(1).expand(-1, words.shape[1], -1)], 2)
    states, _ = lstm(inputs, (cell.tanh().unsqueeze(0), cell.unsqueeze(0)))
    losses = F.cross_entropy(
        (states @ decoder.output.weight.T).transpose(1, 2), batch.targets, reduction="none"
    )
    kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1)
    return (losses * batch.mask).sum(1) + beta * kl


@pytest.mark.parametrize(("training", "beta"), [(True, 0.3), (False, 1.0)])
def test_it_is_sgd_with_momentum_on_each_sentence(small, training, beta):
    model, batch = small(clip=1e9)
    model.train(training)
    features = model.features(batch).detach()
    with stream("noise"):
        found = model.posterior_sample(features, 1, batch).distribution
    with stream("noise"):
        ours = model.plugin("savae")
        noises = [
            torch.randn(5, 4, dtype=torch.float64)
            if training
            else ours.noise[(batch.tokens.sum(1) + STRIDE * number) % NOISES]
            for number in range(10)
        ]
    first = (features @ ours.head.weight.T).detach()
    point = first.clone().requires_grad_()
    optimiser = torch.optim.SGD([point], lr=1 / 32, momentum=0.5)
    for noise in noises:
        optimiser.zero_grad()
        own_energy(model, batch, point, noise, beta).sum().backward()
        optimiser.step()
    assert torch.allclose(found.mean, point[:, :4], atol=1e-10)
    assert torch.allclose(found.stddev, (point[:, 4:] / 2).exp(), atol=1e-10)
    fresh = torch.randn(400, 5, 4, dtype=torch.float64)
    before, after = (
        torch.stack([own_energy(model, batch, at, noise, beta) for noise in fresh]).mean(0)
        for at in (first, point)
    )
    assert bool((after < before - 0.01).all())  # the bound, not its value under one noise


def test_each_sentence_is_refined_as_if_it_were_alone(small, monkeypatch):
    model, batch = small()
    for training in (True, False):
        model.train(training)
        monkeypatch.setattr(
            SaVae, "_noise", lambda self, some, step: self.noise[some.index + 7 + step]
        )
        together = model.posterior_sample(model.features(batch), 1, batch).distribution
        for row in range(5):
            alone = batch.rows(slice(row, row + 1))
            single = model.posterior_sample(model.features(alone), 1, alone).distribution
            assert torch.allclose(single.mean[0], together.mean[row], atol=1e-12)
            assert torch.allclose(single.stddev[0], together.stddev[row], atol=1e-12)


def test_pseudo_inputs_keep_the_encoders_posterior(small):
    model, batch = small()
    features = model.features(batch)
    sample = model.posterior_sample(features, 2, None)
    assert torch.equal(sample.mean, (features @ model.plugin("savae").head.weight.T)[:, :4])
    assert not torch.allclose(
        sample.mean, model.posterior_sample(features, 2, batch).mean, atol=1e-3
    )


def test_modes_and_gradients_are_left_as_they_were(small):
    model, batch = small()
    with torch.no_grad():
        sample = model.posterior_sample(model.features(batch), 1, batch)
    assert not sample.z.requires_grad
    assert not sample.mean.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.decoder.training
    assert torch.backends.cudnn.enabled


def test_dropout_is_off_while_it_refines(small):
    """With it, two refinements under the same noise but another mask would differ."""
    model, batch = small(dropout=0.5)
    features, means = model.features(batch), []
    for masks in ("one", "other"):
        with stream("noise"):
            noise = torch.randn(5, 4, dtype=torch.float64)
        with stream(masks), pytest.MonkeyPatch.context() as patch:
            patch.setattr(SaVae, "_noise", lambda self, some, step, noise=noise: noise)
            means.append(model.posterior_sample(features, 1, batch).mean)
    assert torch.equal(*means)


# What training differentiates


def objective(model, batch):
    with stream("draws"):
        return model.objective(
            Step(model, batch, training=True, schedule=lambda _: model.beta)
        ).mean()


def direction_of(parameter):
    with stream("direction"):
        made = torch.randn_like(parameter)
    return made / made.norm()


def slope(model, batch, parameter, direction, width=1e-5):
    """The derivative along a direction by a central difference of the whole objective."""
    values = []
    with torch.no_grad():
        for sign in (1, -2, 1):  # there, to the other side, back
            parameter += sign * width * direction
            values.append(float(objective(model, batch)))
    return (values[0] - values[1]) / (2 * width)


@pytest.mark.parametrize("clip", [28.0, 0.7])
def test_gradients_are_those_of_finite_differences(small, clip):
    """Encoder, head and every parameter of the decoder; with the clip at work and without."""
    model, batch = small(clip=clip, steps=4)
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(objective(model, batch), list(parameters.values()))
    seen = 0
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        direction = direction_of(parameter)
        found, due = float((gradient * direction).sum()), slope(model, batch, parameter, direction)
        assert found == pytest.approx(due, rel=1e-6, abs=1e-8), name
        seen += abs(due) > 1e-3
    assert seen >= 8


def test_first_order_gradients_would_be_wrong(small, monkeypatch):
    """What forgetting second derivatives would miss, for decoder and encoder."""
    model, batch = small(steps=4)
    names = ("decoder.output.weight", "decoder.lstm.weight_hh_l0", "plugins.savae.head.weight")
    parameters = [dict(model.named_parameters())[name] for name in names]
    exact = torch.autograd.grad(objective(model, batch), parameters)
    whole = torch.autograd.grad

    def first_order(outputs, inputs, **options):
        return tuple(gradient.detach() for gradient in whole(outputs, inputs, **options))

    with monkeypatch.context() as patch:
        patch.setattr(torch.autograd, "grad", first_order)
        loss = objective(model, batch)
    for name, one, other in zip(names, exact, torch.autograd.grad(loss, parameters), strict=True):
        assert float((one - other).norm() / one.norm()) > 1e-2, name


def test_float32_training_agrees_with_float64(small):
    """oneDNN's LSTM and the decoder's float32 paths give the second derivatives too."""
    model, batch = small(steps=4)
    noises = {}

    def noise(dtype):
        with stream("fixed"):
            return noises.setdefault("all", torch.randn(5, 4, dtype=torch.float64)).to(dtype)

    found = []
    for dtype in (torch.float64, torch.float32):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SaVae, "_noise", lambda self, some, step, dtype=dtype: noise(dtype))
            model.to(dtype)
            step = Step(model, batch, schedule=lambda _: model.beta)
            loss = (
                model.nll(batch, step.sample.mean.unsqueeze(1)).mean()
                + model.beta * step.kl.sum(1).mean()
            )
            found.append(torch.autograd.grad(loss, list(model.parameters())))
    for exact, one in zip(*found, strict=True):
        assert torch.allclose(one.double(), exact, rtol=1e-3, atol=1e-4 * float(exact.abs().max()))


# In evaluation


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run with one latent dimension."""
    settings = {
        "data.spec": "toy[:64]",
        "model.embedding": 6,
        "model.hidden": 8,
        "model.latent": 1,
        "train.device": "cpu",
        "train.lr": 0.05,
        "train.select": "last",
        "savae.steps": 3,
    }
    return aecore.train(
        ["savae"], None, settings, max_steps=12, out=tmp_path_factory.mktemp("savae") / "run"
    ).path


def test_a_sentence_has_one_code(trained):
    run = aecore.load(trained, "cpu")
    with torch.no_grad():
        run.model.plugin("savae").head.weight.mul_(30)
    sentences = [
        "the singers were happy in the hotel",
        "this nurse smiled in the school",
        "the old farmers laugh near the castle now",
    ]
    whole = run.encode(sentences)
    assert torch.allclose(
        run.encode([sentences[2], sentences[1], sentences[2]]), whole[[2, 1, 2]], atol=1e-5
    )
    assert float((whole[0] - whole[1]).abs().max()) > 1e-4
    assert len(run.reconstruct(sentences)) == 3


def test_the_refined_gaussian_is_the_proposal(trained):
    """nll_iw against -log of the integral of p(x | z) p(z) on a grid, in one dimension."""
    run = aecore.load(trained, "cpu")
    with torch.no_grad():
        for parameter in run.model.decoder.parameters():
            # p(x | z) depends on z; far more, and three steps would not bring the Gaussian near p(z
            # | x)
            parameter.mul_(1.25)
        grid = torch.linspace(-8, 8, 1601).view(1, -1, 1)
        total = 0.0
        for row in range(6):
            batch = run.split("test").batch(torch.tensor([row]))
            nll = run.model.nll(batch, grid)[0].double()
            assert float(nll.max() - nll.min()) > 1
            log_joint = -nll - 0.5 * (grid[0, :, 0].double().square() + math.log(2 * math.pi))
            total -= float(log_joint.logsumexp(0) + math.log(0.01)) / 6
    found = run.evaluate(limit=6, iw_samples=20_000)
    assert found["estimators"]["nll_iw"] == "importance-weighted, 20000 samples of the posterior"
    assert found["nll_iw"] == pytest.approx(total, abs=0.02)
    assert found["nll_elbo"] > total - 0.02
    assert found["estimators"]["kl"] == "analytic"


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"steps": 2.5},
        {"lr": 0.0},
        {"momentum": 1.0},
        {"momentum": -0.1},
        {"clip": 0.0},
        {"eps": 1e-5},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        SaVae.Config(**settings)


def test_there_is_nothing_to_refine_without_a_posterior(tmp_path):
    with pytest.raises(aecore.AecoreError, match="'savae' and 'lstm_lm' both own posterior_sample"):
        aecore.train(["savae", "lstm_lm"], out=tmp_path / "run")


@parametrize_with_checks("savae", settings={"steps": 2})
def test_conformance(subject, check):
    check(subject)


@pytest.mark.verify
@parametrize_with_checks("savae")
def test_conformance_as_published(subject, check):
    check(subject)
