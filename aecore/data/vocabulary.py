"""The vocabulary: sentences to ids and back, by words, characters or byte pairs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from typing import TypeVar

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from aecore.batch import END, PAD, START, UNKNOWN
from aecore.data.recipe import BPE_SIZE, SMALLEST, Recipe, VocabularyKind
from aecore.errors import RunError

MARKERS = {"<pad>": PAD, "<s>": START, "</s>": END, "<unk>": UNKNOWN}

# White space as WhitespaceSplit knows it (Unicode White_Space); str.split() would also cut at the
# controls 1C to 1F.
_WORD = re.compile("[^\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
# Encodings weigh some kilobytes a sentence until they are flattened; a chunk bounds that.
_CHUNK = 8192
Item = TypeVar("Item")


def words(sentence: str) -> list[str]:
    """The words of a sentence, cut exactly where the tokenizer cuts them."""
    # the space is all the white space there can be
    if sentence.isascii() and sentence.isprintable():
        return sentence.split()  # four times as fast
    return _WORD.findall(sentence)


class Vocabulary:
    """The ids of a corpus: ``<pad>`` 0, ``<s>`` 1, ``</s>`` 2, ``<unk>`` 3, then the text's own.

    ``tokenizer`` is what ``tokenizer.json`` holds; the markers are ids of the model, not words of a
    text: where a text spells ``<pad>``, ``<s>`` or ``</s>`` they are read as unknown words, and its
    own ``<unk>`` is the marker. Characters spell all four like anything else.

    Example:
        >>> vocabulary = Vocabulary.build(["the cat sat", "the dog"])
        >>> flat, offsets = vocabulary.encode(["the bird sat"])
        >>> flat.tolist(), offsets.tolist()
        ([4, 3, 7], [0, 3])
        >>> vocabulary.decode(flat)
        'the <unk> sat'
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def learn(cls, recipe: Recipe, sentences: Iterable[str]) -> Vocabulary:
        """The vocabulary of ``sentences``, those of the training split, which are read once."""
        if recipe.kind == "bpe":
            return cls.build_bpe(sentences, recipe.size or BPE_SIZE)
        build = cls.build_char if recipe.kind == "char" else cls.build
        return build(sentences, recipe.size, recipe.min_count)

    @classmethod
    def build(cls, sentences: Iterable[str], size: int = 0, min_count: int = 1) -> Vocabulary:
        """The words of ``sentences``, the most frequent first, ties alphabetical.

        Args:
            size: entries at most, markers included; 0 for no limit.
            min_count: how often a word must occur.
        """
        counts = Counter(chain.from_iterable(map(words, sentences)))
        tokenizer = _of_tokens(counts, size, min_count)
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return cls(tokenizer)

    @classmethod
    def build_char(cls, sentences: Iterable[str], size: int = 0, min_count: int = 1) -> Vocabulary:
        """The characters of ``sentences``, the space among them, numbered as words are.

        A character is a Unicode code point; decoding gives the text back, spaces and all.
        """
        counts = Counter(chain.from_iterable(sentences))
        tokenizer = _of_tokens(counts, size, min_count)
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = decoders.Fuse()
        return cls(tokenizer)

    @classmethod
    def build_bpe(cls, sentences: Iterable[str], size: int = BPE_SIZE) -> Vocabulary:
        """Byte pairs up to ``size`` entries, markers and the 256 bytes included; none is unknown.

        A piece carries the space before it, so decoding what was encoded gives back the sentence,
        spaces and all. Pairs that occur once are not merged, so a small corpus may stay below
        ``size``.
        """
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=max(size, SMALLEST["bpe"]),
            min_frequency=2,
            special_tokens=list(MARKERS),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(sentences, trainer)
        return cls(tokenizer)

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Read ``tokenizer.json``; RunError where it is damaged or its markers have other ids."""
        try:
            tokenizer = Tokenizer.from_str(text)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the library is no Exception
            raise RunError(
                f"tokenizer.json is damaged: {error}.",
                "copy it again from where it came, or train the run again",
            ) from error
        found = [tokenizer.id_to_token(number) for number in MARKERS.values()]
        if found != list(MARKERS):
            raise RunError(
                "tokenizer.json is not one of aecore's: its first ids are not the markers.",
                f"ids 0 to 3: {', '.join(map(str, found))}",
                f"due:        {', '.join(MARKERS)}",
            )
        return cls(tokenizer)

    def to_json(self) -> str:
        """The text of ``tokenizer.json``: the same bytes for the same vocabulary."""
        return self.tokenizer.to_str(pretty=True)

    @cached_property
    def kind(self) -> VocabularyKind:
        """What its tokens are."""
        if isinstance(self.tokenizer.model, models.BPE):
            return "bpe"
        split = isinstance(self.tokenizer.pre_tokenizer, pre_tokenizers.Split)
        return "char" if split else "word"

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def encode(self, sentences: Iterable[str]) -> tuple[Tensor, Tensor]:
        """The ids of all sentences, one after the other, without markers for start and end.

        Returns:
            flat (words,) int32, and offsets (sentences + 1,) int64: sentence i is
            ``flat[offsets[i]:offsets[i + 1]]``.
        """
        flat: list[np.ndarray] = [np.empty(0, np.int32)]
        lengths = [0]
        for chunk in chunks(sentences):
            rows = self._rows(chunk)
            lengths += map(len, rows)
            flat.append(np.fromiter(chain.from_iterable(rows), np.int32))
        ids = np.concatenate(flat)
        ids[ids < UNKNOWN] = UNKNOWN  # a marker spelt in the text
        return torch.from_numpy(ids), torch.tensor(lengths).cumsum(0)

    def _rows(self, sentences: list[str]) -> list[list[int]]:
        if self._ids is not None:
            look_up = self._ids.__getitem__
            cut: Callable[[str], Iterable[str]] = words if self.kind == "word" else iter
            return [list(map(look_up, cut(sentence))) for sentence in sentences]
        return [
            found.ids
            for found in self.tokenizer.encode_batch_fast(sentences, add_special_tokens=False)
        ]

    @cached_property
    def _ids(self) -> _WordIds | None:
        """Words and characters, looked up here: the tokenizer's ids, four times as fast."""
        found = self.tokenizer
        plain = found.normalizer is None and not found.get_added_tokens_decoder()
        ours = isinstance(found.model, models.WordLevel) and isinstance(
            found.pre_tokenizer, pre_tokenizers.WhitespaceSplit | pre_tokenizers.Split
        )
        return _WordIds(found.get_vocab()) if plain and ours else None

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """The sentence of one row of ids: up to ``</s>``, without ``<s>`` and ``<pad>``."""
        row = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        if END in row:
            row = row[: row.index(END)]
        text = self.tokenizer.decode(
            [number for number in row if number not in (PAD, START)], skip_special_tokens=False
        )
        # The first piece of a sentence has a space before it like any other; words are joined
        # without one.
        return text.removeprefix(" ")


def _of_tokens(counts: Counter[str], size: int, min_count: int) -> Tokenizer:
    """A tokenizer that looks tokens up: the most frequent first, ties alphabetical."""
    known = [token for token, count in counts.items() if count >= min_count]
    known = sorted(set(known) - MARKERS.keys(), key=lambda token: (-counts[token], token))
    if size:
        del known[max(0, size - len(MARKERS)) :]
    ids = {**MARKERS, **{token: number for number, token in enumerate(known, len(MARKERS))}}
    return Tokenizer(models.WordLevel(ids, unk_token="<unk>"))


class _WordIds(dict[str, int]):
    """Ids by word; any other word is ``<unk>``."""

    def __missing__(self, word: str) -> int:
        return UNKNOWN


def chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Lists of some thousand items, in order."""
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
