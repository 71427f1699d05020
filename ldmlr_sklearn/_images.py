# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Arrays, paths, PIL images and datasets -> batches of tensors.

`open_images` wraps whatever holds the images. What it returns has

- ``len()``, the number of images;
- ``shape``, (height, width, channels) of each, or None for pictures of any size;
- ``eight_bit``, whether raw values are uint8, and ``whole_numbers``, integers at least;
- ``read(rows, shape)``: the images of some rows as one uint8 or float32 tensor of shape
  (n_rows, channels, height, width). Only these rows are decoded and copied;
- ``identify(rows, shape)``: digests (n_rows, 32) that tell the images of some rows from
  all others, and a function that reads those of them that it is given the places of.

A `PixelFormat`, decided once in ``fit``, turns such raw tensors into network input.
"""

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from numbers import Integral

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn import functional as F

from ldmlr_sklearn._torch_utils import to_numpy, view_as_tensor

_CHANNEL_COUNTS = (1, 3, 4)  # gray, RGB, RGB with alpha
_PICTURE_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_N_DECODERS = 4  # threads; PIL decodes without the interpreter's lock
_SCAN_ROWS = 1024  # rows looked at together when a value range is searched
_ACCEPTED = (
    "Expected an array of shape (n, height, width), (n, height, width, channels) or "
    "(n, channels, height, width), a list of file paths, a list of PIL images or a "
    "torch Dataset"
)


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
    raise ValueError(f"X has images of {len(shape)} dimensions. {_ACCEPTED}.")


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


class _IdentifiedByPixels:
    """Images that are told apart by what `read` returns."""

    def identify(self, rows, shape):
        images = self.read(rows, shape)
        kind = f"{images.dtype} {tuple(images.shape[1:])}".encode()
        return _digests(kind, to_numpy(images)), images.__getitem__


class ArrayImages(_IdentifiedByPixels):
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

    def value_range(self):
        """Return the smallest and the largest number, not finite if any is not."""
        if self.eight_bit:
            return 0.0, 255.0
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
        _refuse_not_finite(images)
        if self.channel_axis is None:
            return images.unsqueeze(1)
        if self.channel_axis == 2:
            return images.permute(0, 3, 1, 2).contiguous()
        return images


class PictureImages(_IdentifiedByPixels):
    """PIL images, or files that PIL opens, resized to one shape when they are read.

    Files are told apart by their content, whatever their names.

    Parameters
    ----------
    pictures : list of PIL.Image.Image, str or path-like
    """

    shape = None
    eight_bit = whole_numbers = True

    def __init__(self, pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def value_range(self):
        return 0.0, 255.0

    def read(self, rows, shape):
        rows = range(len(self))[rows] if isinstance(rows, slice) else rows
        if not self._holds_files():
            # In memory already; and one that is not yet loaded, but listed twice, may
            # not be loaded by two threads.
            return torch.stack([self._decode(row, shape) for row in rows])
        with ThreadPoolExecutor(_N_DECODERS) as pool:
            return torch.stack(
                list(pool.map(lambda row: self._decode(row, shape), rows))
            )

    def identify(self, rows, shape):
        if not self._holds_files():
            return super().identify(rows, shape)
        rows = range(len(self))[rows] if isinstance(rows, slice) else rows
        with ThreadPoolExecutor(_N_DECODERS) as pool:
            contents = list(pool.map(self._content, rows))

        def read(places):
            # From the very bytes that were identified: a file may change meanwhile.
            with ThreadPoolExecutor(_N_DECODERS) as pool:
                decoded = pool.map(
                    lambda place: self._decode(rows[place], shape, contents[place]),
                    places,
                )
                return torch.stack(list(decoded))

        return _digests(b"file", contents), read

    def _holds_files(self):
        return not isinstance(self.pictures[0], Image.Image)

    def _content(self, row):
        path = self.pictures[row]
        with _readable(path, f"row {int(row)} of X"), open(path, "rb") as file:
            return file.read()

    def _decode(self, row, shape, content=None):
        picture, where = self.pictures[row], f"row {int(row)} of X"
        file = picture if content is None else io.BytesIO(content)
        return _decode_picture(picture, shape, where, file)


class DatasetImages(_IdentifiedByPixels):
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

    def value_range(self):
        """Look at the first images alone: a Dataset may be slow to go through."""
        if self.eight_bit:
            return 0.0, 255.0
        first = self.read(range(min(len(self), _SCAN_ROWS // 4)), self.shape)
        return float(first.min()), float(first.max())

    def read(self, rows, shape):
        rows = range(len(self))[rows] if isinstance(rows, slice) else rows
        return torch.stack([self._read_one(row, shape) for row in rows])

    def _read_one(self, row, shape):
        item = self._item(row)
        if isinstance(item, Image.Image):
            return _decode_picture(item, shape, f"item {int(row)} of the Dataset")
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
        _refuse_not_finite(image)
        return image


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
    ArrayImages, PictureImages or DatasetImages
    """
    if isinstance(X, torch.utils.data.Dataset):
        return _open_dataset(X, n_channels)
    channels_last = not isinstance(X, torch.Tensor)
    if isinstance(X, torch.Tensor):
        array = to_numpy(X)
    elif isinstance(X, list | tuple) and len(X) and _is_item(X[0]):
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
        raise ValueError(f"X holds values of type {array.dtype}. {_ACCEPTED}.")
    if array.ndim not in (3, 4):
        raise ValueError(f"X has the shape {array.shape}. {_ACCEPTED}.")
    return ArrayImages(array, array.shape[1:], n_channels, channels_last=channels_last)


