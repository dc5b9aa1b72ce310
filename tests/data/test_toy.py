"""The toy grammar: the same corpus for ever, grammatical, and read back exactly."""

import re
from collections import Counter
from hashlib import sha256

import pytest
import torch

from aecore.data import toy, toy_words
from aecore.data.toy import ToySentence, factors
from aecore.data.vocabulary import Vocabulary

SENTENCES = [sentence for split in toy.sentences().values() for sentence in split]


def test_the_corpus_is_pinned():
    """Figures on the toy are compared across machines and versions: a new hash is a new corpus, so say so in docs."""
    text = "\n".join(sentence.text for sentence in SENTENCES)
    assert sha256(text.encode()).hexdigest() == "a43a0e486f0c12f3831bd619b020257ff53e4b3426f059054c80283ce623c90a"


def test_the_corpus_ignores_the_global_seed():
    before = toy.sentences()
    toy.sentences.cache_clear()
    torch.manual_seed(123)
    assert toy.sentences() == before


def test_sizes_and_no_sentence_twice():
    assert {name: len(split) for name, split in toy.sentences().items()} == {"train": 8000, "valid": 500, "test": 500}
    assert len({sentence.text for sentence in SENTENCES}) == 9000


def test_lengths_and_vocabulary():
    lengths = Counter(len(sentence.text.split(" ")) for sentence in SENTENCES)
    assert (min(lengths), max(lengths)) == (6, 16)
    known = Vocabulary.build(sentence.text for sentence in toy.sentences()["train"])
    assert 100 <= len(known) <= 250
    assert 3 not in known.encode(sentence.text for sentence in SENTENCES)[0]  # no unknown word in valid and test


def test_factors_are_balanced():
    """9,000 draws: three standard errors of a half are 142, of a third 134, of a sixteenth 69, of a twelfth 79."""
    for factor, ways, slack in [
        ("sentiment", 2, 142),
        ("number", 2, 142),
        ("tense", 3, 134),
        ("subject", 16, 69),
        ("place", 12, 79),
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


def test_a_sentence_worked_by_hand():
    text = "the two friendly waiters were very kind in the old hotel"
    assert factors(text) == ToySentence(text, "positive", "past", "plural", "waiter", "hotel")
    text = "an elderly woman will shout near the new library while everybody will sigh"
    assert factors(text) == ToySentence(text, "negative", "future", "singular", "woman", "library")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the waiter",
        "the waiter were kind in the hotel",  # number
        "the waiters smiles in the hotel",
        "these waiter smiled in the hotel",
        "a elderly waiter smiled in the hotel",  # article
        "an waiter smiled in the hotel",
        "the waiter will smiled in the hotel",  # tense
        "the waiter smiled in the hotel tomorrow",
        "the waiter smiled in the hotel and everyone cheers",
        "the waiter smiled in the hotel and everyone complained",  # sentiment
        "the friendly waiter was rude in the hotel",
        "the waiter smiled bitterly in the hotel",
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


def test_articles_fit_the_word_after_them():
    for sentence in SENTENCES:
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", sentence.text), sentence.text


def test_opposites_run_in_parallel_and_share_no_word():
    pairs = [toy_words.TEMPERS, toy_words.JUDGEMENTS, toy_words.VERBS, toy_words.MANNERS, toy_words.REACTIONS]
    for lists in pairs:
        assert len(lists["positive"]) == len(lists["negative"])
        assert not set(lists["positive"]) & set(lists["negative"])


PAIRS = [pair for split in toy.pairs().values() for pair in split]


def test_the_pairs_are_pinned():
    text = "\n".join(f"{source.text}\t{target.text}" for source, target in PAIRS)
    assert sha256(text.encode()).hexdigest() == "b830d6b365122c9c985f8dc8fd169cb29be995fc3eb3c07902772fd42c981b84"


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
    """Worked from the word lists alone: every word of the source becomes itself, its opposite, or the article that fits."""
    opposite = {"a": {"a", "an"}, "an": {"a", "an"}}
    for lists in (toy_words.TEMPERS, toy_words.JUDGEMENTS, toy_words.MANNERS):
        opposite |= {bad: {good} for good, bad in zip(lists["positive"], lists["negative"], strict=True)}
    for verbs in (toy_words.VERBS, toy_words.REACTIONS):
        for good, bad in zip(verbs["positive"], verbs["negative"], strict=True):
            opposite |= {one: {other} for one, other in zip(bad, good, strict=True)}
    for source, target in PAIRS:
        for one, other in zip(source.text.split(" "), target.text.split(" "), strict=True):
            assert other in opposite.get(one, {one}), (source.text, target.text)


def test_no_sentence_is_in_two_pairs():
    assert len({source.text for source, _ in PAIRS}) == len({target.text for _, target in PAIRS}) == 9000
