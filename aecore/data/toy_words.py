"""The words of the toy grammar. Positive and negative lists run in parallel: the n-th of one answers the n-th of the other."""

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

# All begin with a consonant: they follow a plain "a".
SUBJECTS = {
    "waiter": "waiters",
    "teacher": "teachers",
    "doctor": "doctors",
    "nurse": "nurses",
    "driver": "drivers",
    "farmer": "farmers",
    "singer": "singers",
    "baker": "bakers",
    "lawyer": "lawyers",
    "student": "students",
    "painter": "painters",
    "soldier": "soldiers",
    "child": "children",
    "woman": "women",
    "man": "men",
    "secretary": "secretaries",
}
DETERMINERS: dict[Number, tuple[str, ...]] = {
    "singular": ("the", "this", "that", "one"),
    "plural": ("the", "these", "those", "two", "the two", "many"),
}
# "a" or "an" goes by the first letter, so no word in these two may sound otherwise ("honest", "useful").
QUALITIES = ("tall", "young", "old", "elderly", "busy", "famous", "american", "new")
TEMPERS: dict[Sentiment, tuple[str, ...]] = {
    "positive": ("friendly", "gentle", "cheerful", "amiable"),
    "negative": ("unfriendly", "rough", "gloomy", "arrogant"),
}
DEGREES = ("very", "really", "quite", "so", "extremely")
JUDGEMENTS: dict[Sentiment, tuple[str, ...]] = {
    "positive": ("kind", "polite", "happy", "helpful", "generous", "patient", "careful", "wonderful", "brave", "calm"),
    "negative": ("cruel", "rude", "sad", "useless", "greedy", "impatient", "careless", "terrible", "cowardly", "angry"),
}
VERBS: dict[Sentiment, tuple[Verb, ...]] = {
    "positive": _verbs("smiled smiles smile", "laughed laughs laugh", "sang sings sing", "danced dances dance"),
    "negative": _verbs("frowned frowns frown", "cried cries cry", "shouted shouts shout", "argued argues argue"),
}
MANNERS: dict[Sentiment, tuple[str, ...]] = {
    "positive": ("happily", "joyfully", "gladly", "proudly"),
    "negative": ("miserably", "bitterly", "angrily", "nervously"),
}
PREPOSITIONS = ("in", "at", "near", "outside")
PLACE_QUALITIES = ("old", "new", "little", "big", "quiet", "modern")
PLACES = (
    "hotel",
    "school",
    "hospital",
    "library",
    "museum",
    "restaurant",
    "theatre",
    "bakery",
    "station",
    "airport",
    "office",
    "castle",
)
TIMES: dict[Tense, tuple[str, ...]] = {
    "past": ("yesterday", "last week", "last night"),
    "present": ("today", "now", "every day"),
    "future": ("tomorrow", "next week", "soon"),
}
JOINTS = ("and", "while")
WITNESSES: dict[Number, tuple[str, ...]] = {
    "singular": ("everyone", "everybody"),
    "plural": ("visitors", "neighbours", "strangers"),
}
REACTIONS: dict[Sentiment, tuple[Verb, ...]] = {
    "positive": _verbs(
        "cheered cheers cheer", "clapped claps clap", "celebrated celebrates celebrate", "relaxed relaxes relax"
    ),
    "negative": _verbs(
        "complained complains complain", "sighed sighs sigh", "protested protests protest", "worried worries worry"
    ),
}
