"""Words to ids and back."""

import doctest
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from aecore.batch import END, PAD, START, UNKNOWN
from aecore.data import toy, vocabulary
from aecore.data.recipe import Recipe
from aecore.data.vocabulary import Vocabulary, words
from aecore.errors import RunError

WORDS = st.text(
    st.characters(exclude_categories=("Cs", "Zs", "Zl", "Zp", "Cc")), min_size=1, max_size=6
)
SENTENCES = st.lists(st.lists(WORDS, max_size=5).map(" ".join), min_size=1, max_size=6)


def ids(known: Vocabulary, sentence: str) -> list[int]:
    return known.encode([sentence])[0].tolist()


def test_the_examples_in_the_docstrings_are_true():
    found = doctest.testmod(vocabulary)
    assert found.attempted == 4
    assert found.failed == 0


def test_markers_first_then_by_frequency_ties_alphabetical():
    known = Vocabulary.build(["b a c", "c b", "c Z"])
    assert len(known) == 8
    assert ids(known, "c b Z a") == [4, 5, 6, 7]


def test_unknown_in_the_text_is_the_marker_and_other_markers_are_unknown():
    known = Vocabulary.build(["<unk> <unk> a", "<s> </s> <pad> b"])
    assert len(known) == 6
    assert ids(known, "<unk> a <s> </s> <pad> b new a<s>") == [3, 4, 3, 3, 3, 5, 3, 3]


def test_flat_ids_and_offsets_also_of_empty_sentences_and_of_none():
    known = Vocabulary.build(["a b"])
    flat, offsets = known.encode(iter(["b a", "", " x "]))
    assert flat.tolist() == [5, 4, 3]
    assert offsets.tolist() == [0, 2, 2, 3]
    assert (str(flat.dtype), str(offsets.dtype)) == ("torch.int32", "torch.int64")
    flat, offsets = known.encode([])
    assert (flat.tolist(), offsets.tolist()) == ([], [0])


def test_chunks_join_without_a_seam(monkeypatch):
    monkeypatch.setattr(vocabulary, "_CHUNK", 2)
    flat, offsets = Vocabulary.build(["a b c"]).encode(["a", "b c", "c", "a a", "b"])
    assert flat.tolist() == [4, 5, 6, 6, 4, 4, 5]
    assert offsets.tolist() == [0, 1, 3, 4, 6, 7]


def test_decode_stops_at_the_end_and_skips_markers():
    known = Vocabulary.build(["a b"])
    assert known.decode([START, 5, UNKNOWN, 4, END, 4, END, PAD]) == "b <unk> a"
    assert known.decode([PAD, 4, PAD, 5]) == "a b"
    assert known.decode([END]) == known.decode([]) == ""


@given(SENTENCES)
def test_known_words_come_back_as_they_were(sentences):
    known = Vocabulary.build(sentences)
    flat, offsets = known.encode(sentences)
    for number, sentence in enumerate(sentences):
        row = flat[offsets[number] : offsets[number + 1]]
        expected = [
            "<unk>" if word in ("<pad>", "<s>", "</s>") else word
            for word in sentence.split(" ")
            if word
        ]
        assert known.decode(row) == " ".join(expected)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_words_are_cut_where_the_tokenizer_cuts(sentence):
    cut = Vocabulary.build(["a"]).tokenizer.pre_tokenizer.pre_tokenize_str(sentence)
    assert words(sentence) == [word for word, _ in cut]


def test_every_white_space_character_is_cut_alike():
    cut = Vocabulary.build(["a"]).tokenizer.pre_tokenizer
    for code in (
        *range(0x21),
        0x85,
        0xA0,
        0x180E,
        0x200B,
        0xFEFF,
        *range(0x2000, 0x2030),
        0x205F,
        0x3000,
        0x1680,
    ):
        sentence = f"a{chr(code)}b"
        assert words(sentence) == [word for word, _ in cut.pre_tokenize_str(sentence)], hex(code)


def test_the_file_is_byte_stable_and_reads_back():
    sentences = ["the cat sat", "the dog 'sat' \u2603"]
    text = Vocabulary.build(sentences).to_json()
    again = Vocabulary.from_json(text)
    assert again.to_json() == text == Vocabulary.build(reversed(sentences)).to_json()
    assert ids(again, "the dog ran") == [4, 7, 3]
    assert len(again) == 10
    # plain Hugging Face reads it too
    assert Tokenizer.from_str(text).encode("the sat").ids == [4, 8]


@pytest.mark.parametrize("cut", [0, 1, 40, -30])
def test_a_damaged_file(cut):
    text = Vocabulary.build(["a b"]).to_json()
    with pytest.raises(RunError, match=r"^tokenizer.json is damaged: "):
        Vocabulary.from_json(text[:cut])


def test_a_foreign_file():
    foreign = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")).to_str()
    with pytest.raises(RunError) as caught:
        Vocabulary.from_json(foreign)
    assert str(caught.value) == (
        "tokenizer.json is not one of aecore's: its first ids are not the markers.\n"
        "  ids 0 to 3: [UNK], a, None, None\n"
        "  due:        <pad>, <s>, </s>, <unk>"
    )


