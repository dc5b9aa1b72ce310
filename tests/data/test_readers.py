"""Files to sentences: what is kept, what is reported, what is refused."""

from pathlib import Path

import pytest

from aecore.data import readers
from aecore.data.readers import SPLITS, Text, find_splits, read_file
from aecore.data.rows import Limit
from aecore.errors import DataError


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "valid", "test"):
        write(tmp_path / "ptb" / f"{split}.txt", f"a {split} sentence\n".encode())
    return tmp_path / "ptb"


def read_folder(path: Path, max_length: int) -> dict[str, Text]:
    """Every split to its end, as loading a corpus does."""
    read = {}
    for name, source in find_splits(path).items():
        reading = source.read(Limit(max_length))
        read[name] = Text([row.text for row in reading], reading.report)
    assert list(read) == list(SPLITS)
    return read


def refusal(path: Path, max_length: int = 200) -> str:
    with pytest.raises(DataError) as caught:
        read_folder(path, max_length)
    return str(caught.value)


def test_the_three_splits(folder):
    read = read_folder(folder, 200)
    assert {name: text.sentences for name, text in read.items()} == {
        "train": ["a train sentence"],
        "valid": ["a valid sentence"],
        "test": ["a test sentence"],
    }
    assert [text.report.lines() for text in read.values()] == [[], [], []]


@pytest.mark.parametrize(
    ("data", "sentences"),
    [
        (b"a b\nc d\n", ["a b", "c d"]),
        (b"a b\nc d", ["a b", "c d"]),  # no newline at the end
        (b"a b\r\nc d\r\n", ["a b", "c d"]),
        (b"\xef\xbb\xbfa b\nc\n", ["a b", "c"]),
        (b" a b \n\tc\n", ["a b", "c"]),  # PTB has a space on either side
        ("a\u2028b\nc\x0bd\x85e\n".encode(), ["a\u2028b", "c\x0bd\x85e"]),
        ("日本 語\n".encode(), ["日本 語"]),
    ],
)
def test_lines_end_at_newlines_only(tmp_path, data, sentences):
    text = read_file(write(tmp_path / "f.txt", data), Limit(200))
    assert text.sentences == sentences
    assert text.report.lines() == []
    assert text.report.kept == len(sentences)


def test_bad_lines_are_counted_by_reason_with_their_numbers(tmp_path):
    data = b"one\ntwo\nthree\n\nfive\n\xff six\nseven\na b c d\n   \r\nten\n\xe9\n\n"
    text = read_file(write(tmp_path / "valid.txt", data), Limit(3))
    assert text.sentences == ["one", "two", "three", "five", "seven", "ten"]
    assert text.report.lines() == [
        "valid.txt: 3 empty lines dropped (lines 4, 9, 12)",
        "valid.txt: 2 non-UTF-8 lines dropped (lines 6, 11)",
        "valid.txt: 1 over-long (more than 3 words) line dropped (line 8)",
    ]


def test_only_the_first_numbers_of_many_bad_lines_are_shown(tmp_path):
    text = read_file(write(tmp_path / "train.txt", b"a\n" + b"\n" * 1205), Limit(3))
    assert text.report.lines() == [
        "train.txt: 1,205 empty lines dropped (lines 2, 3, 4, 5, 6 and 1,200 more)"
    ]


def test_a_sentence_of_exactly_max_length_words_is_kept(tmp_path):
    path = write(tmp_path / "f.txt", b"a b c\naaaa bbbb cccc\na b c d\na  b  c\n")
    assert read_file(path, Limit(3)).sentences == ["a b c", "aaaa bbbb cccc", "a  b  c"]


def test_a_missing_folder_names_its_neighbour_and_the_toy(folder, tmp_path):
    missing = tmp_path / "ptbb"
    assert refusal(missing) == (
        f"there is no folder '{missing}'. Did you mean 'ptb'?\n  looked at: {missing}\n"
        f"  without files: --data toy is built in"
    )
    assert "Did you mean" not in refusal(tmp_path / "nowhere" / "yahoo")
    assert "Did you mean 'toy'?" in refusal(tmp_path / "tyo")


def test_a_file_instead_of_a_folder(folder):
    assert refusal(folder / "train.txt") == (
        f"'{folder}/train.txt' is a file; the folder that holds train.txt, valid.txt and test.txt "
        f"was due.\n"
        f"  its folder: {folder}"
    )


