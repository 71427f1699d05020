# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Long-tailed data sets: made from balanced ones, embedded, or read from files."""

from ldmlr_sklearn.datasets._cifar import load_cifar
from ldmlr_sklearn.datasets._image_files import (
    IMAGE_EXTENSIONS,
    load_image_folder,
    load_image_list,
)
from ldmlr_sklearn.datasets._long_tailed import load_digits_lt, make_long_tailed

__all__ = [
    "IMAGE_EXTENSIONS",
    "load_cifar",
    "load_digits_lt",
    "load_image_folder",
    "load_image_list",
    "make_long_tailed",
]
