# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Files and PIL images, decoded and resized."""

import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image, ImageOps

from ldmlr_sklearn._images._source import ImageSource, digest_each
from ldmlr_sklearn._torch_utils import view_as_tensor

_PICTURE_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_N_DECODERS = 4  # threads; PIL decodes without the interpreter's lock
_FEWER_BITS = 4096  # levels of 12 bits, which scanners and microscopes write as 16


class PictureImages(ImageSource):
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
        self.all_files = not any(isinstance(one, Image.Image) for one in pictures)

    def __len__(self):
        return len(self.pictures)

    def read(self, rows, shape):
        rows = self.numbers_of(rows)
        if not self.all_files:
            # In memory already; and one that is not yet loaded, but listed twice, may
            # not be loaded by two threads.
            return torch.stack([self._decode(row, shape) for row in rows])
        return torch.stack(_threaded(lambda row: self._decode(row, shape), rows))

    def identify(self, rows, shape):
        if not self.all_files:
            return super().identify(rows, shape)
        rows = self.numbers_of(rows)
        contents = _threaded(self._content, rows)

        def read(places):
            # From the very bytes that were identified: a file may change meanwhile.
            def decode(place):
                return self._decode(rows[place], shape, contents[place])

            return torch.stack(_threaded(decode, places))

        return digest_each(b"file", contents), read

    def _content(self, row):
        path = self.pictures[row]
        with _readable(path, f"row {int(row)} of X"), open(path, "rb") as file:
            return file.read()

    def _decode(self, row, shape, content=None):
        picture, where = self.pictures[row], f"row {int(row)} of X"
        file = picture if content is None else io.BytesIO(content)
        return decode_picture(picture, shape, where, file)


def _threaded(function, values):
    with ThreadPoolExecutor(_N_DECODERS) as pool:
        return list(pool.map(function, values))


def decode_picture(picture, shape, where, file=None):
    """Return one picture as a uint8 tensor of shape (channels, height, width).

    `file` is what to open where `picture` is a path.
    """
    height, width, n_channels = shape
    if n_channels not in _PICTURE_MODES:
        raise ValueError(
            f"Pictures have 1, 3 or 4 channels, {n_channels} are expected here: pass "
            "arrays instead of files and PIL images."
        )
    wanted = (height, width, _PICTURE_MODES[n_channels])
    with _readable(picture, where):
        if isinstance(picture, Image.Image):
            return _fit_picture(picture, *wanted, where)
        with Image.open(file) as opened:
            return _fit_picture(opened, *wanted, where)


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
    return repr(str(os.fspath(picture)))  # of np.str_, too


def _fit_picture(picture, height, width, mode, where):
    if picture.mode == "F":
        raise TypeError(
            f"The image {_name_picture(picture)} ({where}) has pixels of real numbers "
            "(PIL's mode 'F'), which do not tell what is white. Pass arrays, or "
            "convert it to 8 bits before."
        )
    if picture.mode.startswith("I"):  # of more than 8 bits, which convert() would clip
        levels = np.asarray(picture).astype(np.int64).clip(0, 65535)
        if picture.mode != "I" or levels.max() > 255:
            if 0 < levels.max() < _FEWER_BITS:
                warnings.warn(
                    f"The image {_name_picture(picture)} ({where}) has 16 bits, of "
                    f"which 65535 is white, but its brightest pixel is {levels.max()}: "
                    "it is read as nearly black. If it was taken with fewer bits, pass "
                    "arrays, whose largest value is taken for white.",
                    UserWarning,
                    stacklevel=2,
                )
            levels //= 256
        picture = Image.fromarray(levels.astype(np.uint8))
    elif picture.mode == "P":  # a palette may hide an alpha channel
        picture = picture.convert("RGBA")
    picture = picture.convert(mode)
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    pixels = view_as_tensor(np.array(picture)).reshape(height, width, -1)
    return pixels.permute(2, 0, 1).contiguous()
