# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""CIFAR-10 and CIFAR-100 from the files that their authors publish."""

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from ldmlr_sklearn._typing import FilePath, validate_params

# Folder -> training files, test file, file of names, and the keys in them.
_LAYOUTS = {
    "cifar-10-batches-py": (
        [f"data_batch_{number}" for number in range(1, 6)],
        "test_batch",
        "batches.meta",
        "labels",
        "label_names",
    ),
    "cifar-100-python": (
        ["train"],
        "test",
        "meta",
        "fine_labels",
        "fine_label_names",
    ),
}
_ARCHIVE_KEYS = ("X_train", "y_train", "X_test", "y_test")


def _rebuild(subtype, shape, kind):
    """Make the empty array that a pickle then fills; numpy's own moved over time."""
    return np.ndarray.__new__(np.ndarray, shape, kind)


def _decode(text, encoding):
    return text.encode(encoding)


class _Unpickler(pickle.Unpickler):
    """Reads arrays, numbers, strings and containers of them, and calls nothing else."""

    # What pickles of plain arrays name, in the words of every version of numpy.
    ALLOWED = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): _rebuild,
        ("numpy._core.multiarray", "_reconstruct"): _rebuild,
        ("_codecs", "encode"): _decode,
    }

    def find_class(self, module, name):
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self.ALLOWED[module, name]


def _unpickle(data, where):
    try:
        contents = _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:
        # A damaged pickle fails in as many ways as there are bytes.
        raise ValueError(
            f"{where} is damaged, or no batch of CIFAR: {error}. Only arrays, numbers "
            "and strings are read, never code."
        ) from error
    if not isinstance(contents, dict):
        raise ValueError(
            f"{where} holds a {type(contents).__name__}, expected the dictionary of a "
            "batch of CIFAR."
        )
    return contents


def _images_of(contents, label_key, where):
    """Return images (n, 32, 32, 3) and labels (n,) of one batch."""
    rows, labels = contents.get("data"), contents.get(label_key)
    shape = getattr(rows, "shape", None)
    complete = isinstance(rows, np.ndarray) and rows.ndim == 2 and labels is not None
    if not complete or shape != (len(labels), 3072) or rows.dtype != np.uint8:
        raise ValueError(
            f"{where} holds data of shape {shape} and {np.size(labels)} {label_key}. "
            "Expected uint8 rows of 3072 numbers, and a label for each."
        )
    images = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.asarray(labels)


def _load_batches(read, folder):
    """Load a data set by a function from file names to bytes."""
    train_files, test_file, names_file, label_key, names_key = _LAYOUTS[folder]
    batches = {}
    for name in (*train_files, test_file):
        where = f"{folder}/{name}"
        batches[name] = _images_of(_unpickle(read(where), where), label_key, where)
    where = f"{folder}/{names_file}"
    names = _unpickle(read(where), where).get(names_key)
    if not isinstance(names, list):
        raise ValueError(f"{where} holds no list {names_key}.")
    images, target = zip(*(batches[name] for name in train_files), strict=True)
    return Bunch(
        images=np.concatenate(images),
        target=np.concatenate(target),
        images_test=batches[test_file][0],
        target_test=batches[test_file][1],
        target_names=np.array(names),
    )


def _load_folder(path):
    parent = path.parent if path.name in _LAYOUTS else path
    for folder in _LAYOUTS:
        if (parent / folder).is_dir() and (path == parent or path.name == folder):
            return _load_batches(lambda name: (parent / name).read_bytes(), folder)
    raise FileNotFoundError(
        f"{str(path)!r} holds neither of the folders {', '.join(_LAYOUTS)}. Give the "
        "folder that one of them is in, the folder itself, or the archive."
    )


