"""The built-in corpus: English of a small grammar with known factors, and its parser.

A sentence is a row of slots, and a slot is a choice among phrases that agree with the sentence's
sentiment, tense and number. Generator and parser read the same slots, so the parser accepts what
the grammar can say and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice, product
from typing import Literal, NamedTuple

import torch

from aecore.data import toy_words as lexicon
from aecore.data.toy_words import Number, Sentiment, Tense
from aecore.streams import stream

SIZES = {"train": 8000, "valid": 500, "test": 500}
_BLOCK = 1000
# Phrases in groups: a group is drawn first, then a phrase of it, so that saying nothing can be as
# likely as all times together.
Groups = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class ToySentence:
    """A sentence and its factors; ``subject`` is the singular noun whatever the number."""

    text: str
    sentiment: Sentiment
    tense: Tense
    number: Number
    subject: str
    place: str


class Slot(NamedTuple):
    """One position of a sentence; ``factor`` names what it decides alone, or is empty."""

    groups: Groups
    factor: Literal["", "subject", "place"] = ""


class Form(NamedTuple):
    """What the words of a sentence agree with."""

    sentiment: Sentiment
    tense: Tense
    number: Number


FORMS = tuple(Form(*form) for form in product(lexicon.SENTIMENTS, lexicon.TENSES, lexicon.NUMBERS))


@cache
def sentences() -> dict[str, tuple[ToySentence, ...]]:
    """The corpus by split: the same under every seed, all sentences distinct across splits."""
    with stream("toy", "sentences"):
        made = _distinct()
        return {split: tuple(islice(made, size)) for split, size in SIZES.items()}


@cache
def pairs() -> dict[str, tuple[tuple[ToySentence, ToySentence], ...]]:
    """Negative sentences with the positive ones that answer them, by split; none comes twice.

    The word lists of the two sentiments run in parallel and a sentence is a row of draws, so the
    same draws make both: every other factor, and every word that has no sentiment, is the same.
    """
    with stream("toy", "pairs"):
        made = _distinct_pairs()
        return {split: tuple(islice(made, size)) for split, size in SIZES.items()}


def factors(text: str) -> ToySentence | None:
    """The sentence with its factors, or None where the grammar cannot say it: the oracle."""
    for form in FORMS:
        found = _pattern(form).fullmatch(" " + text)
        if found is not None:
            noun = found["subject"]
            subject = noun if form.number == "singular" else _singular()[noun]
            return ToySentence(text, *form, subject=subject, place=found["place"])
    return None


@cache
def slots(form: Form) -> tuple[Slot, ...]:
    """The slots of a clause and of its optional tail, in order; 6 to 11 words in all."""
    nouns = (
        tuple(lexicon.SUBJECTS) if form.number == "singular" else tuple(lexicon.SUBJECTS.values())
    )
    return (
        Slot(_openings(form)),
        Slot((nouns,), "subject"),
        Slot(_predicates(form)),
        Slot((lexicon.PREPOSITIONS,)),
        Slot((("the",),)),
        Slot((lexicon.PLACES,), "place"),
        Slot((("",), lexicon.TIMES[form.tense])),
    )


def _openings(form: Form) -> Groups:
    """``this`` or ``this young``."""
    plain = lexicon.DETERMINERS[form.number]
    return plain, tuple(f"{word} {quality}" for word in plain for quality in lexicon.QUALITIES)


def _predicates(form: Form) -> Groups:
    """``was kind`` or ``smiled``."""
    be = lexicon.BE[form.tense, form.number]
    return (
        tuple(f"{be} {word}" for word in lexicon.JUDGEMENTS[form.sentiment]),
        tuple(verb.inflect(form.tense, form.number) for verb in lexicon.VERBS[form.sentiment]),
    )


def _distinct() -> Iterator[ToySentence]:
    """Sentences without end, none twice; forms, and phrases within a slot, are drawn uniformly."""
    seen: set[str] = set()
    while True:
        # (block, form and slots): one draw from the stream per choice, reduced to a number of
        # alternatives where it is used.
        for row in torch.randint(2**31, (_BLOCK, 1 + len(slots(FORMS[0])))).tolist():
            sentence = _say(FORMS[row[0] % len(FORMS)], row[1:])
            if sentence.text not in seen:
                seen.add(sentence.text)
                yield sentence


def _distinct_pairs() -> Iterator[tuple[ToySentence, ToySentence]]:
    """Pairs without end, no source twice; forms and phrases are drawn as for single sentences."""
    negative = [form for form in FORMS if form.sentiment == "negative"]
    seen: set[str] = set()
    while True:
        for row in torch.randint(2**31, (_BLOCK, 1 + len(slots(FORMS[0])))).tolist():
            form = negative[row[0] % len(negative)]
            source, target = _say(form, row[1:]), _say(form._replace(sentiment="positive"), row[1:])
            if source.text not in seen:
                seen.add(source.text)
                yield source, target


def _say(form: Form, draws: list[int]) -> ToySentence:
    phrases: list[str] = []
    chosen = {}
    for slot, draw in zip(slots(form), draws, strict=True):
        group = slot.groups[draw % len(slot.groups)]
        phrase = group[draw // len(slot.groups) % len(group)]
        chosen[slot.factor] = phrase
        phrases.append(phrase)
    subject = chosen["subject"] if form.number == "singular" else _singular()[chosen["subject"]]
    return ToySentence(
        " ".join(filter(None, phrases)), *form, subject=subject, place=chosen["place"]
    )


@cache
def _pattern(form: Form) -> re.Pattern[str]:
    """The slots as a regular expression over the sentence with a space before every word."""
    return re.compile("".join(map(_alternatives, slots(form))))


def _alternatives(slot: Slot) -> str:
    phrases = dict.fromkeys(phrase for group in slot.groups for phrase in group)
    if slot.factor:
        return f" (?P<{slot.factor}>{'|'.join(phrases)})"
    return f"(?:{'|'.join(f' {phrase}' if phrase else '' for phrase in phrases)})"


@cache
def _singular() -> dict[str, str]:
    return {plural: singular for singular, plural in lexicon.SUBJECTS.items()}
