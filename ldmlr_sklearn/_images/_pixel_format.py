# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Raw images to what a network takes."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from ldmlr_sklearn._images._shapes import describe_shape, resolve_image_size
from ldmlr_sklearn._images._source import refuse_not_finite

_OVERSHOOT = 2.0  # resizing and augmentation overshoot white, but not so far
_FAR = 10.0  # times a largest value that is one of the images, and no white
_CLEARLY_NEGATIVE = -0.1  # of the largest value, and below: standardised before


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

    largest : float
        Their largest value, whatever its sign. Nothing depends on it but whether
        later images are refused.
    """

    shape: tuple
    scale: float
    size: tuple
    n_channels: int
    mean: tuple
    std: tuple
    eight_bit: bool
    standardised: bool
    largest: float

    def check_range(self, source):
        """Refuse images whose range of values would be guessed wrong.

        Parameters
        ----------
        source : ImageSource
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

    def check_values(self, raw, *, whole_numbers):
        """Refuse a batch on another scale than the images of training.

        Parameters
        ----------
        raw : torch.Tensor of shape (n, channels, height, width)
            uint8 or float32.

        whole_numbers : bool
            Whether the values were integers.
        """
        if raw.dtype == torch.uint8:
            return
        low, high = raw.min().item(), raw.max().item()
        if self.standardised:
            seen, fits = "standardised ones", high <= _FAR * self.largest
        elif self.eight_bit:
            seen, fits = "8-bit ones (0..255)", 0 <= low and high <= 255
        else:
            slack = _OVERSHOOT if self.scale in (1.0, 255.0) else _FAR
            negative = low < min(_CLEARLY_NEGATIVE * high, -0.25)
            seen = f"images of 0..{self.scale:g}"
            fits = high <= slack * self.scale and not negative
        if not fits:
            raise ValueError(
                f"X holds values of {low:g} to {high:g}, but the encoder was fitted on "
                f"{seen}. Pass the same kind as in fit, on the same scale."
            )
        like_unit = 0 <= low and 0 < high <= 1 and not whole_numbers
        if like_unit and (self.standardised or self.scale > _FAR):
            # A batch of dark images may be like this too.
            warnings.warn(
                f"X holds values of {low:g} to {high:g}, as images of 0..1 do, but the "
                f"encoder was fitted on {seen}, and takes these for such. Pass the "
                "same kind as in fit, on the same scale.",
                UserWarning,
                stacklevel=2,
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
        mean = images.new_tensor(self.mean).view(-1, 1, 1)
        std = images.new_tensor(self.std).view(-1, 1, 1)
        return ((images - mean) / std).contiguous()


def decide_pixel_format(source, *, size, n_channels, mean, std):
    """Decide from training images how pixels are scaled, and check their channels.

    Whole numbers of 0..255 stay what they are. The other images are scaled by the
    largest value among them: 1 if it is at most 1, 255 if it is above 127 and at most
    255, itself otherwise (16 for scikit-learn's digits). Images with values clearly
    below 0 have been standardised by somebody else: they are used as they are.

    Parameters
    ----------
    source : ImageSource

    size : int or tuple of int or None
        See `PixelFormat`; one number is that of both. None keeps the images' own size,
        which pictures do not have.

    n_channels, mean, std :
        See `PixelFormat`. ``n_channels=None`` takes the images' own number, and a
        ``mean`` of None leaves the images at 0..1.

    Returns
    -------
    PixelFormat
    """
    size = source.shape[:2] if size is None else resolve_image_size(size)
    shape = source.shape or (*size, n_channels or 3)
    n_channels = shape[2] if n_channels is None else n_channels
    convertible = {n_channels, 1, 4} if n_channels == 3 else {n_channels, 1}
    if shape[2] not in convertible:
        raise ValueError(
            f"X has a wrong channel count: its images have {describe_shape(shape)}, "
            f"the backbone takes {n_channels}. Convert the images, or choose another "
            f"backbone (timm's take backbone_kwargs={{'in_chans': {shape[2]}}})."
        )
    low, high = source.value_range()
    refuse_not_finite(torch.tensor((low, high), dtype=torch.float64))
    scale = 1.0 if high <= 1 else 255.0 if 127 < high <= 255 else high
    standardised = low < _CLEARLY_NEGATIVE * max(high, 0.0)
    if standardised or mean is None:
        mean, std = (0.0,), (1.0,)
    if len(mean) != n_channels:
        mean = (float(np.mean(mean)),) * n_channels
        std = (float(np.mean(std)),) * n_channels
    return PixelFormat(
        shape=shape,
        scale=1.0 if standardised else scale,
        size=size,
        n_channels=n_channels,
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
        eight_bit=source.eight_bit,
        standardised=standardised,
        largest=max(-low, high),
    )
