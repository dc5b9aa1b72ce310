"""Generation against a search over the model's own probabilities."""

import copy
import itertools

import pytest
import torch
from support import build

from aecore.batch import END, PAD, START, UNKNOWN, Batch
from aecore.generation import beam
from aecore.generation.decode import decode
from aecore.generation.strategy import Strategy
from aecore.generation.words import invert, nucleus
from aecore.streams import stream


@pytest.fixture(scope="module")
def model():
    made = build(dropout=(0.5, 0.5))
    with stream("weights"), torch.no_grad():
        for parameter in made.decoder.parameters():
            parameter.normal_(0, 1.0)
    return made


def energies(model, sentences, z):
    """-log p(words | z) of each, in one teacher-forced pass; the last word is an end, or none where
    the sentence is cut.
    """
    model.eval()
    longest = max(map(len, sentences))
    tokens = torch.tensor([[START, *words, *[PAD] * (longest - len(words))] for words in sentences])
    batch = Batch(
        tokens, torch.tensor([len(words) for words in sentences]), torch.arange(len(sentences))
    )
    with torch.no_grad():
        return model.nll(batch, z.expand(len(sentences), -1).unsqueeze(1)).squeeze(1)


def word_probabilities(model, prefix, z):
    """p(next word | prefix, z) without the markers that are never written."""
    found = energies(model, [[*prefix, word] for word in range(model.sizes.vocabulary)], z)
    found[[PAD, START, UNKNOWN]] = torch.inf
    return torch.softmax(-found, 0)


def latents(n, seed=0):
    with stream("z", seed):
        return torch.randn(n, 3)


def test_greedy_takes_the_most_likely_word_at_each_step(model, corpus):
    for seed in range(4):
        z = latents(1, seed)
        (sentence,) = decode(model, corpus.vocabulary, z, Strategy(max_length=6))
        prefix = []
        for _ in range(6):
            word = int(word_probabilities(model, prefix, z).argmax())
            if word == END:
                break
            prefix.append(word)
        assert sentence == corpus.vocabulary.decode(prefix)


def truncated(p, top_k=0, top_p=1.0):
    """What top-k and then nucleus sampling draw from, word by word as the papers define them."""
    order = p.argsort(descending=True).tolist()
    kept = order[: top_k or len(order)]
    mass, nucleus, total = 0.0, [], float(p[kept].sum())
    for word in kept:
        nucleus.append(word)
        mass += float(p[word]) / total
        if mass >= top_p:
            break
    found = torch.zeros_like(p)
    found[nucleus] = p[nucleus]
    return found / found.sum()


DRAWS = [
    Strategy(temperature=1.0, max_length=2),
    Strategy(temperature=2.5, max_length=2),
    Strategy(temperature=0.4, max_length=2),
    Strategy(top_k=3, max_length=2),
    Strategy(top_p=0.6, max_length=2),
    Strategy(temperature=3.0, top_k=6, top_p=0.7, max_length=2),
]


@pytest.mark.parametrize("strategy", DRAWS, ids=str)
def test_words_are_drawn_with_the_models_own_probabilities(model, corpus, strategy):
    n, z = 6000, latents(1, 1)
    with stream("draw"):
        drawn = decode(model, corpus.vocabulary, z.expand(n, -1), strategy)
    counts = {}
    for sentence in drawn:
        counts[sentence] = counts.get(sentence, 0) + 1
    expected = {}  # of every sentence of at most two words
    for first, p in enumerate(drawn_from(model, [], z, strategy)):
        if first == END:
            expected[""] = p
        elif p:
            for second, q in enumerate(drawn_from(model, [first], z, strategy)):
                words = [first] if second == END else [first, second]
                expected[corpus.vocabulary.decode(words)] = p * q
    assert set(counts) <= {sentence for sentence, p in expected.items() if p}
    likely = {sentence: n * float(p) for sentence, p in expected.items() if n * p >= 5}
    chi_square = sum((counts.get(sentence, 0) - due) ** 2 / due for sentence, due in likely.items())
    freedom = len(likely)
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5


def drawn_from(model, prefix, z, strategy):
    p = word_probabilities(model, prefix, z).double() ** (1 / strategy.heat)
    return truncated(p / p.sum(), strategy.top_k, strategy.top_p)


