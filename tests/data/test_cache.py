"""The cache: built once, never trusted when damaged, never in the way."""

import errno
import json
import os
import random
import re
import sys
import threading
import zlib
from pathlib import Path

import pytest
import torch

from aecore.data import cache
from aecore.data.batching import evaluation_plan
from aecore.data.build import Order, build
from aecore.data.cache import cache_folder
from aecore.data.corpus import load_corpus
from aecore.data.readers import find_splits
from aecore.data.recipe import Recipe
from aecore.data.spec import DataSpec
from aecore.data.store import FolderStore, MemoryStore, check
from aecore.errors import DataError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AECORE_CACHE", str(tmp_path / "home"))
    return tmp_path / "home" / "data"


@pytest.fixture
def spec(tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "train.txt").write_text("a b c\na b\n\na\nd d d d d\n")
    (folder / "valid.txt").write_text("c x\n")
    (folder / "test.txt").write_text("b\n<unk> a\n")
    return str(folder)


@pytest.fixture
def builds(monkeypatch):
    """The orders that led to reading text."""
    found = []
    real = cache.build

    def count(sources, order, store):
        found.append(order)
        return real(sources, order, store)

    monkeypatch.setattr(cache, "build", count)
    return found


def tensors(corpus):
    for split in (corpus.train, corpus.valid, corpus.test):
        target = [] if split.target is None else [split.target.flat, split.target.offsets]
        originals = (
            [] if split.originals is None else [split.originals.flat, split.originals.offsets]
        )
        labels = [] if split.labels is None else [split.labels]
        yield from (split.flat, split.offsets, *labels, *target, *originals)


def same(one, other):
    assert one.vocabulary.to_json() == other.vocabulary.to_json()
    assert (one.fingerprint, one.kind, one.labels, one.reports) == (
        other.fingerprint,
        other.kind,
        other.labels,
        other.reports,
    )
    assert all(
        torch.equal(a, b) and a.dtype == b.dtype
        for a, b in zip(tensors(one), tensors(other), strict=True)
    )
    return True


@pytest.fixture
def in_memory(spec):
    """The corpus that no file can damage."""
    return build(find_splits(Path(spec)), Order(DataSpec.parse(spec), 200), MemoryStore())


def entries(home):
    return sorted(path for path in home.iterdir() if path.is_dir())


def test_the_second_time_no_text_is_read(spec, builds):
    first = load_corpus(spec)
    assert same(first, load_corpus(spec))
    assert same(first, load_corpus(f"{spec}/../text/"))  # another way to the same folder
    assert len(builds) == 1


