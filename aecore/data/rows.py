"""What a line of a file says: a sentence, a labelled one, or a pair; or why it is dropped."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

from aecore.data.recipe import UNITS, VocabularyKind
from aecore.data.vocabulary import Vocabulary, words
from aecore.errors import DataError

Kind = Literal["text", "labelled", "pairs"]
#: More different labels than these are no labels.
MOST_LABELS = 10_000


class Row(NamedTuple):
    """A good line, its texts stripped of surrounding space.

    Attributes:
        text: the sentence, or the source of a pair.
        label: of a labelled sentence.
        references: what the sentence may become, the target of a pair first; a labelled sentence
            may have some too.
    """

    text: str
    label: str | int | None = None
    references: tuple[str, ...] = ()


class Bad(Exception):
    """A line that is dropped; the reason stands before the word ``line`` in the report."""


class Lines(Protocol):
    """Reads the lines of one file; ``kind`` is None until a good line has decided it."""

    kind: Kind | None

    def read(self, line: str) -> Row:
        """The row of a stripped line that is not empty; Bad where there is none."""


class Limit(NamedTuple):
    """The longest text that is kept, in tokens.

    Attributes:
        most: words, characters or byte pairs, as ``kind`` says.
        pieces: how many byte pairs a text has. While they are still to be learnt, words are
            counted, of which there are no more.
    """

    most: int
    kind: VocabularyKind = "word"
    pieces: Callable[[str], int] | None = None

    @classmethod
    def under(cls, most: int, vocabulary: Vocabulary) -> Limit:
        """The limit for texts that ``vocabulary`` encodes."""
        return cls(most, vocabulary.kind, lambda text: len(vocabulary.encode([text])[0]))

    @property
    def unit(self) -> str:
        """``words``, ``characters`` or ``byte pairs``."""
        return UNITS[self.kind]

    @property
    def reason(self) -> str:
        """Why a text is dropped."""
        return f"over-long (more than {self.most} {self.unit})"

    def check(self, text: str) -> str:
        """The text; Bad where it is too long."""
        if self._exceeded(text):
            raise Bad(self.reason)
        return text

    def _exceeded(self, text: str) -> bool:
        # What has to be cut to be counted is counted only where its characters allow for too many.
        if self.kind == "char":
            return len(text) > self.most
        if len(text) >= 2 * self.most and len(words(text)) > self.most:  # n words and their spaces
            return True
        if self.kind == "word" or self.pieces is None:
            return False
        # a byte is a pair of its own at worst, and the first word gets a space
        return len(text.encode()) >= self.most and self.pieces(text) > self.most


class TextLines:
    """A sentence a line."""

    def __init__(self, limit: Limit) -> None:
        self.kind: Kind | None = "text"
        self._limit = limit

    def read(self, line: str) -> Row:
        """The sentence of a line of text."""
        return Row(self._limit.check(line))


class JsonLines:
    """A JSON object a line; the first good one decides which kind all the others must be.

    Args:
        limit: of a sentence, source or target.
        known: the labels of the training split, or None where any label is good; ``labels``
            collects those that came.
    """

    def __init__(self, limit: Limit, known: frozenset[str] | None = None) -> None:
        self.kind: Kind | None = None
        self.labels: set[str | int] = set()
        self._limit = limit
        self._known = known

    def read(self, line: str) -> Row:
        """The row of a line of JSON, of the kind of the first one."""
        found = _parse(line)
        kind = self.kind or _kind(found)
        if kind == "pairs":
            references = _references(found)
            if not references:
                raise Bad("incomplete (no 'target' and no 'references')")
            row = Row(
                self._text(found, "source"),
                None,
                (self._limit.check(references[0]), *references[1:]),
            )
        elif kind == "labelled":
            row = Row(self._text(found, "text"), self._label(found), _references(found))
        else:
            row = Row(self._text(found, "text"))
        self.kind = kind
        return row

    def _text(self, found: dict[str, Any], key: str) -> str:
        return self._limit.check(_string(found.get(key), key))

    def _label(self, found: dict[str, Any]) -> str | int:
        label = found.get("label")
        if label is None:
            raise Bad("incomplete (no 'label')")
        if isinstance(label, bool) or not isinstance(label, str | int):
            raise Bad("ill-typed ('label' is neither text nor a whole number)")
        label = label if isinstance(label, int) else _string(label, "label")
        if self._known is not None and str(label) not in self._known:
            raise Bad("unseen-label (not in the training split)")
        self.labels.add(label)
        if len(self.labels) > MOST_LABELS:
            raise DataError(
                f"the sentences have more than {MOST_LABELS:,} different labels.",
                "due: a 'label' that groups sentences; leave it out where it only numbers them",
            )
        return label


def label_names(labels: set[str | int]) -> tuple[str, ...]:
    """Labels in the order of their numbers: whole numbers by value, else by their text."""
    numbers = [label for label in labels if isinstance(label, int)]
    if len(numbers) == len(labels):
        return tuple(str(number) for number in sorted(numbers))
    return tuple(sorted({str(label) for label in labels}))


def _parse(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise Bad("non-JSON") from None
    if not isinstance(found, dict):
        raise Bad("non-object (an object {...} was due)")
    return found


def _kind(found: dict[str, Any]) -> Kind:
    if "text" in found:
        return "labelled" if found.get("label") is not None else "text"
    if "source" in found:
        return "pairs"
    raise Bad("incomplete (no 'text' and no 'source')")


def _references(found: dict[str, Any]) -> tuple[str, ...]:
    """``target``, and the ``references`` that differ from it."""
    listed = found.get("references", [])
    if not isinstance(listed, list):
        raise Bad("ill-typed ('references' is no list)")
    first = [] if found.get("target") is None else [_string(found["target"], "target")]
    return (
        *first,
        *(text for text in (_string(entry, "references") for entry in listed) if text not in first),
    )


def _string(value: object, key: str) -> str:
    if value is None:
        raise Bad(f"incomplete (no '{key}')")
    if not isinstance(value, str):
        raise Bad(f"ill-typed ('{key}' is no text)")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # JSON can spell half of a surrogate pair
            raise Bad("non-UTF-8") from None
    if not (text := value.strip()):
        raise Bad("empty")
    return text
