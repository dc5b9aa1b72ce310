"""nll_iw against integrals over z, closed forms and the bound that it improves on."""

import math

import pytest
import torch
from quadrature import (
    DensityAtDraws,
    FullCovariance,
    Implicit,
    LearnedPrior,
    Placed,
    Point,
    SampledPrior,
    exact_nll,
    lively,
)
from support import build, snapshot

from aecore import Plugin, PosteriorSample, hookimpl
from aecore.evaluation import decoding, lowrank
from aecore.evaluation.importance import importance, log_mean
from aecore.evaluation.protocol import evaluate_split
from aecore.model import evaluating
from aecore.streams import Streams

FITTED = "a Gaussian fitted to each sentence, a tenth of them of the prior"
CASES = {
    "vae": ([], "the posterior"),
    "full covariance": ([FullCovariance], "the posterior"),
    "density at its draws": ([DensityAtDraws], "the posterior"),
    "learned prior": ([LearnedPrior], "the posterior"),
    "implicit": ([Implicit], FITTED),
    "point": ([Point], FITTED),
}


def measure(model, split, samples, seed=0, batch_size=4, **options):
    return evaluate_split(model, split, Streams(seed), batch_size, iw_samples=samples, **options)


def log_weights(model, weights, split, number, samples):
    """(K,) log p(x | z) p(z) / q(z) at draws of the estimator's proposal, by the model's own
    methods.
    """
    sentence = split.batch(torch.tensor([number]))
    with evaluating(model), Streams(5)("test", number):
        z, log_q = weights.draw(model.features(sentence), sentence, samples)
        return (weights.prior(z) - model.nll(sentence, z.unsqueeze(0))[0] - log_q).double()


@pytest.mark.parametrize(("classes", "proposed"), CASES.values(), ids=CASES)
def test_it_is_the_integral(corpus, classes, proposed):
    model = lively(*classes)
    exact = exact_nll(model, corpus.test)
    figures = measure(model, corpus.test, 3000)
    assert figures.nll_iw == pytest.approx(exact.mean().item(), abs=0.02)
    assert figures.ppl_iw == pytest.approx(
        math.exp(exact.sum().item() / corpus.test.tokens), rel=0.01
    )
    assert (
        figures.report()["estimators"]["nll_iw"]
        == f"importance-weighted, 3000 samples of {proposed}"
    )


@pytest.mark.parametrize(("classes", "proposed"), CASES.values(), ids=CASES)
def test_the_weights_are_unbiased(corpus, classes, proposed):
    """E_q[p(x | z) p(z) / q(z)] = p(x), sentence by sentence."""
    model = lively(*classes)
    exact = exact_nll(model, corpus.test)
    with evaluating(model):
        weights = importance(model, corpus.test, Streams(0), 10)
    for number in range(4):
        ratios = (log_weights(model, weights, corpus.test, number, 10_000) + exact[number]).exp()
        error = ratios.std() / len(ratios) ** 0.5
        assert error < 0.05
        assert abs(ratios.mean() - 1) < 4 * error + 1e-4


def test_a_density_is_fitted_to_a_prior_of_samples(corpus):
    model = lively(SampledPrior)
    exact = exact_nll(model, corpus.test, SampledPrior.log_prior)
    figures = measure(model, corpus.test, 2000)
    assert figures.nll_iw == pytest.approx(exact.mean().item(), abs=0.03)
    assert "; prior: a mixture of" in figures.estimators["nll_iw"]


def test_one_sample_is_the_monte_carlo_bound(corpus):
    model = lively(FullCovariance)
    with evaluating(model):
        weights = importance(model, corpus.test, Streams(0), 1)
        for number in range(len(corpus.test)):
            sentence = corpus.test.batch(torch.tensor([number]))
            features = model.features(sentence)
            with Streams(0)("evaluate", "test", number, "iw"):
                sample = model.posterior_sample(features, 1, sentence)
            bound = model.nll(sentence, sample.z) + sample.log_prob - model.prior_logprob(sample.z)
            assert weights.weigh(sentence, features).nll == pytest.approx(bound.item(), abs=1e-5)


