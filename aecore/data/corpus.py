"""From ``--data`` to a corpus: where the text is, and whether the cache has it already."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from os.path import expanduser
from pathlib import Path

from aecore.data import toy
from aecore.data.build import Order, build
from aecore.data.cache import cached
from aecore.data.readers import TOY, Source, find_splits
from aecore.data.recipe import EVERY_WORD, Recipe
from aecore.data.spec import DataSpec
from aecore.data.splits import Corpus, Original, Originals, Split
from aecore.data.store import MemoryStore
from aecore.data.vocabulary import Vocabulary
from aecore.errors import ConfigError, closest

__all__ = ["Corpus", "Original", "Originals", "Split", "load_corpus"]


def load_corpus(
    spec: str,
    max_length: int = 200,
    vocabulary: Vocabulary | None = None,
    recipe: Recipe = EVERY_WORD,
    tell: Callable[[str], None] = lambda _: None,
) -> Corpus:
    """The corpus that ``spec`` names: read, cut and encoded, or mapped from the cache.

    Args:
        spec: ``toy``, ``toy:labelled``, ``toy:pairs`` or a folder, and the head of its training
            split to use, if not all.
        max_length: sentences of more words are dropped and reported.
        vocabulary: a saved run's, which is used as it is; else one is learnt from the training
            sentences that are used (with ``[:20%]``, from that head alone).
        recipe: how it is learnt.
        tell: called with a line when something takes long, or the cache cannot be used.

    Raises:
        DataError: for a corpus that is missing, unreadable, empty, or not of one kind.
    """
    order = Order(DataSpec.parse(spec), max_length, recipe, vocabulary)
    source = order.spec.source
    if source.partition(":")[0] == TOY:
        return build(_toy(source), order, MemoryStore())
    return cached(find_splits(Path(expanduser(source))), order, tell)


def _toy(source: str) -> dict[str, Source]:
    """The toy goes through the same sieve as files do, so that ``max_length`` means the same."""
    if source not in _TOYS:
        raise ConfigError(
            f"no toy is called '{source}'.{closest(source, _TOYS)}",
            f"toys: {', '.join(_TOYS)}",
            f"a folder: ./{source}",
        )
    return {
        name: Source(Path(source, name), partial(iter, lines), json=source != TOY)
        for name, lines in _TOYS[source]()
    }


def _plain() -> Iterable[tuple[str, list[bytes]]]:
    for name, made in toy.sentences().items():
        yield name, [sentence.text.encode() for sentence in made]


def _labelled() -> Iterable[tuple[str, list[bytes]]]:
    for name, made in toy.sentences().items():
        yield (
            name,
            [
                json.dumps({"text": sentence.text, "label": sentence.sentiment}).encode()
                for sentence in made
            ],
        )


def _pairs() -> Iterable[tuple[str, list[bytes]]]:
    for name, made in toy.pairs().items():
        yield (
            name,
            [
                json.dumps({"source": source.text, "target": target.text}).encode()
                for source, target in made
            ],
        )


_TOYS = {TOY: _plain, f"{TOY}:labelled": _labelled, f"{TOY}:pairs": _pairs}
