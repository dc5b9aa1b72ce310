"""Codes in files and lines: what comes back is what went in, bit for bit, and nothing is
unpickled.
"""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from aecore.errors import ConfigError, DataError, RunError
from aecore.generation.codes import (
    check_suffix,
    code_lines,
    on_space,
    parse_codes,
    read_codes,
    write_codes,
)
from aecore.geometry import Ball, Euclidean, Sphere

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(FINITE, FINITE, FINITE), min_size=1))
def test_lines_bring_every_float_back(rows):
    codes = torch.tensor(rows)
    found = parse_codes([line.encode() for line in code_lines(codes)], "lines")
    assert torch.equal(found, codes)


@pytest.mark.parametrize("name", ["c.npy", "c.safetensors", "c.tsv"])
def test_files_bring_every_float_back(tmp_path, name):
    codes = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)) * 1e-3
    write_codes(tmp_path / name, codes)
    assert torch.equal(read_codes(tmp_path / name), codes)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_other_floats_and_a_single_tensor_of_any_name_are_read(tmp_path):
    np.save(tmp_path / "c.npy", np.arange(6, dtype=np.float64).reshape(2, 3))
    save_file({"z": torch.arange(6).view(2, 3).half()}, tmp_path / "c.safetensors")
    for name in ("c.npy", "c.safetensors"):
        assert torch.equal(read_codes(tmp_path / name), torch.arange(6).view(2, 3).float())


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([b"1\t2\n", b"1\tx\n"], "line 2 is no code: '1\tx'"),
        ([b"1\t2\n", b"1\n"], "line 2 has 1 numbers, line 1 has 2"),
        ([b"1\t2\n", b"\n"], "line 2 is no code: ''"),
        ([b"\xff\x00\n"], "line 1 is no code"),
        ([b"1\t2\n", b"1\tnan\n"], "the code in row 2 is not finite"),
        ([], "holds no codes"),
    ],
)
def test_lines_that_are_no_codes(lines, what):
    with pytest.raises(DataError) as caught:
        parse_codes(lines, "the pipe")
    assert "the pipe" in str(caught.value)
    assert what in str(caught.value)


def test_a_pickle_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    np.save(tmp_path / "object.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(Trap()))
    for name in ("object.npy", "plain.npy"):
        with pytest.raises(DataError, match="holds no codes"):
            read_codes(tmp_path / name)


def test_files_that_hold_something_else(tmp_path):
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "line.npy", np.zeros(3))
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
    save_file({"a": torch.zeros(2, 2), "b": torch.zeros(2, 2)}, tmp_path / "two.safetensors")
    for name in ("words.npy", "line.npy", "cut.safetensors", "two.safetensors", "missing.npy"):
        with pytest.raises(DataError, match=name):
            read_codes(tmp_path / name)


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(ConfigError, match=r"'c.pkl' has no known format"):
        check_suffix(tmp_path.relative_to(tmp_path) / "c.pkl")
    with pytest.raises(RunError, match="could not be written"):
        write_codes(tmp_path / "gone" / "c.npy", torch.zeros(1, 2))


def test_codes_are_put_back_where_rounding_has_moved_them():
    assert torch.equal(
        on_space(Euclidean(), torch.tensor([[3.0, 4.0]])), torch.tensor([[3.0, 4.0]])
    )
    assert on_space(Sphere(), torch.tensor([[0.6002, 0.8002]])).norm().item() == pytest.approx(
        1, abs=1e-6
    )
    assert on_space(Ball(4.0), torch.tensor([[0.0, 0.5001]]))[0, 1].item() == pytest.approx(
        0.5 * (1 - 1e-5), abs=1e-7
    )


@pytest.mark.parametrize(("space", "norm"), [(Sphere(), "0.5"), (Ball(4.0), "0.6")])
def test_codes_that_lie_elsewhere_are_refused(space, norm):
    codes = (
        torch.tensor([[0.5, 0.0], [0.0, 0.0]])
        if space.name == "ball"
        else torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    )
    codes[1, 1] = float(norm)
    with pytest.raises(
        DataError,
        match=rf"(?s)the code in row 2 does not lie in the .* {space.name}.*its norm is {norm}",
    ):
        on_space(space, codes)