@pytest.mark.parametrize("source", ["toy:labelled[:30]", "toy:pairs[:30]"])
def test_every_kind_comes_back_as_it_was(tmp_path, source, builds):
    made = load_corpus(source)
    for split in (made.train, made.valid, made.test):
        sentences = [
            made.vocabulary.decode(row) for row in split.batch(torch.arange(len(split))).tokens
        ]
        if made.kind == "pairs":
            targets = [
                made.vocabulary.decode(row)
                for row in split.target.batch(torch.arange(len(split))).tokens
            ]
            rows = [
                {"source": one, "target": other}
                for one, other in zip(sentences, targets, strict=True)
            ]
        else:
            labels = [made.labels[number] for number in split.labels.tolist()]
            rows = [
                {"text": one, "label": other} for one, other in zip(sentences, labels, strict=True)
            ]
        (tmp_path / f"{split.name}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )
    written, mapped = load_corpus(str(tmp_path)), load_corpus(str(tmp_path))
    assert len(builds) == 1
    assert same(written, mapped)
    assert mapped.fingerprint == made.fingerprint  # in memory, into files, from files: one corpus


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_tensors_are_the_files(spec, home):
    corpus = load_corpus(spec)
    mapped = [
        line for line in Path("/proc/self/maps").read_text().splitlines() if str(home) in line
    ]
    assert len(mapped) >= 6
    corpus.train.flat[0] = 99  # private to the process
    assert load_corpus(spec).train.flat[0] == 5


def test_each_of_the_options_has_an_entry_of_its_own(spec, builds, home):
    variants = [
        {"spec": spec},
        {"spec": f"{spec}[:50%]"},
        {"spec": f"{spec}[:2]"},
        {"spec": spec, "max_length": 4},
        {"spec": spec, "recipe": Recipe(size=6)},
        {"spec": spec, "recipe": Recipe(min_count=2)},
        {"spec": spec, "recipe": Recipe("bpe", 300)},
    ]
    first = [load_corpus(**variant) for variant in variants]
    assert len({corpus.fingerprint for corpus in first}) == 6  # half of four sentences are two
    assert all(
        same(one, load_corpus(**variant)) for one, variant in zip(first, variants, strict=True)
    )
    assert len(builds) == len(entries(home)) == len(variants)


def test_the_vocabulary_of_a_head_is_that_of_the_head_however_it_is_asked_for(spec):
    assert len(load_corpus(f"{spec}[:2]", recipe=Recipe(size=6)).vocabulary) == 6
    assert len(load_corpus(f"{spec}[:2]").vocabulary) == 7
    assert len(load_corpus(spec).vocabulary) == 8


def test_a_run_with_its_own_vocabulary_finds_the_entry_of_its_training(spec, builds):
    trained = load_corpus(spec, recipe=Recipe(size=7))
    assert same(trained, load_corpus(spec, vocabulary=trained.vocabulary))
    assert len(builds) == 1
    foreign = load_corpus("toy[:5]").vocabulary
    assert load_corpus(spec, vocabulary=foreign).vocabulary is foreign
    assert load_corpus(spec, vocabulary=foreign).train.flat.max() <= len(foreign)
    assert len(builds) == 2


def test_new_text_is_read_and_what_was_made_of_the_old_is_removed(spec, builds, home):
    first = load_corpus(spec)
    load_corpus(f"{spec}[:1]")
    Path(spec, "valid.txt").write_text("c a\n")  # as many bytes as before
    second = load_corpus(spec)
    assert second.fingerprint != first.fingerprint
    assert len(builds) == 3
    assert len(entries(home)) == len(list(home.glob("*.json"))) == 1
    assert first.valid.flat.tolist() == [7, 3]  # still mapped by whoever reads it


def test_touched_files_are_read_again(spec, builds):
    load_corpus(spec)
    os.utime(Path(spec, "train.txt"), ns=(1, 1))
    load_corpus(spec)
    assert len(builds) == 2


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


def grow(path):
    path.write_bytes(path.read_bytes() + b"\0\0\0\0\0\0\0\0")


FILES = ["train.ids", "train.bounds", "valid.ids", "test.bounds", "tokenizer.json", "meta.json"]


@pytest.mark.parametrize("damage", [cut, flip, empty, grow, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_entry_is_built_again(spec, in_memory, builds, home, name, damage):
    load_corpus(spec)
    damage(entries(home)[0] / name)
    notes = []
    assert same(in_memory, load_corpus(spec, tell=notes.append))
    assert len(builds) == 2
    assert notes == [f"the cache entry '{entries(home)[0]}' is damaged and is built again"]
    assert same(in_memory, load_corpus(spec, tell=notes.append))
    assert (len(builds), len(notes)) == (2, 1)


def test_one_bit_anywhere_of_a_large_file_is_seen(tmp_path):
    path = tmp_path / "train.ids"
    data = bytearray(random.Random(0).randbytes(9 * 2**20 + 5))
    path.write_bytes(data)
    due = check(path)
    for place in (0, 3 * 2**20 + 17, 5 * 2**20, len(data) - 1):
        data[place] ^= 4
        path.write_bytes(data)
        assert check(path) != due
        data[place] ^= 4
    path.write_bytes(data)
    assert check(path) == due == f"{len(data)}:{zlib.crc32(data):08x}"


@pytest.mark.parametrize(
    "change",
    [
        {"format": 0},
        {"format": "1"},
        {"kind": "audio"},
        {"reports": [{}]},
        {"more": 1},
        {"files": {}},
        {"labels": None},
    ],
)
def test_a_foreign_entry_is_built_again(spec, builds, home, change):
    first = load_corpus(spec)
    path = entries(home)[0] / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert same(first, load_corpus(spec))
    assert len(builds) == 2


def test_an_entry_with_a_file_too_many_is_built_again(spec, builds, home):
    load_corpus(spec)
    (entries(home)[0] / "train.labels").write_bytes(b"\0\0\0\0")
    assert load_corpus(spec).train.labels is None
    assert len(builds) == 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"tokenizer": 3}', '{"tokenizer": "../.."}', "\ud7ff"]
)
def test_a_damaged_pointer_is_written_again(spec, builds, home, text):
    first = load_corpus(spec)
    pointer = next(home.glob("*.json"))
    pointer.write_text(text, encoding="utf-16")
    assert same(first, load_corpus(spec))
    pointer.write_text(text, encoding="utf-8")
    assert same(first, load_corpus(spec))
    assert len(builds) == 3
    assert len(entries(home)) == 1


def test_many_at_once_build_once(spec, builds, monkeypatch):
    """A lock on a file of one's own holds against other threads as against other processes."""
    found, notes, start = [], [], threading.Barrier(4)
    building = threading.Event()
    real = cache.build

    def slow(*arguments):
        building.wait(0.5)
        return real(*arguments)

    monkeypatch.setattr(cache, "build", slow)

    def load():
        start.wait()
        found.append(load_corpus(spec, tell=notes.append))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert len(found) == 4
    assert all(same(found[0], corpus) for corpus in found)
    assert set(notes) == {"another process prepares this corpus: waiting for it"}


def test_what_a_killed_build_left_is_swept(spec, home):
    load_corpus(spec)
    paths = entries(home)[0].name.partition("-")[0]
    (home / f".{paths}-left").mkdir()
    (home / f".{paths}-left" / "train.ids").write_bytes(b"half")
    (home / ".others-left").mkdir()
    Path(spec, "valid.txt").write_text("new\n")
    load_corpus(spec)
    assert [path.name for path in home.iterdir() if path.name.startswith(".")] == [".others-left"]


def test_a_failed_build_leaves_nothing(spec, home):
    Path(spec, "test.txt").write_text("\n")
    with pytest.raises(DataError, match="holds no sentence"):
        load_corpus(spec)
    assert [path.suffix for path in home.iterdir()] == [".lock"]


def test_files_that_change_while_they_are_read_are_refused(spec, home, monkeypatch):
    real = cache.build

    def append(*arguments):
        made = real(*arguments)
        with Path(spec, "train.txt").open("a") as file:
            file.write("more\n")
        return made

    monkeypatch.setattr(cache, "build", append)
    with pytest.raises(DataError, match="has changed while it was read"):
        load_corpus(spec)
    assert entries(home) == []


# Where nothing can be written


def test_without_a_cache_the_text_is_prepared_for_one_process(spec, tmp_path, monkeypatch):
    expected = load_corpus(spec)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AECORE_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    notes = []
    found = load_corpus(spec, tell=notes.append)
    assert same(expected, found)
    assert notes == [
        f"the cache cannot be written ({tmp_path}/file/data: Not a directory), so the text is "
        f"prepared for this process alone"
    ]
    assert not list(tmp_path.glob("aecore-*"))
    assert [len(found.train.batch(indices)) for indices in evaluation_plan(found.train, 3)] == [
        3,
        1,
    ]


@pytest.fixture
def full_disk(monkeypatch):
    def append(self, name, values):
        raise OSError(errno.ENOSPC, "No space left on device", str(self.folder / name))

    monkeypatch.setattr(FolderStore, "append", append)


@pytest.mark.usefixtures("full_disk")
def test_on_a_full_disk_a_small_corpus_is_held_in_memory(spec, home):
    notes = []
    corpus = load_corpus(spec, tell=notes.append)
    assert corpus.train.flat.tolist() == [5, 6, 7, 5, 6, 5, 4, 4, 4, 4, 4]
    assert len(notes) == 1
    assert "train.bounds: No space left on device" in notes[0]
    assert entries(home) == []


@pytest.mark.usefixtures("full_disk")
def test_on_a_full_disk_a_large_corpus_is_refused(spec, monkeypatch):
    monkeypatch.setattr(cache, "SMALL", 10)
    with pytest.raises(DataError) as caught:
        load_corpus(spec)
    assert str(caught.value).startswith(
        "there is no room to prepare 0.0 GB of text.\n  cache:            /"
    )
    assert "\n  AECORE_CACHE names another folder" in str(caught.value)


def test_a_whole_cache_that_cannot_be_written_is_read(spec, builds, home, monkeypatch):
    first = load_corpus(spec)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(home))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert same(first, load_corpus(spec, tell=pytest.fail))
    assert len(builds) == 1


@pytest.mark.parametrize(
    ("named", "shared", "folder"),
    [
        ("/c", "/x", "/c/data"),
        ("~/c", "", "/home/me/c/data"),
        ("", "/x", "/x/aecore/data"),
        ("", "relative", "/home/me/.cache/aecore/data"),  # the XDG rules: not absolute is ignored
        (None, None, "/home/me/.cache/aecore/data"),
    ],
)
def test_where_the_cache_is(monkeypatch, named, shared, folder):
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in (("AECORE_CACHE", named), ("XDG_CACHE_HOME", shared)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert str(cache_folder()) == folder


def test_a_large_corpus_says_that_it_is_read_once(spec, monkeypatch):
    monkeypatch.setattr(cache, "_WORTH_SAYING", 10)
    notes = []
    load_corpus(spec, tell=notes.append)
    load_corpus(spec, tell=notes.append)
    assert len(notes) == 1
    assert re.fullmatch(r"reading 0\.00 GB of text into the cache .*, once", notes[0])