def holds_rows(X):
    """Whether X is a table of numbers: rows of pixels, not images or paths."""
    if isinstance(X, torch.utils.data.Dataset | str | bytes | os.PathLike):
        return False
    if hasattr(X, "tocsr"):  # sparse
        return True
    if isinstance(X, list | tuple):
        if not X:
            return False
        try:
            return not _is_item(X[0]) and np.ndim(X[0]) < 2
        except ValueError:  # an image of ragged lists
            return False
    can_slice = hasattr(X, "__getitem__") and not isinstance(X, dict)
    first = np.asarray(X[:1] if can_slice else X)
    return first.ndim < 3 and not _holds_items(first)


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
    try:
        return np.asarray(X)
    except ValueError as error:
        raise ValueError(
            f"X has a mixture of image shapes: {error}. {_ACCEPTED}, where all images "
            "of an array have one shape."
        ) from error


def _is_item(value):
    """Whether a value is one image, or the path of one, by itself."""
    if isinstance(value, np.ndarray | torch.Tensor):
        return value.ndim >= 2
    return isinstance(value, str | os.PathLike | Image.Image)


def _holds_items(array):
    return array.dtype.kind in "OUT" and array.size > 0 and _is_item(array.flat[0])


def _open_items(items, n_channels):
    is_array = isinstance(items[0], np.ndarray | torch.Tensor)
    kinds = (np.ndarray, torch.Tensor) if is_array else (str, os.PathLike, Image.Image)
    for row, item in enumerate(items):
        if not isinstance(item, kinds):
            raise TypeError(
                f"X is a mixture: row 0 is a {type(items[0]).__name__}, row {row} a "
                f"{type(item).__name__}. {_ACCEPTED}."
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


def is_lazy(X):
    """Whether X is a dask array, told without loading dask."""
    return type(X).__module__.startswith("dask.array")


def _digests(kind, buffers):
    """Return the digests (n, 32), uint8, of contiguous buffers of bytes."""
    digests = bytearray()
    for buffer in buffers:
        digest = hashlib.blake2b(kind, digest_size=32)
        digest.update(buffer)
        digests += digest.digest()
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)


def _refuse_not_finite(images):
    if images.is_floating_point() and not torch.isfinite(images).all():
        raise ValueError(
            "Input X contains NaN or infinity: pixels must be finite numbers."
        )


def _decode_picture(picture, shape, where, file=None):
    """Return one picture as a uint8 tensor of shape (channels, height, width).

    `file` is what to open where `picture` is a path.
    """
    height, width, n_channels = shape
    if n_channels not in _PICTURE_MODES:
        raise ValueError(
            f"Pictures have 1, 3 or 4 channels, {n_channels} are expected here: pass "
            "arrays instead of files and PIL images."
        )
    mode = _PICTURE_MODES[n_channels]
    with _readable(picture, where):
        if isinstance(picture, Image.Image):
            return _fit_picture(picture, height, width, mode)
        with Image.open(file) as opened:
            return _fit_picture(opened, height, width, mode)


