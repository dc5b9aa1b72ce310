"""The judge of fluency against the chain rule, word by word, in float64."""

import math
from itertools import pairwise

import pytest
import torch
from support import build

from aecore import Plugin, PosteriorSample, Step, hookimpl
from aecore.batch import END, START
from aecore.data.vocabulary import Vocabulary
from aecore.errors import CompositionError
from aecore.evaluation.judge import Judge
from aecore.evaluation.protocol import evaluate_split
from aecore.streams import Streams, stream

TEXT = ["a b c", "", "g g a d e f b", "c x b y", "a"]


class Lm(Plugin):
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
    def kl_term(self, step: Step):
        return step.features.new_zeros(len(step.batch), 1)


@pytest.fixture(scope="module")
def model():
    made = build(Lm, dropout=(0.5, 0.5)).train()
    with stream("weights"), torch.no_grad():
        for parameter in made.decoder.parameters():
            parameter.normal_(0, 0.7)
    return made


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary.build(["a b c d e f g"])


def chain_rule(model, vocabulary, sentence):
    """-sum_t log p(x_t | x_<t), one step of generation at a time."""
    decoder, rows, nats = model.eval().decoder.double(), torch.zeros(1, 0, dtype=torch.float64), 0.0
    state, word = decoder.initial(rows), torch.tensor([START])
    with torch.no_grad():
        for target in [*vocabulary.encode([sentence])[0].tolist(), END]:
            logits, state = decoder.advance(word, rows, state)
            nats -= float(logits.log_softmax(-1)[0, target])
            word = torch.tensor([target])
    model.train().decoder.float()
    return nats


def test_nats_tokens_and_unknown_words(model, vocabulary):
    verdict = Judge(model, vocabulary, "judge", 3).read(TEXT)
    nats = [chain_rule(model, vocabulary, sentence) for sentence in TEXT]
    assert verdict.nats == pytest.approx(sum(nats), abs=1e-4)
    assert (verdict.sentences, verdict.tokens, verdict.unknown) == (5, 3 + 0 + 7 + 4 + 1 + 5, 2)
    row = verdict.row("samples")
    assert row["judge_nll_samples"] == pytest.approx(sum(nats) / 5, abs=1e-4)
    assert row["judge_ppl_samples"] == pytest.approx(math.exp(sum(nats) / 20), rel=1e-5)
    assert row["judge_unknown_samples"] == 2
    assert model.training  # it was found so


def test_it_is_the_models_own_likelihood_at_any_batch_size(model, corpus):
    own = evaluate_split(model, corpus.test, Streams(0), 4, iw_samples=9)
    bounds = corpus.test.offsets.tolist()
    text = [corpus.vocabulary.decode(corpus.test.flat[a:b]) for a, b in pairwise(bounds)]
    for size in (1, 3, 32):
        verdict = Judge(model, corpus.vocabulary, "judge", size).read(text)
        assert verdict.nats / verdict.sentences == pytest.approx(own.nll_elbo, abs=1e-5)
        assert verdict.row("x")["judge_ppl_x"] == pytest.approx(own.ppl_iw, rel=1e-5)
    assert (
        own.estimators["nll_elbo"]
        == own.estimators["nll_iw"]
        == "exact: the decoder reads no latent"
    )


def test_words_are_counted_where_the_judge_reads_bytes(model):
    pieces = Vocabulary.build_bpe(["ab cd ab"] * 3, 300)
    with pytest.raises(IndexError):
        Judge(model, pieces, "judge", 1).read(["ab cd"])  # 260 ids and more do not fit this model
    wide = build(Lm, sizes=type(model.sizes)(len(pieces), 5, 6, 3))
    verdict = Judge(wide, pieces, "judge", 2).read(["ab cd", "xyzzy"])
    assert (verdict.tokens, verdict.unknown) == (3 + 2, 0)


def test_a_bound_is_no_judge(vocabulary):
    with pytest.raises(
        CompositionError, match="its decoder reads a latent, so its likelihood is a bound"
    ):
        Judge(build(), vocabulary, "judge", 1).read(["a"])
