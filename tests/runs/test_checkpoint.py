"""Checkpoint files: the same bytes for the same contents, and no damage goes unseen."""

import json
import os
import random
import struct
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from aecore.errors import RunError
from aecore.runs.checkpoint import KEY, load_tensors, save_tensors, select

TENSORS = {
    "model.weight": torch.tensor([[1.0, -2.0], [0.5, float("inf")]]),
    "model.half": torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
    "model.count": torch.tensor(7),
    "model.flags": torch.tensor([True, False]),
    "model.empty": torch.zeros(0, 3),
    "best.weight": torch.tensor([1e-3], dtype=torch.float64),
}
META = {"state": {"step": 3, "best": None, "epoch": 0.25}, "journal": [1.5, "ä"], "nothing": {}}


@pytest.fixture
def path(tmp_path):
    save_tensors(tmp_path / "x.safetensors", TENSORS, META)
    return tmp_path / "x.safetensors"


def same(one, other):
    return set(one) == set(other) and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and torch.equal(one[name], other[name])
        for name in one
    )


def test_what_was_saved_is_loaded(path):
    tensors, meta = load_tensors(path)
    assert same(tensors, TENSORS)
    assert meta == META


def test_anybody_can_read_it(path):
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == set(TENSORS)
        assert list(file.metadata()) == [KEY]
        assert json.loads(file.metadata()[KEY])["meta"] == META


def test_twenty_saves_are_the_same_bytes(tmp_path):
    """In any order of tensors and of keys, and in other processes, whose hashes are salted
    otherwise.
    """
    first = None
    for turn in range(20):
        names, keys = list(TENSORS), list(META)
        random.Random(turn).shuffle(names)
        random.Random(turn).shuffle(keys)
        save_tensors(
            tmp_path / "x",
            {name: TENSORS[name].clone() for name in names},
            {key: META[key] for key in keys},
        )
        data = (tmp_path / "x").read_bytes()
        first = first or data
        assert data == first


@pytest.mark.verify
def test_another_process_writes_the_same_bytes(tmp_path):
    code = (
        "import sys, torch; from pathlib import Path; from aecore.runs.checkpoint import "
        "save_tensors\n"
        "names = [f'model.layer{i}.weight' for i in range(30)]\n"
        "meta = {name: i for i, name in enumerate(set(names))} and {'a': 1, 'b': sorted(names)}\n"
        "save_tensors(Path(sys.argv[1]), {name: torch.ones(3) for name in set(names)}, meta)\n"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / seed)], check=True, env=environment
        )
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_views_and_graphs_are_saved_by_value(tmp_path):
    whole = torch.arange(12.0).view(3, 4).requires_grad_()
    views = {"t": whole.t(), "row": whole[1], "expanded": whole[:1].expand(5, 4)}
    save_tensors(tmp_path / "x", views, {})
    assert same(
        load_tensors(tmp_path / "x")[0],
        {name: value.detach().contiguous() for name, value in views.items()},
    )


def test_tied_tensors_are_saved_twice(tmp_path):
    shared = torch.arange(4.0)
    save_tensors(tmp_path / "x", {"a": shared, "b": shared, "c": shared.view(2, 2)}, {})
    assert same(load_tensors(tmp_path / "x")[0], {"a": shared, "b": shared, "c": shared.view(2, 2)})


def readable(path):
    """Whether the file loads; anything but a RunError is a failure of the test."""
    try:
        return load_tensors(path)
    except RunError as error:
        return None if "is damaged" in error.what else error


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80, 0xFF])
def test_no_flipped_byte_goes_unseen(path, flip):
    data = path.read_bytes()
    silent = []
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= flip
        path.write_bytes(changed)
        found = readable(path)
        if found is not None and not (same(found[0], TENSORS) and found[1] == META):
            silent.append(position)
    assert silent == []


def test_a_flipped_byte_of_a_tensor_is_always_refused(path):
    data = path.read_bytes()
    (header,) = struct.unpack("<Q", data[:8])
    for position in range(8 + header, len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x01
        path.write_bytes(changed)
        assert readable(path) is None, position


def test_no_length_that_is_too_short_or_too_long_is_read(path):
    data = path.read_bytes()
    for length in [*range(0, 40), *range(40, len(data), 7), len(data) - 1]:
        path.write_bytes(data[:length])
        assert readable(path) is None, length
    path.write_bytes(data + b"\0")
    assert readable(path) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04.",
        b"{}",
        b"\xff" * 100,
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{}",
        b"\0" * 64,
    ],
)
def test_files_of_others(path, data):
    path.write_bytes(data)
    assert readable(path) is None


@pytest.mark.parametrize(
    "meta",
    [None, {KEY: "3"}, {KEY: "[]"}, {KEY: '{"meta": {}}'}, {KEY: "not json"}, {"other": "{}"}],
)
def test_safetensors_files_of_others(path, meta):
    save_file({"a": torch.zeros(2)}, path, metadata=meta)
    assert readable(path) is None


def test_the_words(path, tmp_path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunError) as caught:
        load_tensors(path)
    assert str(caught.value) == (
        f"'{path}' is damaged\n"
        f"  reason: the contents do not match their SHA-256: truncated or altered"
    )
    with pytest.raises(RunError) as caught:
        load_tensors(tmp_path / "none")
    assert (
        str(caught.value)
        == f"'{tmp_path / 'none'}' cannot be read\n  reason: No such file or directory"
    )


def test_a_prefix_is_taken_off():
    assert set(select(TENSORS, "model.")) == {"weight", "half", "count", "flags", "empty"}
    assert set(select(TENSORS, "best.")) == {"weight"}
    assert select(TENSORS, "none.") == {}
