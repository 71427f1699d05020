# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What the LDMLR paper prints (arXiv 2404.04517, as in its official repository)."""

import numpy as np

# Top-1 accuracy in %, ResNet-32.
TABLE_1 = {
    "CIFAR-10-LT IF 10": {
        "CE": 88.22,
        "label shift": 89.46,
        "WCDAS": 92.48,
        "CE + LDMLR": 89.13,
        "label shift + LDMLR": 89.70,
        "WCDAS + LDMLR": 92.58,
    },
    "CIFAR-10-LT IF 100": {
        "CE": 72.46,
        "label shift": 80.88,
        "WCDAS": 84.67,
        "CE + LDMLR": 76.26,
        "label shift + LDMLR": 82.77,
        "WCDAS + LDMLR": 86.29,
    },
    "CIFAR-100-LT IF 10": {
        "CE": 58.70,
        "label shift": 61.81,
        "WCDAS": 65.92,
        "CE + LDMLR": 60.10,
        "label shift + LDMLR": 62.67,
        "WCDAS + LDMLR": 66.32,
    },
    "CIFAR-100-LT IF 100": {
        "CE": 41.28,
        "label shift": 48.58,
        "WCDAS": 50.95,
        "CE + LDMLR": 43.34,
        "label shift + LDMLR": 49.76,
        "WCDAS + LDMLR": 51.92,
    },
}

# ImageNet-LT, ResNet-10: many, medium, few, all.
TABLE_2 = {
    "CE": (57.7, 26.6, 4.4, 35.8),
    "label shift": (52.0, 39.3, 20.3, 41.7),
    "WCDAS": (57.1, 40.9, 23.3, 44.6),
    "CE + LDMLR": (57.2, 29.2, 7.3, 37.2),
    "label shift + LDMLR": (50.9, 39.4, 23.7, 42.2),
    "WCDAS + LDMLR": (57.0, 41.2, 23.4, 44.8),
}


def data_set_of(y_train):
    """Return the name of the paper's data set with these class counts, or None."""
    counts = np.sort(np.bincount(y_train))[::-1]
    for name in TABLE_1:
        set_name, _, factor = name.rpartition(" IF ")
        n_classes = int(set_name.split("-")[1])
        shares = float(factor) ** (-np.arange(n_classes) / (n_classes - 1))
        expected = np.floor(50_000 / n_classes * shares * (1 + 1e-9)).astype(int)
        if np.array_equal(counts, expected):
            return name
    return None


def is_imagenet_lt(y_train):
    """Tell whether these are the labels of ImageNet-LT, by its class counts."""
    counts = np.bincount(y_train)
    shape = len(counts), len(y_train), counts.max(), counts.min()
    return shape == (1000, 115_846, 1280, 5)
