# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The data of ``reproduce_paper.py``: features, images, archives and list files."""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ldmlr_sklearn import FeatureEncoder
from ldmlr_sklearn.datasets import load_cifar, load_image_list, make_long_tailed

# The two ways in which the paper's encoders were trained.
RECIPES = {
    "CE": dict(
        loss="cross_entropy",
        max_epochs=200,
        learning_rate=0.1,
        schedule="step",
        weight_decay=5e-4,
        batch_size=64,
        augmentation="crop_flip",
        mixup_alpha=0.5,
    ),
    "WCDAS": dict(
        loss="wcdas",
        max_epochs=700,
        learning_rate=0.2,
        schedule="cosine",
        weight_decay=5e-4,
        batch_size=64,
        augmentation="autoaugment",
    ),
}


class Split(NamedTuple):
    """Rows to learn from and rows to test on; labels count from 0."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    head: tuple | None = None  # weight and bias of the encoder's linear head


def _coded(X_train, y_train, X_test, y_test, head=None):
    classes, codes = np.unique(y_train, return_inverse=True)
    if not np.isin(y_test, classes).all():
        raise SystemExit("There are test rows of classes that are not trained on.")
    return Split(X_train, codes, X_test, np.searchsorted(classes, y_test), head)


def load_split(path, imbalance_factor=None):
    """Load features or images, images made long-tailed if a factor is given."""
    path = Path(path)
    if path.suffix == ".npz":
        with np.load(path) as file:
            missing = [key for key in Split._fields[:4] if key not in file]
            if missing:
                raise ValueError(
                    f"{path} lacks {', '.join(missing)}. Expected X_train, y_train, "
                    f"X_test and y_test, got {', '.join(file.files) or 'nothing'}."
                )
            head = None
            if "head_weight" in file:
                head = file["head_weight"], file["head_bias"]
            split = _coded(*(file[key] for key in Split._fields[:4]), head)
    else:
        cifar = load_cifar(path)
        split = _coded(cifar.images, cifar.target, cifar.images_test, cifar.target_test)
    if imbalance_factor is None:
        return split
    X, y = make_long_tailed(
        split.X_train, split.y_train, imbalance_factor=imbalance_factor, random_state=0
    )
    return split._replace(X_train=X, y_train=y)


def load_lists(train, test, root):
    """Load the file names and labels of two list files."""
    parts = [load_image_list(path, root=root) for path in (train, test)]
    return _coded(*(value for part in parts for value in (part.filenames, part.target)))


def is_features(split):
    return getattr(split.X_train, "ndim", 1) == 2


def encode(split, encoder):
    """Fit an encoder, which may train it; return features and what it took."""
    start = time.perf_counter()
    encoder.fit(split.X_train, split.y_train)
    seconds = time.perf_counter() - start
    head = None
    if hasattr(encoder, "head_weight_"):
        head = encoder.head_weight_, encoder.head_bias_
    X_train, X_test = (encoder.transform(X) for X in (split.X_train, split.X_test))
    return split._replace(X_train=X_train, X_test=X_test, head=head), seconds


def make_encoder(backbone, recipe=None, **changes):
    """Make the paper's encoder: frozen, or trained by one of its recipes."""
    parameters = {} if recipe is None else dict(RECIPES[recipe])
    parameters |= {name: value for name, value in changes.items() if value is not None}
    return FeatureEncoder(backbone, random_state=0, **parameters)
