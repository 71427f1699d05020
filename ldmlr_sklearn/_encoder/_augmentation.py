# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""How training images vary."""

import numpy as np
import torch
from torch.nn import functional as F

from ldmlr_sklearn._torch_utils import generator_from


class Augmenter:
    """Raw images -> normalised network input, cropped, flipped and mixed."""

    def __init__(self, pixels, seed, *, augmentation, mixup_alpha):
        self.pixels = pixels
        self.automatic = augmentation == "autoaugment"
        self.crops = self.automatic or augmentation in ("crop", "crop_flip")
        self.flips = self.automatic or augmentation in ("flip", "crop_flip")
        if self.automatic and (pixels.standardised or pixels.n_channels not in (1, 3)):
            raise ValueError(
                "augmentation='autoaugment' is for gray and RGB images of values that "
                f"are not standardised. Got {pixels.n_channels} channels"
                f"{', standardised' if pixels.standardised else ''}. Give images of "
                "0..255 or 0..1, or use augmentation='crop_flip'."
            )
        self.mixup_alpha = mixup_alpha
        self.generator = generator_from(seed)
        self.mixing = np.random.default_rng(seed)

    def __call__(self, raw, targets):
        """Return images and the pairs (targets, share) that make up the loss."""
        images = self.pixels.to_unit(raw)
        if self.crops or self.flips:
            images = self._crop_and_flip(images)
        if self.automatic:
            images = self._auto_augment(images)
        images = self.pixels.normalize(images)
        if not self.mixup_alpha:
            return images, [(targets, 1.0)]
        weight = float(self.mixing.beta(self.mixup_alpha, self.mixup_alpha))
        partners = torch.randperm(len(images), generator=self.generator)
        partners = partners.to(images.device)
        images = weight * images + (1 - weight) * images[partners]
        return images, [(targets, weight), (targets[partners], 1 - weight)]

    def _auto_augment(self, images):  # (n, c, h, w) -> (n, c, h, w)
        # Imported here because torchvision takes seconds to load.
        from ldmlr_sklearn._encoder._autoaugment import auto_augment, cutout

        levels = (255 * images).round().clamp(0, 255).byte()
        levels = auto_augment(levels, self.generator)
        return cutout(levels, self.generator).float() / 255

    def _crop_and_flip(self, images):  # (n, c, h, w) -> (n, c, h, w)
        """Take each image from a place and side of its own, by one indexing."""
        n_images, _, height, width = images.shape
        pads = (height // 8, width // 8) if self.crops else (0, 0)  # 4 pixels of 32
        top, left = (self._draw(2 * pad + 1, n_images) for pad in pads)
        rows = top[:, None] + torch.arange(height)  # (n, h)
        columns = left[:, None] + torch.arange(width)  # (n, w)
        if self.flips:
            flipped = self._draw(2, n_images).bool()
            columns = torch.where(flipped[:, None], columns.flip(1), columns)
        padded = F.pad(images, (pads[1], pads[1], pads[0], pads[0]))
        taken = torch.arange(n_images)[:, None, None], rows[:, :, None]
        taken = (*taken, columns[:, None, :])
        taken = [index.to(images.device) for index in taken]
        return padded[taken[0], :, taken[1], taken[2]].permute(0, 3, 1, 2)

    def _draw(self, n_values, n_draws):
        return torch.randint(n_values, (n_draws,), generator=self.generator)
