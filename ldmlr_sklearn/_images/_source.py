# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What every holder of images has in common."""

import hashlib

import numpy as np
import torch

from ldmlr_sklearn._torch_utils import to_numpy


class ImageSource:
    """Images of one kind, read batch by batch.

    A subclass has ``len()``, `read`, and `_search_range` if not all of its images are
    of 8 bits. Images are told apart by what `read` returns, if it knows nothing better.

    Attributes
    ----------
    shape : tuple of int or None
        (height, width, channels) of each image, or None for pictures of any size.

    eight_bit : bool
        Whether raw values are uint8.

    whole_numbers : bool
        Whether they are integers at least.
    """

    def value_range(self):
        """Return the smallest and the largest number, not finite if any is not."""
        return (0.0, 255.0) if self.eight_bit else self._search_range()

    def read(self, rows, shape):
        """Return the images of some rows; only these are decoded and copied.

        Parameters
        ----------
        rows : slice or sequence of int

        shape : tuple of int
            (height, width, channels) that the images have, or are brought to.

        Returns
        -------
        torch.Tensor of shape (n_rows, channels, height, width)
            uint8 or float32.
        """
        raise NotImplementedError

    def identify(self, rows, shape):
        """Tell the images of some rows from all others.

        Returns
        -------
        digests : ndarray of shape (n_rows, 32), uint8

        read : callable
            Reads those of the images that it is given the places of among `rows`.
        """
        images = self.read(rows, shape)
        kind = f"{images.dtype} {tuple(images.shape[1:])}".encode()
        return digest_each(kind, to_numpy(images)), images.__getitem__

    def numbers_of(self, rows):
        """Return the numbers of rows, which may be a slice."""
        return range(len(self))[rows] if isinstance(rows, slice) else rows


def digest_each(kind, buffers):
    """Return the digests (n, 32), uint8, of contiguous buffers of bytes."""
    digests = bytearray()
    for buffer in buffers:
        digest = hashlib.blake2b(kind, digest_size=32)
        digest.update(buffer)
        digests += digest.digest()
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)


def refuse_not_finite(images):
    """Refuse pixels that are no numbers."""
    if images.is_floating_point() and not torch.isfinite(images).all():
        raise ValueError(
            "Input X contains NaN or infinity: pixels must be finite numbers."
        )