def test_a_limit_and_a_least_count():
    sentences = ["a a a b b c d d", "a"]
    assert len(Vocabulary.build(sentences, size=6)) == 6
    # b and d tie: alphabetical
    assert ids(Vocabulary.build(sentences, size=6), "a b d c") == [4, 5, 3, 3]
    assert ids(Vocabulary.build(sentences, min_count=2), "a b c d") == [4, 5, 3, 6]
    assert ids(Vocabulary.build(sentences, size=5, min_count=2), "a b c d") == [4, 3, 3, 3]
    assert len(Vocabulary.build(sentences, min_count=9)) == 4


def test_the_quick_look_up_gives_what_the_tokenizer_gives():
    known = Vocabulary.build(["the cat <unk> sat", "\u2603 dog"])
    for sentence in (
        "the  dog\tran",
        "<s> cat \x1fsat",
        "\u2603\u3000the",
        "",
        "</s><unk> <unk>",
        "a\x00 cat",
    ):
        found = known.tokenizer.encode(sentence, add_special_tokens=False).ids
        assert ids(known, sentence) == [max(3, number) for number in found]


# Byte pairs

TEXT = [sentence.text for sentence in toy.sentences()["train"][:400]]


@pytest.fixture(scope="module")
def pieces():
    return Vocabulary.build_bpe(TEXT, 400)


def test_byte_pairs_know_every_text_and_give_it_back(pieces):
    assert len(pieces) == 400
    assert len(ids(pieces, TEXT[0])) < len(TEXT[0]) / 2
    for sentence in (
        *TEXT,
        "Ünïcödé \U0001f389, “quoted” and 日本 語",
        "two  spaces and a\ttab",
        "don't  stop -- now!",
        "x",
    ):
        assert pieces.decode(pieces.encode([sentence])[0]) == sentence
        assert 3 not in ids(pieces, sentence)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1).map(str.strip).filter(bool))
def test_byte_pairs_give_back_whatever_is_stripped(sentence):
    known = _small_pieces()
    if not any(marker in sentence for marker in vocabulary.MARKERS):
        assert known.decode(known.encode([sentence])[0]) == sentence


@cache
def _small_pieces():
    return Vocabulary.build_bpe(["a b"], 300)


def test_byte_pairs_treat_markers_as_words_do(pieces):
    assert ids(pieces, "<unk>") == [3]
    assert ids(pieces, "<s></s><pad>") == [3, 3, 3]
    assert pieces.decode(pieces.encode(["the <unk> cat"])[0]) == "the <unk> cat"
    assert pieces.decode([*ids(pieces, TEXT[0]), END, PAD]) == TEXT[0]


def test_the_first_word_is_the_piece_that_it_is_elsewhere(pieces):
    assert ids(pieces, "the the") == ids(pieces, "the") * 2


def test_byte_pairs_are_the_same_whatever_the_threads_and_read_back(pieces, monkeypatch):
    text = pieces.to_json()
    for parallel in ("false", "true"):
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", parallel)
        assert Vocabulary.build_bpe(iter(TEXT), 400).to_json() == text
    again = Vocabulary.from_json(text)
    assert again.to_json() == text
    assert ids(again, TEXT[3]) == ids(pieces, TEXT[3])
    assert again.decode(ids(pieces, TEXT[3])) == TEXT[3]


def test_a_small_text_makes_few_pieces():
    assert len(Vocabulary.build_bpe(["a"], 8000)) == 260
    assert len(Vocabulary.build_bpe(["a"], 5)) == 260


def test_characters_are_numbered_as_words_are_and_give_the_text_back():
    known = Vocabulary.build_char(["CC(=O)O", "c1ccccc1 日本"])
    # c 6 times, then those that come twice, in the order of code points
    assert known.decode([4, 5, 6, 7]) == "c1CO"
    assert ids(known, "Cx ") == [6, 3, known.tokenizer.token_to_id(" ")]
    for text in ("C C  O", "日本1", "1"):
        assert known.decode(ids(known, text)) == text
    again = Vocabulary.from_json(known.to_json())
    assert (again.kind, again.to_json()) == ("char", known.to_json())
    assert ids(again, "O=C 本") == again.tokenizer.encode("O=C 本").ids


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1).map(str.strip).filter(bool))
def test_characters_give_back_whatever_they_were_made_of(sentence):
    known = Vocabulary.build_char([sentence])
    assert known.decode(known.encode([sentence])[0]) == sentence
    assert known.encode([sentence])[0].tolist() == known.tokenizer.encode(sentence).ids


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
def test_the_kind_is_read_back_from_the_file(kind):
    made = Vocabulary.learn(Recipe(kind), ["a b"])
    assert (made.kind, Vocabulary.from_json(made.to_json()).kind) == (kind, kind)