def test_more_samples_tighten_the_bound(corpus):
    model = lively()
    exact = exact_nll(model, corpus.test).mean().item()
    with evaluating(model):
        weights = importance(model, corpus.test, Streams(0), 1)
    # (N, draws)
    drawn = torch.stack(
        [log_weights(model, weights, corpus.test, n, 6400) for n in range(len(corpus.test))]
    )
    means = []
    for samples in (1, 4, 16, 64):
        groups = drawn.view(len(drawn), -1, samples)
        means.append(-(groups.logsumexp(2) - math.log(samples)).mean().item())
    assert means == sorted(means, reverse=True)
    assert means[0] > means[-1] + 0.1
    assert means[-1] > exact - 0.01


@pytest.mark.parametrize("samples", [1, 7, 500])
def test_a_decoder_that_ignores_z_gives_its_language_model(corpus, samples):
    """With q = p and p(x | z) = p(x), every weight is p(x)."""
    model = lively()
    with torch.no_grad():
        model.plugin("vae").head.weight.zero_()
        model.decoder.bridge.weight.zero_()
        model.decoder.lstm.weight_ih_l0[:, 5:] = 0
    figures = measure(model, corpus.test, samples)
    assert figures.nll_iw == pytest.approx(figures.rec, abs=1e-5)


class LanguageModel(Plugin):
    """No latent at all."""

    declares = {
        "provides": {
            "posterior": "none",
            "kl": "sentence",
            "kl_estimator": "constant",
            "kl_gradient": [],
        }
    }

    @hookimpl
    def posterior_sample(self, features, n_samples):
        return PosteriorSample(features.new_zeros(len(features), n_samples, self.sizes.latent))

    @hookimpl
    def decoder_condition(self, z):
        return z[..., :0]

    @hookimpl
    def kl_term(self, step):
        return step.features.new_zeros(len(step.batch), 1)


def test_without_a_latent_it_is_exact(corpus):
    figures = measure(lively(LanguageModel), corpus.test, 500, mi=True)
    assert figures.nll_iw == pytest.approx(figures.rec, abs=1e-5)
    assert figures.estimators["nll_iw"] == "exact: the decoder reads no latent"
    assert (figures.mi, figures.mi_batch, figures.au) == (None, None, None)


@pytest.mark.parametrize("classes", [[], [Implicit]], ids=["own", "fitted"])
def test_neither_batch_size_nor_chunk_nor_limit_matters(corpus, classes, monkeypatch):
    model = lively(*classes)
    whole = measure(model, corpus.test, 33)
    assert measure(model, corpus.test, 33, batch_size=1).nll_iw == pytest.approx(
        whole.nll_iw, abs=1e-5
    )
    first = measure(model, corpus.test, 33, limit=6).nll_iw
    last = [measure(model, corpus.test, 33, limit=n).nll_iw * n for n in (6, 7)]
    monkeypatch.setattr(decoding, "TOKENS", 20)  # a few samples at a time
    assert measure(model, corpus.test, 33).nll_iw == pytest.approx(whole.nll_iw, abs=1e-5)
    assert measure(model, corpus.test, 33, limit=6).nll_iw == pytest.approx(first, abs=1e-5)
    with evaluating(model):
        weights = importance(model, corpus.test, Streams(0), 33)
        sentence = corpus.test.batch(torch.tensor([6]))
        assert weights.weigh(sentence, model.features(sentence)).nll == pytest.approx(
            last[1] - last[0], abs=1e-4
        )


def test_the_mean_of_weights_divides_by_their_number():
    weights = torch.tensor([0.2, 1.5, 0.7, 3.0, 0.1, 0.4, 0.9], dtype=torch.float64)
    assert log_mean(weights.log() - 900) == pytest.approx(math.log(weights.mean().item()) - 900)


def test_energies_are_those_of_the_decoder(corpus):
    model = lively()
    z = torch.randn(37, 2)
    for number in range(5):
        sentence = corpus.test.batch(torch.tensor([number]))
        expected = model.nll(sentence, z.unsqueeze(0))[0]
        assert expected.requires_grad  # the path of training
        assert torch.allclose(decoding.energies(model.decoder, sentence, z), expected, atol=1e-5)