@contextmanager
def _readable(picture, where):
    """Say which picture it is that cannot be read inside the block."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The image file {_name_picture(picture)} ({where}) does not exist."
        ) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # PIL has no exception of its own for damaged files.
        raise ValueError(
            f"The image {_name_picture(picture)} ({where}) cannot be read: {error}. "
            "The file may be truncated or no image: repair it or leave it out."
        ) from error


def _name_picture(picture):
    if isinstance(picture, Image.Image):
        return repr(getattr(picture, "filename", "") or picture)
    return repr(os.fspath(picture))


def _fit_picture(picture, height, width, mode):
    if picture.mode.startswith("I"):  # 16 bits a pixel, which convert() would clip
        levels = np.asarray(picture).astype(np.int64).clip(0, 65535) // 256
        picture = Image.fromarray(levels.astype(np.uint8))
    elif picture.mode == "P":  # a palette may hide an alpha channel
        picture = picture.convert("RGBA")
    picture = picture.convert(mode)
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    pixels = view_as_tensor(np.array(picture)).reshape(height, width, -1)
    return pixels.permute(2, 0, 1).contiguous()


@dataclass(frozen=True)
class PixelFormat:
    """How raw images become what a backbone takes, decided once, on training data.

    Attributes
    ----------
    shape : tuple of int
        (height, width, channels) of raw images.

    scale : float
        The raw value of white; that of uint8 images is always 255.

    size : tuple of int
        (height, width) that the backbone is given.

    n_channels : int
        Channels that the backbone is given.

    mean, std : tuple of float
        Of each channel, on a scale where black is 0 and white is 1.

    eight_bit : bool
        Whether the training images were whole numbers of 0..255.

    standardised : bool
        Whether they had been standardised before, and are used as they come.
    """

    shape: tuple
    scale: float
    size: tuple
    n_channels: int
    mean: tuple
    std: tuple
    eight_bit: bool
    standardised: bool

    def check_range(self, source):
        """Refuse images whose range of values would be guessed wrong.

        Parameters
        ----------
        source : ArrayImages, PictureImages or DatasetImages
        """
        if source.eight_bit == self.eight_bit:
            return
        if source.eight_bit and (self.standardised or self.scale not in (1.0, 255.0)):
            seen = "standardised ones" if self.standardised else f"0..{self.scale:g}"
            raise ValueError(
                "X holds 8-bit images (0..255), but the encoder was fitted on "
                f"{seen}. Pass the same kind as in fit."
            )
        if self.eight_bit and not source.whole_numbers:
            raise ValueError(
                "X holds floating-point images, but the encoder was fitted on 8-bit "
                "ones (0..255): whether white is 1 or 255 is not known. Pass the same "
                "kind as in fit, such as X.astype(np.uint8)."
            )

    def to_unit(self, raw):
        """Bring raw images to values of 0..1, and to the backbone's size and channels.

        Parameters
        ----------
        raw : torch.Tensor of shape (n, channels, height, width)
            uint8 or float32.

        Returns
        -------
        torch.Tensor of shape (n, n_channels, *size)
        """
        scale = 255.0 if raw.dtype == torch.uint8 else self.scale
        images = raw.float() / scale
        if images.shape[1] == 4 and self.n_channels == 3:
            images = images[:, :3]
        if images.shape[1] == 1:
            images = images.expand(-1, self.n_channels, -1, -1)
        if images.shape[2:] != self.size:
            images = F.interpolate(
                images, self.size, mode="bilinear", align_corners=False, antialias=True
            )
        return images

    def normalize(self, images):
        """Subtract the mean of each channel and divide by its standard deviation."""
        mean = torch.tensor(self.mean, device=images.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(-1, 1, 1)
        return ((images - mean) / std).contiguous()


def decide_pixel_format(source, shape, *, size, n_channels, mean, std):
    """Decide from training images how pixels are scaled, and check their channels.

    Whole numbers of 0..255 stay what they are. The other images are scaled by the
    largest value among them: 1 if it is at most 1, 255 if it is above 127 and at most
    255, itself otherwise (16 for scikit-learn's digits). Images with values clearly
    below 0 have been standardised by somebody else: they are used as they are.

    Parameters
    ----------
    source : ArrayImages, PictureImages or DatasetImages

    shape : tuple of int
        (height, width, channels) of raw images.

    size, n_channels, mean, std :
        See `PixelFormat`. ``n_channels=None`` takes the images' own number, and a
        ``mean`` of None leaves the images at 0..1.

    Returns
    -------
    PixelFormat
    """
    n_channels = shape[2] if n_channels is None else n_channels
    convertible = {n_channels, 1, 4} if n_channels == 3 else {n_channels, 1}
    if shape[2] not in convertible:
        raise ValueError(
            f"X has a wrong channel count: its images have {describe_shape(shape)}, "
            f"the backbone takes {n_channels}. Convert the images, or choose another "
            f"backbone (timm's take backbone_kwargs={{'in_chans': {shape[2]}}})."
        )
    low, high = source.value_range()
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError(
            "Input X contains NaN or infinity: pixels must be finite numbers."
        )
    scale = 1.0 if high <= 1 else 255.0 if 127 < high <= 255 else high
    standardised = low < -0.1 * max(high, 0.0)
    if standardised or mean is None:
        mean, std = (0.0,), (1.0,)
    if len(mean) != n_channels:
        mean = (float(np.mean(mean)),) * n_channels
        std = (float(np.mean(std)),) * n_channels
    return PixelFormat(
        shape=tuple(shape),
        scale=1.0 if standardised else scale,
        size=tuple(size),
        n_channels=n_channels,
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
        eight_bit=source.eight_bit,
        standardised=standardised,
    )