def test_a_missing_split_shows_what_there_is(folder):
    (folder / "valid.txt").rename(folder / "val.txt")
    assert refusal(folder) == (
        f"'{folder}' has no valid.txt. Did you mean 'val.txt'?\n"
        "  found: test.txt, train.txt, val.txt\n"
        "  due:   train.txt, valid.txt, test.txt, one sentence a line; or train.jsonl, "
        "valid.jsonl, test.jsonl"
    )
    (folder / "val.txt").unlink()
    (folder / "test.txt").unlink()
    assert refusal(folder).startswith(
        f"'{folder}' has no valid.txt and no test.txt.\n  found: train.txt\n"
    )


def test_an_empty_folder_and_a_crowded_one(tmp_path):
    assert "\n  found: nothing\n" in refusal(tmp_path)
    for number in range(10):
        write(tmp_path / f"{number}.csv", b"")
    assert "7.csv and 2 more\n" in refusal(tmp_path)


def test_a_folder_where_a_file_was_due(folder):
    (folder / "valid.txt").unlink()
    (folder / "valid.txt").mkdir()
    assert refusal(folder).startswith(f"'{folder}/valid.txt' is a folder; a text file was due.")


def test_a_split_left_without_sentences(folder):
    write(folder / "test.txt", b"\n\na b c d\n")
    assert refusal(folder, max_length=3) == (
        f"'{folder}/test.txt' holds no sentence.\n"
        "  test.txt: 2 empty lines dropped (lines 1, 2)\n"
        "  test.txt: 1 over-long (more than 3 words) line dropped (line 3)\n"
        "  due: one sentence a line, of 1 to 3 words, in UTF-8"
    )
    write(folder / "test.txt", b"")
    assert "holds no sentence.\n  it is empty\n" in refusal(folder)


def test_a_file_with_nul_bytes(folder):
    write(folder / "valid.txt", "a b\nc d\n".encode("utf-16"))
    assert refusal(folder).startswith(
        f"'{folder}/valid.txt' is not a text file in UTF-8: line 1 holds a NUL byte.\n"
    )
    assert "iconv -f utf-16" in refusal(folder)


@pytest.mark.parametrize(
    ("good", "bad", "refused"), [(1, 1, False), (1, 2, True), (99, 20, False), (99, 23, True)]
)
def test_a_file_in_another_encoding(folder, good, bad, refused):
    """Up to half of a small file, up to ten lines and a tenth of a large one: 119 lines allow 21,
    122 allow 22.
    """
    write(folder / "train.txt", b"cafe\n" * good + "café\n".encode("latin-1") * bad)
    if refused:
        assert f"{bad} of its {good + bad} lines cannot be decoded" in refusal(folder)
    else:
        assert read_folder(folder, 200)["train"].report.dropped["non-UTF-8"].count == bad


@pytest.mark.parametrize("method", ["open", "iterdir"])
def test_no_rights(folder, monkeypatch, method):
    def deny(self, *_):
        raise PermissionError(13, "Permission denied", str(self))

    # root may read everything, so rights cannot be taken away for real
    monkeypatch.setattr(Path, method, deny)
    assert "cannot be read: Permission denied.\n  ask for the right to read it" in refusal(folder)


def test_a_dangling_link(folder):
    (folder / "train.txt").unlink()
    (folder / "train.txt").symlink_to("gone.txt")
    assert refusal(folder) == f"'{folder}/train.txt' cannot be read: No such file or directory."


def test_a_split_in_two_formats_or_none(folder):
    write(folder / "valid.jsonl", b"{}")
    assert refusal(folder) == (
        f"'{folder}' has both valid.txt and valid.jsonl; one of the two was due.\n"
        "  likely: one was made from the other; move one of them away"
    )
    (folder / "valid.txt").unlink()
    (folder / "test.txt").unlink()
    assert refusal(folder).startswith(
        f"'{folder}' has no test.jsonl.\n  found: train.txt, valid.jsonl\n"
    )


def test_a_line_without_end_is_held_only_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "LONGEST_LINE", 2**20)
    text = read_file(
        write(
            tmp_path / "f.txt",
            b"a\n" + b"b " * 2**20 + b"\n" + b"c " * 2**19 + b"\nd\n" + b"e" * 2**21,
        ),
        Limit(3),
    )
    assert text.sentences == ["a", "d"]
    assert text.report.lines() == [
        "f.txt: 3 over-long (more than 1 MiB) lines dropped (lines 2, 3, 5)"
    ]
