# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Images of any kind as batches of tensors; knows nothing of networks.

`open_images` wraps whatever holds images in an `ImageSource`, which reads some rows of
them as one tensor of raw numbers. A `PixelFormat`, decided once on training images,
turns such tensors into what a network takes.
"""

from ldmlr_sklearn._images._arrays import ArrayImages, is_lazy
from ldmlr_sklearn._images._datasets import DatasetImages
from ldmlr_sklearn._images._opening import holds_rows, open_images
from ldmlr_sklearn._images._pictures import PictureImages
from ldmlr_sklearn._images._pixel_format import PixelFormat, decide_pixel_format
from ldmlr_sklearn._images._shapes import (
    describe_shape,
    find_layout,
    resolve_image_shape,
)

__all__ = [
    "ArrayImages",
    "DatasetImages",
    "PictureImages",
    "PixelFormat",
    "decide_pixel_format",
    "describe_shape",
    "find_layout",
    "holds_rows",
    "is_lazy",
    "open_images",
    "resolve_image_shape",
]
