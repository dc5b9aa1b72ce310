"""The evaluation protocol against closed forms and Monte Carlo."""

import math

import pytest
import torch
from support import build

from aecore import Plugin, PosteriorSample, hookimpl
from aecore.batch import Batch
from aecore.evaluation.protocol import evaluate_split
from aecore.streams import Streams, stream


def measure(model, split, batch_size=4, seed=0, limit=None):
    return evaluate_split(model, split, Streams(seed), batch_size, limit)


@pytest.fixture(scope="module")
def model():
    made = build()
    with torch.no_grad():  # a posterior away from the prior, and a decoder that uses z
        made.plugin("vae").head.weight.normal_(0, 2.0)
        for parameter in made.decoder.parameters():
            parameter.normal_(0, 0.7)
    return made


def test_the_figures_do_not_depend_on_the_batch_size_or_the_limit(model, corpus):
    whole = [measure(model, corpus.train, size) for size in (1, 3, 32)]
    for other in whole[1:]:
        assert other.nll_elbo == pytest.approx(whole[0].nll_elbo, abs=1e-5)
        assert other.kl == pytest.approx(whole[0].kl, abs=1e-5)
    first = measure(model, corpus.train.head(5))
    assert measure(model, corpus.train, limit=5) == first
    rest = 48 * whole[0].rec - 5 * first.rec
    assert 0 < rest < 48 * whole[0].rec


def test_same_seed_same_figures_other_seed_other_figures(model, corpus):
    assert measure(model, corpus.test) == measure(model, corpus.test)
    assert measure(model, corpus.test, seed=1).rec != measure(model, corpus.test).rec
    # analytic: no noise in it
    assert measure(model, corpus.test, seed=1).kl == measure(model, corpus.test).kl


def test_evaluating_leaves_mode_gradients_and_generator_alone(model, corpus):
    model.train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    measure(model, corpus.test)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_perplexity_is_per_token_over_the_corpus(model, corpus):
    figures = measure(model, corpus.test)
    nats = figures.nll_elbo * len(corpus.test)
    assert figures.ppl_elbo == pytest.approx(math.exp(nats / corpus.test.tokens))
    assert figures.nll_elbo == pytest.approx(figures.rec + figures.kl)
    # the published pair of Texar on PTB: 102.54 nats a sentence, 21.917 tokens a sentence,
    # perplexity 107.6
    assert math.exp(102.54 / (82_430 / 3_761)) == pytest.approx(107.6, abs=0.1)


def test_an_untrained_model_is_near_uniform(corpus):
    figures = measure(build(), corpus.test)
    uniform = math.log(11) * corpus.test.tokens / len(corpus.test)
    assert figures.rec == pytest.approx(uniform, rel=0.01)
    assert figures.kl == pytest.approx(0, abs=1e-3)


def test_the_bound_is_right_in_the_mean(model, corpus):
    """E[rec] over seeds agrees with a direct Monte Carlo over z, written without the evaluator."""
    split = corpus.test
    batch: Batch = split.batch(torch.arange(len(split)))
    means = torch.tensor([measure(model, split, seed=seed).rec for seed in range(60)])
    model.eval()
    with torch.no_grad():
        mean, log_variance = (model.features(batch) @ model.plugin("vae").head.weight.T).chunk(
            2, -1
        )
        noise = torch.randn(len(split), 2000, 3, generator=torch.Generator().manual_seed(0))
        z = mean.unsqueeze(1) + (0.5 * log_variance).exp().unsqueeze(1) * noise
        direct = model.nll(batch, z).mean(1)
    error = means.std() / len(means) ** 0.5
    assert abs(means.mean() - direct.mean()) < 4 * error + 0.02


class Implicit(Plugin):
    """A posterior without density, whose divergence couples the batch."""

    declares = {
        "provides": {
            "posterior": "sampled",
            "kl": "penalty",
            "kl_estimator": "penalty",
            "kl_gradient": ["encoder"],
        }
    }
    roles = {"map": "encoder"}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.map = torch.nn.Linear(sizes.hidden, sizes.latent)

    @hookimpl
    def posterior_sample(self, features, n_samples):
        noise = torch.randn(len(features), n_samples, self.sizes.latent)
        return PosteriorSample(self.map(features).unsqueeze(1) + noise)

    @hookimpl
    def kl_term(self, step):
        return step.sample.z.mean((0, 1)).square().sum().expand(len(step.batch), 1)


def test_a_penalty_is_no_part_of_a_likelihood(corpus):
    model = build(Implicit)
    model.beta.fill_(0.5)
    figures = measure(model, corpus.test)
    assert figures.nll_elbo is None
    assert figures.ppl_elbo is None
    assert figures.kl_estimator == "penalty"
    assert figures.kl is None
    assert figures.report()["estimators"]["nll_elbo"] is None
    assert figures.objective == pytest.approx(figures.rec + 0.5 * figures.penalty, rel=1e-6)


class Costly(Plugin):
    """A Gaussian posterior, which counts how often it is asked."""

    declares = {"provides": {"posterior": "gaussian", "geometry": "euclidean"}}

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.asked = 0

    @hookimpl
    def posterior_sample(self, features, n_samples):
        self.asked += 1
        mean, scale = features[:, :3] * 40, (features[:, 3:] * 20).exp()
        normal = torch.distributions.Independent(torch.distributions.Normal(mean, scale), 1)
        return PosteriorSample(normal.rsample((n_samples,)).transpose(0, 1), normal)


class Plainly(Costly):
    """The same without saying that it is Gaussian: it is asked sentence by sentence."""

    declares = {"provides": {"posterior": "density", "geometry": "euclidean"}}


def test_a_batch_of_gaussians_gives_the_figures_of_single_ones(corpus):
    one, other = build(Costly), build(Plainly)
    for model in (one, other):
        with stream("weights"), torch.no_grad():
            for parameter in (*model.encoder.parameters(), *model.decoder.parameters()):
                parameter.normal_(0, 0.7)
    found, due = (evaluate_split(m, corpus.test, Streams(0), 4, mi=True) for m in (one, other))
    for name in ("rec", "mi", "mi_batch", "au"):
        assert getattr(found, name) == pytest.approx(getattr(due, name), abs=1e-5)
    assert found.mi > 0.1
    assert (one.plugin("costly").asked, other.plugin("plainly").asked) == (3, 10)


class Floor(Plugin):
    """Charges no less than 100 nats."""

    @hookimpl
    def kl_penalty(self, kl):
        return kl.sum(1, keepdim=True).clamp(min=100.0)


def test_the_objective_is_the_methods_own_and_the_bound_is_not(corpus):
    model = build(Floor)
    model.beta.fill_(0.25)
    figures = measure(model, corpus.test)
    assert figures.objective == pytest.approx(figures.rec + 25, rel=1e-6)
    assert figures.nll_elbo == pytest.approx(figures.rec + figures.kl)