def test_the_low_rank_approximation_gives_the_same_figure_and_says_so(corpus, monkeypatch):
    """As many directions as states have dimensions leave nothing out."""
    model = lively()
    whole = measure(model, corpus.test, 200, limit=5)
    assert "directions" not in whole.estimators["nll_iw"]
    monkeypatch.setattr(lowrank, "LEAST_WORDS", 1)
    monkeypatch.setattr(lowrank, "LEAST_STATE", 1)
    short = measure(model, corpus.test, 200, limit=5)
    assert (
        "softmax along 32 directions, the 32 heaviest samples in full" in short.estimators["nll_iw"]
    )
    assert short.nll_iw == pytest.approx(whole.nll_iw, abs=1e-4)
    monkeypatch.setattr(lowrank, "POSITION", 0.0)  # every position falls back: nothing is won
    futile = measure(model, corpus.test, 200, limit=5)
    assert futile.estimators["nll_iw"].endswith("of the posterior")
    assert futile.nll_iw == pytest.approx(whole.nll_iw, abs=1e-5)
    # too few samples
    assert (
        measure(model, corpus.test, 100, limit=5).estimators["nll_iw"].endswith("of the posterior")
    )


def test_the_heaviest_samples_are_priced_in_full(corpus, monkeypatch):
    """An approximation wrong by 3 nats for every sample changes the sum no further than by what the
    lighter ones weigh.
    """

    def wrong(self, states, targets):
        return plain(self, states, targets) + 3.0 / len(targets)

    model, plain = lively(), lowrank.LowRank.nll
    monkeypatch.setattr(lowrank, "LEAST_WORDS", 1)
    monkeypatch.setattr(lowrank, "LEAST_STATE", 1)
    whole = measure(model, corpus.test, 200, limit=5)
    monkeypatch.setattr(lowrank.LowRank, "nll", wrong)
    monkeypatch.setattr("aecore.evaluation.importance.HEAVIEST", 200)
    assert measure(model, corpus.test, 200, limit=5).nll_iw == pytest.approx(whole.nll_iw, abs=1e-4)
    monkeypatch.setattr("aecore.evaluation.importance.HEAVIEST", 1)
    assert measure(model, corpus.test, 200, limit=5).nll_iw > whole.nll_iw + 1.0


@pytest.mark.parametrize(
    "classes", [[], [Implicit], [SampledPrior]], ids=["own", "fitted", "fitted prior"]
)
def test_nothing_is_disturbed(corpus, classes):
    model = lively(*classes).train()
    before, buffers = (
        snapshot(model),
        {name: buffer.clone() for name, buffer in model.named_buffers()},
    )
    torch.manual_seed(3)
    state = torch.get_rng_state()
    measure(model, corpus.test, 9, mi=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(
        parameter.grad is None and parameter.requires_grad for parameter in model.parameters()
    )
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())


def test_same_seed_same_figure_other_seed_other_figure(corpus):
    model = lively(Implicit)
    first = measure(model, corpus.test, 9).nll_iw
    assert measure(model, corpus.test, 9).nll_iw == first
    assert measure(model, corpus.test, 9, seed=1).nll_iw != first


def test_it_is_left_out_unless_asked_for(corpus):
    figures = measure(lively(), corpus.test, 0)
    assert (figures.nll_iw, figures.ppl_iw) == (None, None)
    assert figures.report()["estimators"]["nll_iw"] is None


class Dual(Implicit):
    """A divergence by its dual, which bounds it from below: no likelihood follows."""

    declares = {
        "provides": {
            "posterior": "sampled",
            "kl": "sentence",
            "kl_estimator": "dual",
            "kl_gradient": ["encoder"],
        }
    }


def test_a_dual_is_no_part_of_a_likelihood(corpus):
    figures = measure(lively(Dual), corpus.test, 5)
    assert (figures.nll_elbo, figures.ppl_elbo) == (None, None)
    assert figures.nll_iw is not None


def test_a_posterior_that_is_priced_but_keyed_by_the_sentence_is_asked_with_it(corpus):
    model = lively(Placed)
    assert measure(model, corpus.test, 2000).nll_iw == pytest.approx(
        exact_nll(model, corpus.test).mean().item(), abs=0.05
    )


def test_an_untrained_model_of_any_size_is_near_uniform(corpus):
    figures = measure(build(), corpus.test, 50)
    assert figures.nll_iw == pytest.approx(
        math.log(11) * corpus.test.tokens / len(corpus.test), rel=0.01
    )
