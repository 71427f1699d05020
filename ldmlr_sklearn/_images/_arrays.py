# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Images of one size in an array, of numpy or dask."""

import numpy as np

from ldmlr_sklearn._images._shapes import find_layout
from ldmlr_sklearn._images._source import ImageSource, refuse_not_finite
from ldmlr_sklearn._torch_utils import view_as_tensor

_SCAN_ROWS = 1024  # rows looked at together when a value range is searched


def is_lazy(X):
    """Whether X is a dask array, told without loading dask."""
    return type(X).__module__.startswith("dask.array")


class ArrayImages(ImageSource):
    """Images of one size in a numpy array, which is never written to.

    Parameters
    ----------
    array : ndarray or dask array of shape (n_images, ...)

    image_shape : tuple of int
        Shape of one image; each row of `array` holds that many numbers.

    n_channels, channels_last :
        See `find_layout`.
    """

    def __init__(self, array, image_shape, n_channels=None, *, channels_last=True):
        self.array = array
        self.image_shape = tuple(image_shape)
        self.shape, self.channel_axis = find_layout(
            image_shape, n_channels, channels_last=channels_last
        )
        self.eight_bit = array.dtype == np.uint8
        self.whole_numbers = array.dtype.kind in "ui"

    def __len__(self):
        return len(self.array)

    def _search_range(self):
        if is_lazy(self.array):  # in one go: slices would compute a block repeatedly
            import dask

            return tuple(map(float, dask.compute(self.array.min(), self.array.max())))
        ends = []
        for start in range(0, len(self.array), _SCAN_ROWS):
            chunk = np.asarray(self.array[start : start + _SCAN_ROWS])
            ends += [chunk.min(), chunk.max()]
        return float(np.min(ends)), float(np.max(ends))

    def read(self, rows, shape=None):
        dtype = np.uint8 if self.eight_bit else np.float32
        # One copy in a plain layout: memmaps may be read-only, slices may be strided
        # and bytes may be swapped, all of which torch refuses or warns of.
        batch = np.array(self.array[rows], dtype=dtype, order="C")
        images = view_as_tensor(batch.reshape(-1, *self.image_shape))
        refuse_not_finite(images)
        if self.channel_axis is None:
            return images.unsqueeze(1)
        if self.channel_axis == 2:
            return images.permute(0, 3, 1, 2).contiguous()
        return images
