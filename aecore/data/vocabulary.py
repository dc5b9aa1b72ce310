"""Words to ids and back, kept in the Hugging Face tokenizers format."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from aecore.batch import END, PAD, START, UNKNOWN
from aecore.errors import RunError

MARKERS = {"<pad>": PAD, "<s>": START, "</s>": END, "<unk>": UNKNOWN}

# White space as WhitespaceSplit knows it (Unicode White_Space); str.split() would also cut at the controls 1C to 1F.
_WORD = re.compile("[^\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
# Encodings weigh some kilobytes a sentence until they are flattened; a chunk bounds that.
_CHUNK = 8192


def words(sentence: str) -> list[str]:
    """The words of a sentence, cut exactly where the tokenizer cuts them."""
    return _WORD.findall(sentence)


class Vocabulary:
    """The ids of a corpus: ``<pad>`` 0, ``<s>`` 1, ``</s>`` 2, ``<unk>`` 3, then words.

    ``tokenizer`` is what ``tokenizer.json`` holds; the markers are ids of the model, not words of a text: where a text
    spells ``<pad>``, ``<s>`` or ``</s>`` they are read as unknown words, and its own ``<unk>`` is the marker.

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
    def build(cls, sentences: Iterable[str]) -> Vocabulary:
        """Every word of ``sentences`` (the training split, nothing else), the most frequent first, ties alphabetical."""
        counts = Counter(chain.from_iterable(map(words, sentences)))
        known = [word for word in counts if word not in MARKERS]
        known.sort(key=lambda word: (-counts[word], word))
        ids = {**MARKERS, **{word: number for number, word in enumerate(known, start=len(MARKERS))}}
        tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return cls(tokenizer)

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Read ``tokenizer.json``; RunError where it is damaged or its markers have other ids."""
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # tokenizers raises nothing more specific
            raise RunError(
                f"tokenizer.json is damaged: {error}.", "copy it again from where it came, or train the run again"
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

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def encode(self, sentences: Iterable[str]) -> tuple[Tensor, Tensor]:
        """The ids of all sentences, one after the other, without markers for start and end.

        Returns:
            flat (words,) int32, and offsets (sentences + 1,) int64: sentence i is ``flat[offsets[i]:offsets[i + 1]]``.
        """
        flat: list[np.ndarray] = [np.empty(0, np.int32)]
        lengths = [0]
        for chunk in _chunks(sentences):
            rows = [found.ids for found in self.tokenizer.encode_batch_fast(chunk, add_special_tokens=False)]
            lengths += map(len, rows)
            flat.append(np.fromiter(chain.from_iterable(rows), np.int32))
        ids = np.concatenate(flat)
        ids[ids < UNKNOWN] = UNKNOWN  # a marker spelt in the text
        return torch.from_numpy(ids), torch.tensor(lengths).cumsum(0)

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """The sentence of one row of ids: up to the first ``</s>``, without ``<s>`` and ``<pad>``."""
        row = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        if END in row:
            row = row[: row.index(END)]
        return self.tokenizer.decode([number for number in row if number not in (PAD, START)], skip_special_tokens=False)


def _chunks(sentences: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(sentences)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