def _load_tar(path):
    try:
        with tarfile.open(path) as archive:
            members = {
                os.path.normpath(member.name): member
                for member in archive.getmembers()
                if member.isfile()
            }

            def read(name):
                if name not in members:
                    raise FileNotFoundError(
                        f"The archive {str(path)!r} does not hold {name}."
                    )
                return archive.extractfile(members[name]).read()

            for folder in _LAYOUTS:
                if any(name.startswith(folder) for name in members):
                    return _load_batches(read, folder)
    except (FileNotFoundError, ValueError):
        raise
    except Exception as error:
        # A damaged archive fails in as many ways as there are bytes and compressions.
        raise ValueError(
            f"{str(path)!r} is damaged, or no archive of CIFAR: {error}. Download it "
            "again."
        ) from error
    raise ValueError(
        f"The archive {str(path)!r} holds neither of the folders "
        f"{', '.join(_LAYOUTS)}. Expected the python version of CIFAR."
    )


def _load_npz(path):
    try:
        # Opened here, since np.load leaves a damaged file open.
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
    except Exception as error:  # in as many ways as above
        raise ValueError(
            f"{str(path)!r} is not a readable .npz file: {error}"
        ) from error
    missing = [key for key in _ARCHIVE_KEYS if key not in arrays]
    if missing:
        raise ValueError(
            f"{str(path)!r} holds the arrays {sorted(arrays)}, but not {missing}. "
            f"Expected {', '.join(_ARCHIVE_KEYS)} and, optionally, classes."
        )
    images, target, images_test, target_test = (arrays[key] for key in _ARCHIVE_KEYS)
    for rows, labels, part in (
        (images, target, "train"),
        (images_test, target_test, "test"),
    ):
        if labels.shape != (len(rows),):
            raise ValueError(
                f"y_{part} of {str(path)!r} has shape {labels.shape}, expected a label "
                f"for each of the {len(rows)} images of X_{part}."
            )
    names = arrays.get("classes", np.unique(target).astype(str))
    return Bunch(
        images=images,
        target=target,
        images_test=images_test,
        target_test=target_test,
        target_names=names,
    )


@validate_params({"path": [str, os.PathLike]})
def load_cifar(path: FilePath) -> Bunch:
    """Load CIFAR-10 or CIFAR-100 from a local file or folder.

    Parameters
    ----------
    path : str or path-like
        The python version of the data set [1]_: ``cifar-10-python.tar.gz`` or
        ``cifar-100-python.tar.gz``, the folder in it, or the folder that holds this,
        such as the root of torchvision's data sets; or an .npz file of the arrays
        X_train, y_train, X_test, y_test and, optionally, classes, of any images.

    Returns
    -------
    cifar : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        images, images_test : ndarray of shape (n_samples, 32, 32, 3), uint8
            The images.
        target, target_test : ndarray of shape (n_samples,)
            The class of every image; of CIFAR-100 the fine one.
        target_names : ndarray of str of shape (n_classes,)
            The names of the classes.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or a part of the data set is missing.
    ValueError
        If a file is damaged or holds something else.

    See Also
    --------
    make_long_tailed : Makes CIFAR-10-LT or CIFAR-100-LT of the training images.

    Notes
    -----
    The batches are pickles. They are read by an unpickler that makes arrays, numbers,
    strings, and lists and dictionaries of them, and refuses to call anything else.

    References
    ----------
    .. [1] A. Krizhevsky. Learning multiple layers of features from tiny images. 2009.
       https://www.cs.toronto.edu/~kriz/cifar.html

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from ldmlr_sklearn.datasets import load_cifar, make_long_tailed
    >>> file = Path(tempfile.mkdtemp(), "cifar.npz")
    >>> images, y = np.zeros((40, 32, 32, 3), dtype=np.uint8), np.repeat([0, 1], 20)
    >>> np.savez(file, X_train=images, y_train=y, X_test=images, y_test=y)
    >>> cifar = load_cifar(file)
    >>> X, y = make_long_tailed(cifar.images, cifar.target, imbalance_factor=10)
    >>> X.shape
    (22, 32, 32, 3)
    """
    path = Path(path)
    if path.is_dir():
        return _load_folder(path)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no file or folder {str(path)!r}. Download "
            "cifar-10-python.tar.gz or cifar-100-python.tar.gz from "
            "https://www.cs.toronto.edu/~kriz/cifar.html and give its path."
        )
    return _load_npz(path) if path.suffix == ".npz" else _load_tar(path)
