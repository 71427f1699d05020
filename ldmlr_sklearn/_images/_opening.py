# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Which kind of images an X is."""

import os

import numpy as np
import torch
from PIL import Image

from ldmlr_sklearn._images._arrays import ArrayImages, is_lazy
from ldmlr_sklearn._images._datasets import DatasetImages
from ldmlr_sklearn._images._pictures import PictureImages
from ldmlr_sklearn._images._shapes import ACCEPTED
from ldmlr_sklearn._torch_utils import to_numpy


def open_images(X, n_channels=None):
    """Wrap images of any kind but flattened rows.

    Parameters
    ----------
    X : array, list, Series, torch.Tensor or torch.utils.data.Dataset
        See `FeatureEncoder.fit`.

    n_channels : int, default=None
        Channels that the backbone takes.

    Returns
    -------
    ImageSource
    """
    if isinstance(X, torch.utils.data.Dataset):
        return _open_dataset(X, n_channels)
    channels_last = not isinstance(X, torch.Tensor)
    if isinstance(X, torch.Tensor):
        array = to_numpy(X)
    elif isinstance(X, list | tuple) and any(map(_is_item, X)):
        return _open_items(X, n_channels)
    elif is_lazy(X) and X.dtype.kind in "buif":
        array = X  # read block by block
    else:
        array = _as_array(X)
    if array.size == 0:
        raise ValueError(
            f"X has 0 sample(s) (shape={array.shape}) while a minimum of 1 is required."
        )
    if _holds_items(array):
        if array.ndim > 1 and array.shape != (len(array), 1):
            raise ValueError(
                f"Expected one image or path a row, got an array of {array.dtype} of "
                f"shape {array.shape}."
            )
        return _open_items(list(array.ravel()), n_channels)
    if array.dtype.kind not in "buif":
        raise ValueError(f"X holds values of type {array.dtype}. {ACCEPTED}.")
    if array.ndim not in (3, 4):
        raise ValueError(f"X has the shape {array.shape}. {ACCEPTED}.")
    return ArrayImages(array, array.shape[1:], n_channels, channels_last=channels_last)


def _open_dataset(dataset, n_channels):
    try:
        n_images = len(dataset)
    except (TypeError, NotImplementedError) as error:
        raise TypeError(
            f"X is a {type(dataset).__name__} without a length. Expected a map-style "
            "torch Dataset, with __len__ and __getitem__."
        ) from error
    if n_images == 0:
        raise ValueError("X is a Dataset of 0 sample(s); a minimum of 1 is required.")
    return DatasetImages(dataset, n_channels)


def _as_array(X):
    if isinstance(X, str | bytes | os.PathLike):
        raise TypeError(f"X is {X!r}: one path. Expected a list of paths.")
    if isinstance(X, Image.Image):
        raise TypeError("X is one PIL image. Expected a list of them.")
    if isinstance(X, torch.utils.data.DataLoader):
        raise TypeError(
            "X is a DataLoader. Expected the Dataset in it, X.dataset: images are read "
            "in batches of batch_size here."
        )
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise ValueError(
            f"X has a mixture of image shapes: {error}. {ACCEPTED}, where all images "
            "of an array have one shape."
        ) from error
    if array.ndim == 0:
        raise TypeError(f"X is a {type(X).__name__}. {ACCEPTED}.")
    return array


def _open_items(items, n_channels):
    image_row, image = next(pair for pair in enumerate(items) if _is_item(pair[1]))
    is_array = isinstance(image, np.ndarray | torch.Tensor)
    kinds = (np.ndarray, torch.Tensor) if is_array else (str, os.PathLike, Image.Image)
    for row, item in enumerate(items):
        if not isinstance(item, kinds):
            raise TypeError(
                f"X is a mixture: row {image_row} is a {type(image).__name__}, row "
                f"{row} a {type(item).__name__}. {ACCEPTED}."
            )
    if not is_array:
        return PictureImages(items)
    for row, item in enumerate(items):
        if item.shape != items[0].shape:
            raise ValueError(
                f"X has a mixture of image shapes: row 0 has {tuple(items[0].shape)}, "
                f"row {row} has {tuple(item.shape)}. Resize them to one shape, or "
                "pass PIL images or paths, which are resized."
            )
    if isinstance(items[0], torch.Tensor):
        return open_images(torch.stack(list(items)), n_channels)
    return open_images(np.stack(items), n_channels)


def holds_rows(X):
    """Whether X is a table of numbers: rows of pixels, not images or paths."""
    alone = str | bytes | os.PathLike | Image.Image
    if isinstance(X, torch.utils.data.Dataset | alone):
        return False
    if hasattr(X, "tocsr"):  # sparse
        return True
    if isinstance(X, torch.Tensor):
        return X.ndim < 3
    if isinstance(X, list | tuple):
        if not X or any(map(_is_item, X)):
            return False
        try:
            first = np.asarray(X[0])
        except ValueError:  # an image of ragged lists
            return False
        return first.ndim == 1 or (first.ndim == 0 and first.dtype.kind in "buif")
    can_slice = hasattr(X, "__getitem__") and not isinstance(X, dict)
    first = np.asarray(X[:1] if can_slice else X)
    if first.ndim == 1 and first.dtype.kind not in "buif":
        return False
    return first.ndim in (1, 2) and not _holds_items(first)


def _is_item(value):
    """Whether a value is one image, or the path of one, by itself."""
    if isinstance(value, np.ndarray | torch.Tensor):
        return value.ndim >= 2
    return isinstance(value, str | os.PathLike | Image.Image)


def _holds_items(array):
    """Whether an array holds images or paths, in its first column if it has several."""
    if array.dtype.kind not in "OUT" or array.size == 0:
        return False
    return any(map(_is_item, array.reshape(len(array), -1)[:, 0]))
