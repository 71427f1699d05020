# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Heights, widths and channels, read from the shapes of arrays."""

from math import prod
from numbers import Integral

ACCEPTED = (
    "Expected an array of shape (n, height, width), (n, height, width, channels) or "
    "(n, channels, height, width), a list of file paths, a list of PIL images or a "
    "torch Dataset"
)
_CHANNEL_COUNTS = (1, 3, 4)  # gray, RGB, RGB with alpha


def describe_shape(shape):
    """Write (height, width, channels) out for a message."""
    height, width, n_channels = shape
    channels = "channel" if n_channels == 1 else "channels"
    return f"{height} x {width} pixels with {n_channels} {channels}"


def find_layout(shape, n_channels=None, *, channels_last=True):
    """Read height, width and channels from the shape of one image.

    Parameters
    ----------
    shape : tuple of int
        (height, width), or three numbers of which the first or the last is the number
        of channels: 1, 3, 4 or `n_channels`.

    n_channels : int, default=None
        Channels that the backbone takes.

    channels_last : bool, default=True
        Which of the two wins where both are possible.

    Returns
    -------
    canonical : tuple of int
        (height, width, channels)

    channel_axis : {None, 0, 2}
        Where the channels are.
    """
    shape = tuple(int(size) for size in shape)
    if len(shape) == 2:
        return (*shape, 1), None
    if len(shape) == 3:
        counts = {*_CHANNEL_COUNTS, n_channels or 1}
        possible = [axis for axis in (2, 0) if shape[axis] in counts]
        if possible:
            axis = possible[0] if channels_last else possible[-1]
            height, width = shape[:2] if axis == 2 else shape[1:]
            return (height, width, shape[axis]), axis
        raise ValueError(
            f"X has a wrong channel count: its images have the shape {shape}, and "
            f"neither the first nor the last of these is one of {sorted(counts)}, the "
            "numbers of channels that can be read."
        )
    raise ValueError(f"X has images of {len(shape)} dimensions. {ACCEPTED}.")


def resolve_image_shape(image_shape, n_features):
    """Fill in the -1 of an ``image_shape``, as `numpy.reshape` does.

    Parameters
    ----------
    image_shape : tuple of int
        Two or three sizes, of which one may be -1.

    n_features : int
        Columns of X.

    Returns
    -------
    tuple of int
    """
    shape = tuple(image_shape)
    if len(shape) not in (2, 3) or not all(
        isinstance(size, Integral) and (size > 0 or size == -1) for size in shape
    ):
        raise ValueError(
            f"image_shape={shape!r} is not a shape for rows of {n_features} features. "
            "Expected two or three whole numbers above 0, of which one may be -1."
        )
    known = prod(size for size in shape if size != -1)
    if shape.count(-1) == 1 and n_features % known == 0:
        return tuple(n_features // known if size == -1 else size for size in shape)
    if known != n_features or -1 in shape:
        raise ValueError(
            f"image_shape={shape!r} does not fit rows of {n_features} features: the "
            "product of its sizes must be the number of columns of X."
        )
    return shape


def resolve_image_size(image_size):
    """Return an ``image_size`` as (height, width).

    Parameters
    ----------
    image_size : int or tuple of int
        One number is that of both.

    Returns
    -------
    tuple of int
    """
    one = isinstance(image_size, Integral)
    size = (image_size, image_size) if one else tuple(image_size)
    if len(size) != 2 or not all(isinstance(s, Integral) and s > 0 for s in size):
        raise ValueError(
            f"image_size={image_size!r} is not a whole number above 0 or a pair "
            "(height, width) of them."
        )
    return size
