# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""A torch Dataset of images."""

import numpy as np
import torch
from PIL import Image

from ldmlr_sklearn._images._pictures import decode_picture
from ldmlr_sklearn._images._shapes import describe_shape, find_layout
from ldmlr_sklearn._images._source import ImageSource, refuse_not_finite
from ldmlr_sklearn._torch_utils import view_as_tensor

_SCAN_ROWS = 256  # images looked at when a value range is searched


class DatasetImages(ImageSource):
    """A map-style torch Dataset whose items are images, or tuples that begin with one.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset

    n_channels : int, default=None
        See `find_layout`; here channels come first where both are possible.
    """

    def __init__(self, dataset, n_channels=None):
        self.dataset = dataset
        self.n_channels = n_channels
        first = self._item(0)
        self.shape = None
        self.eight_bit = isinstance(first, Image.Image)
        if not self.eight_bit:
            self.shape, _ = self._layout(first)
            self.eight_bit = first.dtype == torch.uint8
        self.whole_numbers = self.eight_bit

    def __len__(self):
        return len(self.dataset)

    def _item(self, row):
        item = self.dataset[int(row)]
        if isinstance(item, tuple | list) and len(item):
            item = item[0]
        if isinstance(item, np.ndarray):
            item = view_as_tensor(np.array(item))
        if not isinstance(item, torch.Tensor | Image.Image):
            raise TypeError(
                f"Item {int(row)} of the Dataset is a {type(item).__name__}. Expected "
                "a tensor or a PIL image, alone or as the first of a tuple."
            )
        return item

    def _layout(self, item):
        return find_layout(item.shape, self.n_channels, channels_last=False)

    def _search_range(self):
        """Look at some images alone: a Dataset may be slow to go through."""
        n_rows = min(len(self), _SCAN_ROWS)
        some = np.linspace(0, len(self) - 1, n_rows).astype(int)  # of every class
        images = self.read(some, self.shape)
        return float(images.min()), float(images.max())

    def read(self, rows, shape):
        rows = self.numbers_of(rows)
        return torch.stack([self._read_one(row, shape) for row in rows])

    def _read_one(self, row, shape):
        item = self._item(row)
        if isinstance(item, Image.Image):
            return decode_picture(item, shape, f"item {int(row)} of the Dataset")
        found, axis = self._layout(item)
        if found != tuple(shape):
            raise ValueError(
                f"X has a mixture of image shapes: item {int(row)} of the Dataset has "
                f"{describe_shape(found)}, others have {describe_shape(shape)}. Resize "
                "them in the Dataset, or let it return PIL images."
            )
        image = item.unsqueeze(0) if axis is None else item
        image = image.permute(2, 0, 1) if axis == 2 else image
        image = image if image.dtype == torch.uint8 else image.float()
        refuse_not_finite(image)
        return image
