"""The toy grammar: the same corpus for ever, grammatical, and read back exactly."""

import math
from collections import Counter
from hashlib import sha256
from itertools import chain, product
from statistics import fmean

import pytest
import torch

from aecore.data import toy, toy_words
from aecore.data.toy import ToySentence, factors
from aecore.data.vocabulary import Vocabulary

SENTENCES = [sentence for split in toy.sentences().values() for sentence in split]


def test_the_corpus_is_pinned():
    """Figures on the toy are compared across machines and versions: a new hash is a new corpus, so
    say so in docs.
    """
    text = "\n".join(sentence.text for sentence in SENTENCES)
    assert (
        sha256(text.encode()).hexdigest()
        == "6467b4862b20197ca97eb094caf77742e25be3dd8fc05aa5d4894ec8156f3289"
    )


def test_the_corpus_ignores_the_global_seed():
    before = toy.sentences()
    toy.sentences.cache_clear()
    torch.manual_seed(123)
    assert toy.sentences() == before


def test_sizes_and_no_sentence_twice():
    assert {name: len(split) for name, split in toy.sentences().items()} == {
        "train": 8000,
        "valid": 500,
        "test": 500,
    }
    assert len({sentence.text for sentence in SENTENCES}) == 9000


def test_lengths_and_vocabulary():
    lengths = Counter(len(sentence.text.split(" ")) for sentence in SENTENCES)
    assert (min(lengths), max(lengths)) == (6, 11)
    known = Vocabulary.build(sentence.text for sentence in toy.sentences()["train"])
    assert len(known) == 90  # 86 words and the markers
    # no unknown word in valid and test
    assert 3 not in known.encode(sentence.text for sentence in SENTENCES)[0]


def test_factors_are_balanced():
    """9,000 draws: three standard errors of a half are 142, of a third 134, of an eighth 94."""
    for factor, ways, slack in [
        ("sentiment", 2, 142),
        ("number", 2, 142),
        ("tense", 3, 134),
        ("subject", 8, 94),
        ("place", 8, 94),
    ]:
        counts = Counter(getattr(sentence, factor) for sentence in SENTENCES)
        assert len(counts) == ways
        assert all(abs(count - 9000 / ways) < slack for count in counts.values()), (factor, counts)


def test_every_sentence_is_read_back():
    assert [factors(sentence.text) for sentence in SENTENCES] == SENTENCES


def test_no_sentence_has_two_readings():
    for sentence in SENTENCES[::20]:
        readings = [form for form in toy.FORMS if toy._pattern(form).fullmatch(" " + sentence.text)]
        assert readings == [(sentence.sentiment, sentence.tense, sentence.number)]


def test_all_that_the_grammar_can_say():
    """Every row of choices, once: no two of them make the same sentence."""
    said = [
        " ".join(filter(None, phrases))
        for form in toy.FORMS
        for phrases in product(*(chain.from_iterable(slot.groups) for slot in toy.slots(form)))
    ]
    assert len(said) == len(set(said)) == 12 * 10 * 8 * 10 * 2 * 8 * 4 == 614_400
    lengths = {len(text.split(" ")) for text in said}
    assert (min(lengths), max(lengths)) == (6, 11)


def test_the_entropy_of_a_sentence():
    """12.941 nats: a sentence is one row of choices, and these are independent given the form.

    A slot of G groups takes log G for the group and the mean of log n for one of the n phrases in
    it. By hand, slot by slot: (log 2 + log 16 / 2) + log 8 + (log 2 + log 24 / 2) + log 2 + 0 + log
    8 + (log 2 + log 3 / 2), and log 12 for the form.
    """
    for form in toy.FORMS:
        nats = math.log(len(toy.FORMS))
        for slot in toy.slots(form):
            nats += math.log(len(slot.groups)) + fmean(
                math.log(len(group)) for group in slot.groups
            )
        assert nats == pytest.approx(15.5 * math.log(2) + 2 * math.log(3), abs=1e-12)
    assert nats == pytest.approx(12.941006, abs=1e-6)


def test_a_sentence_worked_by_hand():
    text = "these young waiters were kind in the hotel last night"
    assert factors(text) == ToySentence(text, "positive", "past", "plural", "waiter", "hotel")
    text = "the woman will shout near the library"
    assert factors(text) == ToySentence(text, "negative", "future", "singular", "woman", "library")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the waiter",
        "the waiter were kind in the hotel",  # number
        "the waiters smiles in the hotel",
        "these waiter smiled in the hotel",
        "this waiters smiled in the hotel",
        "waiter smiled in the hotel",  # determiner
        "a waiter smiled in the hotel",
        "the waiter will smiled in the hotel",  # tense
        "the waiter smiled in the hotel tomorrow",
        "the waiter is kind in the hotel last week",
        "the waiter was kind and cruel in the hotel",  # sentiment
        "the kind waiter was cruel in the hotel",
        "the waiter smiled cruel in the hotel",
        "the tall old waiter smiled in the hotel",  # slots
        "the waiter smiled in the old hotel",
        "the waiter smiled in hotel",
        "the waiter smiled yesterday in the hotel",
        "the waiter smiled in the hotel yesterday last night",
        "the waiter smiled in the hotel in the hotel",
        "the waiter smiled  in the hotel",  # spaces
        " the waiter smiled in the hotel",
        "the waiter smiled in the hotel ",
        "the waiter smiled in the hotel\n",
        "The waiter smiled in the hotel",
        "the waiter smiled in the <unk>",
    ],
)
def test_what_the_grammar_cannot_say(text):
    assert factors(text) is None


def test_determiners_fit_the_number():
    fits = {"the": {"singular", "plural"}, "this": {"singular"}, "these": {"plural"}}
    for sentence in SENTENCES:
        assert sentence.number in fits[sentence.text.split(" ")[0]], sentence.text


def test_opposites_run_in_parallel_and_share_no_word():
    for lists in (toy_words.JUDGEMENTS, toy_words.VERBS):
        assert len(lists["positive"]) == len(lists["negative"])
        assert not set(lists["positive"]) & set(lists["negative"])


PAIRS = [pair for split in toy.pairs().values() for pair in split]


def test_the_pairs_are_pinned():
    text = "\n".join(f"{source.text}\t{target.text}" for source, target in PAIRS)
    assert (
        sha256(text.encode()).hexdigest()
        == "523bbab9527454b719e060f765c4cc4dc8b331b6615b93ef6b551acf28130f2c"
    )


def test_pairs_differ_in_sentiment_alone():
    assert {name: len(split) for name, split in toy.pairs().items()} == toy.SIZES
    for source, target in PAIRS:
        assert factors(source.text) == source
        assert factors(target.text) == target
        assert (source.sentiment, target.sentiment) == ("negative", "positive")
        assert (source.tense, source.number, source.subject, source.place) == (
            target.tense,
            target.number,
            target.subject,
            target.place,
        )


def test_words_of_pairs_are_the_same_or_opposites():
    """Worked from the word lists alone: every word of the source becomes its opposite, or itself
    where it has none.
    """
    judgements, verbs = toy_words.JUDGEMENTS, toy_words.VERBS
    opposite = dict(zip(judgements["negative"], judgements["positive"], strict=True))
    for bad, good in zip(verbs["negative"], verbs["positive"], strict=True):
        opposite |= dict(zip(bad, good, strict=True))
    for source, target in PAIRS:
        assert target.text == " ".join(opposite.get(word, word) for word in source.text.split(" "))


def test_no_sentence_is_in_two_pairs():
    assert (
        len({source.text for source, _ in PAIRS})
        == len({target.text for _, target in PAIRS})
        == 9000
    )