def test_a_nucleus_of_a_large_vocabulary_is_the_smallest_that_has_the_mass():
    with stream("logits"):
        logits = torch.randn(8, 5000) * torch.tensor([0.0, 0.1, 1, 2, 3, 5, 10, 30]).unsqueeze(1)
    plain = logits.softmax(-1)
    for mass in (0.9, 0.3):
        found = nucleus(plain, plain.sort(descending=True).values, mass)
        # in the first all words are equally likely, so all are kept
        for row, p in zip(found[1:], plain[1:], strict=True):
            due = truncated(p.double(), top_p=mass)
            assert abs(int((row > 0).sum()) - int((due > 0).sum())) <= 1
            assert torch.equal(row[row > 0], p[row > 0])
            assert float(row[row > 0].min()) >= float(p[row == 0].max())


def test_a_word_without_probability_is_never_drawn():
    weights = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]]).expand(4, -1)
    below_one = 1 - 2**-24
    assert invert(weights, torch.tensor([0.0, 0.2499, 0.25, below_one])).tolist() == [1, 1, 3, 3]


@pytest.mark.parametrize(
    "strategy", [Strategy(top_k=1), Strategy(top_p=1e-6), Strategy(temperature=0.001)], ids=str
)
def test_what_leaves_one_word_is_greedy(model, corpus, strategy):
    model, z = copy.deepcopy(model), latents(40)
    with torch.no_grad():
        # no two words are nearly as likely as each other, not even at that temperature
        model.decoder.output.weight.mul_(20)
    assert decode(model, corpus.vocabulary, z, strategy) == decode(model, corpus.vocabulary, z)


STRATEGIES = [
    Strategy(),
    Strategy(temperature=1.0),
    Strategy(top_k=4),
    Strategy(top_p=0.8),
    Strategy(beam=3),
]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_the_batch_changes_nothing_and_dropout_is_off(model, corpus, strategy):
    z = latents(37)
    model.train()

    def decoded(z, rows):
        with stream("words"):
            return decode(model, corpus.vocabulary, z, strategy, rows)

    whole = decoded(z, 256)
    assert len(set(whole)) > 10
    assert all(decoded(z, rows) == whole for rows in (1, 5, 36))
    assert decoded(z[:20], 256) == whole[:20]  # a sentence has numbers of its own
    assert model.training


def test_a_sentence_ends_at_its_end_or_is_cut(model, corpus):
    sentences = decode(model, corpus.vocabulary, latents(50), Strategy(max_length=5))
    assert any(len(sentence.split()) < 5 for sentence in sentences)
    assert all(len(sentence.split()) <= 5 for sentence in sentences)
    assert not any(marker in " ".join(sentences) for marker in ("<s>", "</s>", "<pad>"))


def every_sentence(length, first):
    """All ended sentences of fewer words, and all that are cut at ``length``."""
    known = range(first, 11)
    ended = ([*words, END] for n in range(length) for words in itertools.product(known, repeat=n))
    return [*ended, *map(list, itertools.product(known, repeat=length))]


@pytest.mark.parametrize("unknown", [False, True])
def test_a_beam_that_holds_all_sentences_finds_the_likeliest_of_them(model, corpus, unknown):
    sentences = every_sentence(3, UNKNOWN if unknown else UNKNOWN + 1)
    for z in latents(3, 2).split(1):
        best = sentences[int(energies(model, sentences, z).argmin())]
        (found,) = decode(
            model, corpus.vocabulary, z, Strategy(beam=9**3, max_length=3, unknown=unknown)
        )
        assert found == corpus.vocabulary.decode(best)


@pytest.mark.parametrize(
    "choice", [{}, {"temperature": 2.0}, {"top_k": 3}, {"top_p": 0.9}, {"beam": 4}]
)
def test_unknown_words_are_written_only_where_asked_for(model, corpus, choice):
    shy, free = (
        decode(
            model, corpus.vocabulary, latents(60), Strategy(max_length=5, unknown=asked, **choice)
        )
        for asked in (False, True)
    )
    assert "<unk>" not in " ".join(shy)
    assert "<unk>" in " ".join(free)


def test_a_beam_of_one_is_greedy(model, corpus):
    z = latents(40)
    with torch.no_grad():
        rows = model.eval().condition(z.unsqueeze(1)).squeeze(1)
        found = beam.search(model.decoder, rows, Strategy(max_length=12))
    assert [corpus.vocabulary.decode(ids) for ids in found] == decode(
        model, corpus.vocabulary, z, Strategy(max_length=12)
    )


def test_a_wider_beam_finds_likelier_sentences(model, corpus):
    z = latents(40)

    def scores(strategy):
        flat = [
            corpus.vocabulary.encode([sentence])[0].tolist()
            for sentence in decode(model, corpus.vocabulary, z, strategy)
        ]
        return energies(model, [words if len(words) == 8 else [*words, END] for words in flat], z)

    greedy, narrow, wide = (float(scores(Strategy(beam=n, max_length=8)).sum()) for n in (1, 4, 64))
    assert wide < narrow < greedy
