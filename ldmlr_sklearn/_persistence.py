# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Named arrays and plain values in one file that holds no code.

A file is a safetensors file [1]_. Its metadata holds one JSON string: the name and the
version of the format, the version of this library, the kind of thing that is stored,
plain values, arrays of text, and a SHA-256 checksum over all of that and the numbers.
Reading is parsing: nothing in a file can be executed.

References
----------
.. [1] https://huggingface.co/docs/safetensors
"""

import hashlib
import json
import os
import sys
import uuid
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ldmlr_sklearn._torch_utils import to_numpy

# Files of another major version are not read; a minor one adds what may be missing.
FORMAT, FORMAT_VERSION = "ldmlr_sklearn", (1, 0)


def library_version():
    """Return the version of this library."""
    # The package imports this module, so that this module cannot import from it.
    return sys.modules[__package__].__version__


def write(path, kind, arrays, values):
    """Write named arrays and values; the file is there as a whole or not at all.

    Parameters
    ----------
    path : str or path-like
        File to write, or to replace. Its folder must exist.
    kind : str
        What is stored, such as the name of a class. `read` expects the same.
    arrays : dict of str -> ndarray or torch.Tensor
        Of booleans, whole numbers, real numbers or text: dtype "U", or "object" where
        all elements are `str`. Tensors may be on any device.
    values : dict of str -> object
        What JSON can hold, and NumPy's scalars: numbers, text, booleans, None, lists
        and dicts with keys of text. Tuples come back as lists.

    Raises
    ------
    TypeError
        If an array or a value is of another type.
    FileNotFoundError, IsADirectoryError
        If there is no such folder, or `path` is one.
    """
    numbers, texts = {}, {}
    for name, array in arrays.items():
        if isinstance(array, torch.Tensor):
            array = to_numpy(array)
        array = np.asarray(array)
        if array.dtype.kind in "UO":
            texts[name] = _text_to_json(name, array)
        elif array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
            little = array.dtype.newbyteorder("<")
            numbers[name] = array.astype(little, order="C", copy=False)
        else:
            raise TypeError(
                f"The array {name!r} has dtype {array.dtype}, which cannot be stored. "
                "Expected booleans, numbers of at most 64 bits, or text."
            )
    content = json.dumps(
        {"kind": kind, "values": values, "texts": texts}, default=_number
    )
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "library_version": library_version(),
        "content": content,
        "checksum": checksum(content, numbers),
    }
    data = save(numbers, metadata={FORMAT: json.dumps(header)})
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{str(path)!r} lies in a folder that does not exist. Create it, or give "
            "another path."
        )
    if path.is_dir():
        raise IsADirectoryError(
            f"{str(path)!r} is a folder. Expected the name of a file, such as "
            f"{str(path / 'fitted.safetensors')!r}."
        )
    replace_file(path, data)


def read(path, kind):
    """Read what `write` has written.

    Parameters
    ----------
    path : str or path-like
    kind : str
        What the file should hold.

    Returns
    -------
    arrays : dict of str -> ndarray
    values : dict of str -> object

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or of another format, of a later major version, or of
        another kind.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {os.fspath(path)!r}.")
    try:
        with safe_open(path, framework="np") as file:
            header = (file.metadata() or {}).get(FORMAT)
            if header is None:
                raise ValueError(
                    f"{os.fspath(path)!r} is a safetensors file, but none that "
                    "ldmlr_sklearn has written. Expected one made by `save`."
                )
            header = json.loads(header)
            _check_version(path, header)
            numbers = {name: np.array(file.get_tensor(name)) for name in file.keys()}
        intact = header["checksum"] == checksum(header["content"], numbers)
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as e:
        raise ValueError(
            f"{os.fspath(path)!r} cannot be read: it is no safetensors file, or it is "
            f"damaged ({e}). Expected a file made by `save`."
        ) from e
    if not intact:
        raise ValueError(
            f"{os.fspath(path)!r} is damaged: its content does not match its checksum. "
            "Save it again, or take a copy that is whole."
        )
    content = json.loads(header["content"])
    if content["kind"] != kind:
        raise ValueError(
            f"{os.fspath(path)!r} holds a {content['kind']}, expected a {kind}."
        )
    texts = {name: _text_from_json(text) for name, text in content["texts"].items()}
    return numbers | texts, content["values"]


def _check_version(path, header):
    major, _ = header["format_version"]
    if major > FORMAT_VERSION[0]:
        raise ValueError(
            f"{os.fspath(path)!r} was written by ldmlr_sklearn "
            f"{header['library_version']} in version {major} of the format. This one, "
            f"{library_version()}, reads up to version {FORMAT_VERSION[0]}: install "
            "the later one."
        )


def replace_file(path, data):
    """Write bytes to a file beside `path`, a `pathlib.Path`, then give it that name."""
    # Opened by its own name, not by `tempfile`, so that it has the usual permissions.
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(unfinished, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def checksum(text, arrays):
    """Return the SHA-256 sum of a text and of the names and content of arrays."""
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _text_to_json(name, array):
    flat = array.ravel().tolist()
    if not all(isinstance(element, str) for element in flat):
        raise TypeError(
            f"The array {name!r} of dtype object holds more than text, which cannot be "
            "stored. Expected elements of type str."
        )
    dtype = "object" if array.dtype.kind == "O" else array.dtype.str
    return {"dtype": dtype, "shape": array.shape, "elements": flat}


def _text_from_json(text):
    flat = np.array(text["elements"], dtype=text["dtype"])
    return flat.reshape(text["shape"])


def _number(value):
    """Return a scalar of NumPy as one of Python, for JSON."""
    if isinstance(value, np.bool_ | np.integer | np.floating):
        return value.item()
    raise TypeError(
        f"{value!r} of type {type(value).__name__} cannot be stored. Expected numbers, "
        "text, booleans, None, and lists and dicts of them."
    )
