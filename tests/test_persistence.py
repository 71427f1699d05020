# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What is written is read; what is not whole, or not ours, is refused."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import ldmlr_sklearn
from ldmlr_sklearn import _persistence as module
from ldmlr_sklearn._persistence import read, write

ARRAYS = {
    "half": np.linspace(0, 1, 6, dtype=np.float16).reshape(2, 3),
    "double": np.array([0.1, np.nan, np.inf]),
    "scalar": np.array(2.5),
    "empty": np.empty((0, 3), dtype=np.uint8),
    "flags": np.array([True, False]),
    "wide": np.array([2**63, 1], dtype=np.uint64),
    "names": np.array([["a", "über"], ["", "x\0y"]]),
    "objects": np.array(["rare", "common"], dtype=object),
}
VALUES = {"a": 0.1, "b": [1, None, "x"], "c": {"d": True}, "e": float("inf")}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.safetensors"


def test_arrays_and_values_come_back(path):
    write(path, "Thing", ARRAYS, VALUES)
    arrays, values = read(str(path), "Thing")
    assert values == VALUES
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
        assert arrays[name].flags.writeable
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_places_where_no_file_can_be_are_told(path):
    message = r"file.safetensors.x' lies in a folder that does not exist. Create it"
    with pytest.raises(FileNotFoundError, match=message):
        write(path / "x", "Thing", ARRAYS, VALUES)
    with pytest.raises(IsADirectoryError, match=r"is a folder. Expected the name of a"):
        write(str(path.parent), "Thing", ARRAYS, VALUES)
    assert not list(path.parent.iterdir())


def test_layout_byte_order_and_tensors(path):
    table = np.arange(6.0).reshape(2, 3)
    given = {
        "turned": table.T,
        "big": table.astype(">f8"),
        "tensor": torch.tensor(table, requires_grad=True),
    }
    write(path, "Thing", given, {"n": np.int64(3), "x": np.float32(0.5)})
    arrays, values = read(path, "Thing")
    np.testing.assert_array_equal(arrays["turned"], table.T)
    np.testing.assert_array_equal(arrays["big"], table)
    np.testing.assert_array_equal(arrays["tensor"], table)
    assert values == {"n": 3, "x": 0.5}


@pytest.mark.parametrize(
    ("arrays", "values", "message"),
    [
        ({"x": np.zeros(1, dtype=complex)}, {}, "'x' has dtype complex128, which"),
        ({"x": np.array(["a", 1], dtype=object)}, {}, "'x' of dtype object holds more"),
        ({}, {"f": len}, "of type builtin_function_or_method cannot be stored"),
        ({}, {"f": np.zeros(2)}, "of type ndarray cannot be stored"),
    ],
)
def test_what_cannot_be_written_leaves_the_old_file(path, arrays, values, message):
    write(path, "Thing", ARRAYS, VALUES)
    with pytest.raises(TypeError, match=message):
        write(path, "Thing", arrays, values)
    assert read(path, "Thing")[1] == VALUES


def test_interrupted_write_leaves_the_old_file(path, monkeypatch):
    write(path, "Thing", ARRAYS, VALUES)

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path, "Thing", {}, {})
    assert read(path, "Thing")[1] == VALUES
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_missing_file(path):
    with pytest.raises(FileNotFoundError, match=r"no file '.*file\.safetensors'"):
        read(path, "Thing")


class Executed:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize(
    "data",
    [b"", b"hello, world", pickle.dumps(Executed()), bytes(7) + b"\xff" + bytes(9)],
)
def test_other_files_are_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(ValueError, match="is no safetensors file, or it is damaged"):
        read(path, "Thing")


def test_files_of_others_are_refused(path):
    for metadata in (None, {"format": "pt"}):
        save_file({"x": np.zeros(3)}, path, metadata=metadata)
        with pytest.raises(ValueError, match="none that ldmlr_sklearn has written"):
            read(path, "Thing")
    for header in ("{", "[]", "{}"):
        save_file({"x": np.zeros(3)}, path, metadata={module.FORMAT: header})
        with pytest.raises(ValueError, match="damaged"):
            read(path, "Thing")


def test_every_damaged_byte_and_every_truncation_is_found(path):
    write(path, "Thing", {"x": np.arange(4.0)}, {"a": 1})
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        try:
            arrays, values = read(path, "Thing")
        except ValueError:
            continue
        # A flip in what is only noted, such as the version of the library.
        assert values == {"a": 1} and arrays["x"].tolist() == [0, 1, 2, 3]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="damaged"):
            read(path, "Thing")
    path.write_bytes(whole[:-4] + bytes(4))
    with pytest.raises(ValueError, match="does not match its checksum"):
        read(path, "Thing")


def test_another_kind_is_refused(path):
    write(path, "Thing", ARRAYS, VALUES)
    with pytest.raises(ValueError, match="holds a Thing, expected a Gadget"):
        read(path, "Gadget")


def test_versions(path, monkeypatch):
    write(path, "Thing", ARRAYS, VALUES)
    with module.safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()[module.FORMAT])
    assert header["library_version"] == ldmlr_sklearn.__version__
    monkeypatch.setattr(module, "FORMAT_VERSION", (1, 7))
    assert read(path, "Thing")[1] == VALUES  # an older file of the same major version
    write(path, "Thing", ARRAYS, VALUES)
    monkeypatch.setattr(module, "FORMAT_VERSION", (1, 0))
    assert read(path, "Thing")[1] == VALUES
    monkeypatch.setattr(module, "FORMAT_VERSION", (2, 0))
    write(path, "Thing", ARRAYS, VALUES)
    monkeypatch.setattr(module, "FORMAT_VERSION", (1, 0))
    with pytest.raises(ValueError, match=r"in version 2 of .*up to version 1"):
        read(path, "Thing")
