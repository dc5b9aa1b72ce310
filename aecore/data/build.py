"""From rows to a corpus in two passes: vocabulary, then ids; neither holds the text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

import torch
from torch import Tensor

from aecore.data.readers import Fault, Reading, Report, Source
from aecore.data.recipe import EVERY_WORD, SPLITS, Recipe
from aecore.data.rows import JsonLines, Kind, Limit, Row, label_names
from aecore.data.spec import DataSpec
from aecore.data.splits import Corpus, Originals, Split
from aecore.data.store import Store
from aecore.data.vocabulary import Vocabulary, chunks
from aecore.errors import DataError


@dataclass(frozen=True)
class Order:
    """What is to be made of the files: all that a corpus depends on besides them.

    Attributes:
        vocabulary: a saved run's, used as it is; None learns one by ``recipe`` from the training
            sentences that are used.
    """

    spec: DataSpec
    max_length: int
    recipe: Recipe = EVERY_WORD
    vocabulary: Vocabulary | None = None

    @property
    def limit(self) -> Limit:
        """The longest text that is kept."""
        if self.vocabulary is None:
            return Limit(self.max_length, self.recipe.kind)
        return Limit.under(self.max_length, self.vocabulary)


@dataclass(frozen=True)
class Contents:
    """What is known of a written corpus besides its arrays and its vocabulary."""

    kind: Kind
    labels: tuple[str, ...]
    reports: tuple[Report, ...]
    fingerprint: str = ""


def build(sources: Mapping[str, Source], order: Order, store: Store) -> Corpus:
    """Write the corpus into ``store`` and return it, its fingerprint computed.

    Raises:
        DataError: for files that cannot be read, hold nothing good, or disagree on what they hold.
    """
    survey = _survey(sources["train"], order)
    known = frozenset(survey.labels)
    reports = []
    limit = Limit.under(order.max_length, survey.vocabulary)
    for name in SPLITS:
        reading = sources[name].read(limit, known)
        rows = islice(reading, survey.sentences if name == "train" else None)
        _write(store, name, _checked(rows, reading, survey, sources), survey)
        report = reading.report
        reports.append(_both(survey.report, report, limit) if name == "train" else report)
    store.close()
    contents = Contents(survey.kind, survey.labels, tuple(reports))
    corpus = assemble(store, contents, survey.vocabulary)
    return replace(corpus, stored=corpus.fingerprint)


def assemble(store: Store, contents: Contents, vocabulary: Vocabulary) -> Corpus:
    """The corpus that was written into ``store``."""
    train, valid, test = (_split(store, name) for name in SPLITS)
    return Corpus(
        train,
        valid,
        test,
        vocabulary,
        contents.reports,
        contents.kind,
        contents.labels,
        contents.fingerprint,
    )


# The first pass


@dataclass(frozen=True)
class _Survey:
    """What the training split says about the whole: ``sentences`` is how many of it are used."""

    vocabulary: Vocabulary
    sentences: int
    kind: Kind
    labels: tuple[str, ...]
    report: Report
    numbers: dict[str, int] = field(default_factory=dict)


def _survey(source: Source, order: Order) -> _Survey:
    """Read the training split once, and its head again where the vocabulary is the head's."""
    limit = order.limit
    reading = source.read(limit)
    vocabulary = order.vocabulary
    if vocabulary is None and order.spec.whole:
        vocabulary = Vocabulary.learn(order.recipe, _texts(reading))
    else:
        for _ in reading:
            pass
    size = order.spec.size(reading.report.kept)
    if vocabulary is None:
        vocabulary = Vocabulary.learn(order.recipe, _texts(islice(source.read(limit), size)))
    labels = label_names(reading.lines.labels) if isinstance(reading.lines, JsonLines) else ()
    numbers = {label: number for number, label in enumerate(labels)}
    return _Survey(vocabulary, size, reading.kind, labels, reading.report, numbers)


def _both(first: Report, second: Report, limit: Limit) -> Report:
    """The first pass saw all lines; only the second, which stops at the head, counts byte pairs."""
    seen, found = (report.dropped.get(limit.reason, Fault()) for report in (first, second))
    if found.count > seen.count:
        first.dropped[limit.reason] = found
    return first


def _texts(rows: Iterable[Row]) -> Iterator[str]:
    """The sentences, and the targets of pairs; other references are for evaluation alone."""
    for row in rows:
        yield row.text
        if row.label is None:
            yield from row.references[:1]


# The second pass


def _checked(
    rows: Iterable[Row], reading: Reading, survey: _Survey, sources: Mapping[str, Source]
) -> Iterator[Row]:
    """The rows, refused where they are of another kind than those of the training split."""
    for number, row in enumerate(rows):
        if number == 0 and reading.kind != survey.kind:
            raise DataError(
                f"'{reading.report.file}' holds {_KINDS[reading.kind]}, "
                f"'{sources['train'].path.name}' {_KINDS[survey.kind]}.",
                "due: the same keys in all three files; the first good line of a file decides",
            )
        yield row


_KINDS: dict[Kind, str] = {
    "text": "sentences without labels",
    "labelled": "labelled sentences",
    "pairs": "pairs",
}


def _write(store: Store, name: str, rows: Iterable[Row], survey: _Survey) -> None:
    source, target = _Column(store, name), _Column(store, f"{name}.target")
    originals = _Texts(store, name) if name != "train" and survey.kind != "text" else None
    for chunk in chunks(rows):
        source.add(*survey.vocabulary.encode(row.text for row in chunk))
        if survey.kind == "labelled":
            store.append(
                f"{name}.labels",
                torch.tensor([survey.numbers[str(row.label)] for row in chunk], dtype=torch.int32),
            )
        if survey.kind == "pairs":
            target.add(*survey.vocabulary.encode(row.references[0] for row in chunk))
        if originals is not None:
            originals.add(chunk)


class _Column:
    """Ids and bounds of one text per row, appended chunk by chunk."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._end = -1

    def add(self, flat: Tensor, offsets: Tensor) -> None:
        """Append what `Vocabulary.encode` gave."""
        if self._end < 0:
            self._end = 0
            self._store.append(f"{self._name}.bounds", offsets[:1])
        self._store.append(f"{self._name}.ids", flat)
        self._store.append(f"{self._name}.bounds", offsets[1:] + self._end)
        self._end += len(flat)


class _Texts:
    """The rows as text."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = f"{name}.texts"
        self._end = 0
        store.append(f"{self._name}.bounds", torch.zeros(1, dtype=torch.int64))

    def add(self, rows: list[Row]) -> None:
        lines = [json.dumps([row.text, *row.references]).encode() for row in rows]
        self._store.append(f"{self._name}.json", b"".join(lines))
        bounds = torch.tensor([len(line) for line in lines]).cumsum(0) + self._end
        self._store.append(f"{self._name}.bounds", bounds)
        self._end = int(bounds[-1])


def _split(store: Store, name: str) -> Split:
    flat, offsets = store.tensor(f"{name}.ids"), store.tensor(f"{name}.bounds")
    if flat is None or offsets is None:
        raise DataError(
            f"the corpus has lost its split '{name}'.", "likely: files changed while they were read"
        )
    pieces, bounds = store.tensor(f"{name}.texts.json"), store.tensor(f"{name}.texts.bounds")
    originals = None if pieces is None or bounds is None else Originals(pieces, bounds)
    target = (
        _split(store, f"{name}.target") if store.tensor(f"{name}.target.ids") is not None else None
    )
    return Split(name, flat, offsets, store.tensor(f"{name}.labels"), target, originals)
