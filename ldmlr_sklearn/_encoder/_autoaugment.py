# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""AutoAugment's policy for CIFAR and Cutout, on whole batches.

Every image draws a sub-policy of its own; the images that got the same operation at the
same strength are changed together. Importing this module loads torchvision.

References
----------
.. [1] Cubuk et al. AutoAugment: learning augmentation policies from data. CVPR 2019.
.. [2] DeVries, Taylor. Improved regularization of convolutional neural networks with
   Cutout. 2017.
"""

import math

import torch
from torchvision.transforms.v2 import functional as TF

# Table 7 of [1]_: two operations each, with probability and strength from 0 to 9.
CIFAR_POLICY = (
    (("invert", 0.1, 7), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 8), ("equalize", 0.9, 2)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 7), ("autocontrast", 0.4, 8)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 3)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
    (("color", 0.9, 9), ("equalize", 0.6, 6)),
    (("autocontrast", 0.8, 4), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 3)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 2), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 8), ("invert", 0.1, 3)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 1)),
)
_MAX_TRANSLATION = 150 / 331  # of the side, at strength 9
_ENHANCERS = {
    "brightness": TF.adjust_brightness,
    "color": TF.adjust_saturation,
    "contrast": TF.adjust_contrast,
    "sharpness": TF.adjust_sharpness,
}
_PLAIN = {
    "autocontrast": TF.autocontrast,
    "equalize": TF.equalize,
    "invert": TF.invert,
}


def apply_operation(images, name, strength, sign):
    """Change images of uint8 (n, c, h, w) alike.

    Parameters
    ----------
    images : torch.Tensor

    name : str
        An operation of `CIFAR_POLICY`.

    strength : int
        From 0 to 9.

    sign : {-1, 1}
        Direction, for the operations that have one.

    Returns
    -------
    torch.Tensor
    """
    if name in _PLAIN:
        return _PLAIN[name](images)
    share = strength / 9
    if name in _ENHANCERS:
        return _ENHANCERS[name](images, 1 + sign * 0.9 * share)
    if name == "posterize":
        return TF.posterize(images, 8 - round(4 * share))
    if name == "solarize":
        return TF.solarize(images, 255 * (1 - share))
    if name == "rotate":
        return TF.rotate(images, sign * 30 * share)
    moves = dict(angle=0.0, translate=[0, 0], scale=1.0, shear=[0.0, 0.0])
    if name == "shear_y":
        moves["shear"] = [0.0, math.degrees(math.atan(sign * 0.3 * share))]
        return TF.affine(images, **moves, center=[0, 0])
    height, width = images.shape[2:]
    along_x = name == "translate_x"
    shift = int(sign * _MAX_TRANSLATION * share * (width if along_x else height))
    moves["translate"] = [shift, 0] if along_x else [0, shift]
    return TF.affine(images, **moves)


def auto_augment(images, generator):
    """Change each image by a sub-policy of its own.

    Parameters
    ----------
    images : torch.Tensor of shape (n, c, h, w)
        uint8, of 1 or 3 channels.

    generator : torch.Generator
        Of the CPU.

    Returns
    -------
    torch.Tensor of shape (n, c, h, w)
    """
    images = images.clone()
    n_images = len(images)
    chosen = torch.randint(len(CIFAR_POLICY), (n_images,), generator=generator)
    for step in (0, 1):
        luck = torch.rand(n_images, generator=generator, dtype=torch.float32).tolist()
        signs = torch.randint(2, (n_images,), generator=generator).tolist()
        groups = {}
        for row, policy in enumerate(chosen.tolist()):
            name, probability, strength = CIFAR_POLICY[policy][step]
            if luck[row] < probability:
                sign = 1 if signs[row] else -1
                groups.setdefault((name, strength, sign), []).append(row)
        for operation, rows in groups.items():
            rows = torch.tensor(rows, device=images.device)
            images[rows] = apply_operation(images[rows], *operation)
    return images


def cutout(images, generator):
    """Blacken a square of half the height around a point of each image [2]_.

    Parameters
    ----------
    images : torch.Tensor of shape (n, c, h, w)

    generator : torch.Generator
        Of the CPU.

    Returns
    -------
    torch.Tensor of shape (n, c, h, w)
    """
    n_images, _, height, width = images.shape
    half = height // 4
    inside = []
    for size in (height, width):
        centre = torch.randint(size, (n_images, 1), generator=generator)
        offset = torch.arange(size) - centre  # (n, size)
        inside.append((offset >= -half) & (offset < half))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(hole.to(images.device), 0)
