"""The words of the toy grammar; the n-th positive one answers the n-th negative one."""

from __future__ import annotations

from typing import Literal, NamedTuple

Sentiment = Literal["positive", "negative"]
Tense = Literal["past", "present", "future"]
Number = Literal["singular", "plural"]

SENTIMENTS: tuple[Sentiment, ...] = ("positive", "negative")
TENSES: tuple[Tense, ...] = ("past", "present", "future")
NUMBERS: tuple[Number, ...] = ("singular", "plural")


class Verb(NamedTuple):
    """A verb by its past, its third person singular and its base."""

    past: str
    third: str
    base: str

    def inflect(self, tense: Tense, number: Number) -> str:
        """The verb's form."""
        if tense == "past":
            return self.past
        if tense == "future":
            return f"will {self.base}"
        return self.third if number == "singular" else self.base


def _verbs(*rows: str) -> tuple[Verb, ...]:
    return tuple(Verb(*row.split()) for row in rows)


BE: dict[tuple[Tense, Number], str] = {
    ("past", "singular"): "was",
    ("past", "plural"): "were",
    ("present", "singular"): "is",
    ("present", "plural"): "are",
    ("future", "singular"): "will be",
    ("future", "plural"): "will be",
}

SUBJECTS = {
    "waiter": "waiters",
    "teacher": "teachers",
    "doctor": "doctors",
    "nurse": "nurses",
    "farmer": "farmers",
    "singer": "singers",
    "child": "children",
    "woman": "women",
}
DETERMINERS: dict[Number, tuple[str, ...]] = {
    "singular": ("the", "this"),
    "plural": ("the", "these"),
}
QUALITIES = ("tall", "young", "old", "famous")
JUDGEMENTS: dict[Sentiment, tuple[str, ...]] = {
    "positive": ("kind", "happy", "helpful", "patient", "wonderful", "calm"),
    "negative": ("cruel", "sad", "useless", "impatient", "terrible", "angry"),
}
VERBS: dict[Sentiment, tuple[Verb, ...]] = {
    "positive": _verbs(
        "smiled smiles smile", "laughed laughs laugh", "sang sings sing", "danced dances dance"
    ),
    "negative": _verbs(
        "frowned frowns frown", "cried cries cry", "shouted shouts shout", "argued argues argue"
    ),
}
PREPOSITIONS = ("in", "near")
PLACES = ("hotel", "school", "hospital", "library", "museum", "restaurant", "theatre", "castle")
TIMES: dict[Tense, tuple[str, ...]] = {
    "past": ("yesterday", "last week", "last night"),
    "present": ("today", "now", "every day"),
    "future": ("tomorrow", "next week", "soon"),
}
