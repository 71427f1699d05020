# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Train a network on images, with a head."""

import os
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ldmlr_sklearn._encoder._augmentation import Augmenter
from ldmlr_sklearn._encoder._batches import (
    LabelledImages,
    ShuffledBatches,
    count_batches,
)
from ldmlr_sklearn._encoder._features import extract_features
from ldmlr_sklearn._encoder._training_net import (
    AcceleratedEncoderNet,
    EncoderNet,
    StopTraining,
)
from ldmlr_sklearn._losses import (
    SHAPE_LEARNING_RATE,
    SHAPE_PARAMETERS,
    logit_shift,
    make_layer,
)
from ldmlr_sklearn._torch_utils import generator_from, to_numpy, to_tensor


@dataclass(frozen=True)
class TrainingRecipe:
    """The settings of a training; see the parameters of `FeatureEncoder`."""

    loss: str
    max_epochs: int
    learning_rate: float
    schedule: str
    weight_decay: float
    batch_size: int
    augmentation: str | None
    mixup_alpha: float
    precision: str


class EncoderWithHead(nn.Module):
    """A backbone and the head that it is trained with.

    Parameters
    ----------
    backbone : torch.nn.Module

    n_features, n_classes : int

    loss : str
        One of `LOSSES`.
    """

    def __init__(self, backbone, n_features, n_classes, loss):
        super().__init__()
        self.backbone = backbone
        self.head = make_layer(loss, n_features, n_classes)

    def forward(self, images):  # (n, c, h, w) -> (n, n_classes)
        return self.head(extract_features(self.backbone, images))


def train_encoder(
    network,
    pixels,
    source,
    targets,
    weights,
    recipe,
    *,
    device,
    seeds,
    verbose,
    processes,
    after_epoch,
    checkpoint=None,
):
    """Train a network on images; it is changed in place.

    Parameters
    ----------
    network : EncoderWithHead
        Takes normalised images, returns logits of shape (n, n_classes).

    pixels : PixelFormat

    source : ImageSource

    targets : ndarray of int of shape (n_images,)

    weights : ndarray of shape (n_images,) or None
        Of the images in the loss; only their ratios count. None: all are equal.

    recipe : TrainingRecipe

    device : torch.device

    seeds : tuple of two int
        For the order of the rows and for what is drawn to change images.

    verbose : int
        Whether to show a bar.

    processes : Processes
        All that train this network together.

    after_epoch : callable
        Called without arguments after every epoch; training stops if it returns True.

    checkpoint : str or path-like, default=None
        File to continue from, if it is there; rewritten after every epoch and removed
        at the end. For one process alone.

    Returns
    -------
    loss_curve : list of float
        Mean loss of each epoch.
    """
    order_seed, image_seed = seeds
    if weights is None:
        weights = np.ones(len(source))
    prior = np.bincount(targets, weights) / np.sum(weights)
    own_rate = {"lr": SHAPE_LEARNING_RATE, "weight_decay": 0.0}
    n_epoch_batches = count_batches(len(source), recipe.batch_size, processes.count)
    net_class, hosting = EncoderNet, {"device": device}
    if processes.accelerator is not None:
        net_class = AcceleratedEncoderNet
        hosting = {"accelerator": processes.accelerator}
    net = net_class(
        network,
        criterion=nn.CrossEntropyLoss,
        criterion__reduction="none",
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        optimizer__nesterov=True,
        optimizer__weight_decay=recipe.weight_decay,
        optimizer__param_groups=[
            (f"head.{name}", own_rate) for name in SHAPE_PARAMETERS
        ],
        lr=recipe.learning_rate,
        max_epochs=recipe.max_epochs,
        batch_size=recipe.batch_size,
        iterator_train=ShuffledBatches,
        iterator_train__generator=generator_from(order_seed),
        iterator_train__processes=processes,
        dataset=LabelledImages,
        train_split=None,
        callbacks="disable",
        verbose=0,
        recipe=recipe,
        training_device=device,
        processes=processes,
        after_epoch=after_epoch,
        n_steps=recipe.max_epochs * n_epoch_batches,
        shift=logit_shift(recipe.loss, to_tensor(prior)).to(device),
        augmenter=Augmenter(pixels, recipe, image_seed + processes.index),
        bar=tqdm(total=recipe.max_epochs, desc="Training", disable=not verbose),
        **hosting,
    )
    images = LabelledImages(source, targets, weights, pixels.shape)
    with net.bar:
        # What fit() does, but for its KeyboardInterrupt, which it keeps to itself.
        net.initialize()
        net.notify("on_train_begin", X=source, y=targets)
        if checkpoint is not None:
            purpose = _describe_training(recipe, source, targets, weights, pixels)
            net.keep_in(checkpoint, purpose)
        n_left = recipe.max_epochs - len(net.losses_)
        with suppress(StopTraining):
            net.fit_loop(images, epochs=n_left)
        net.notify("on_train_end", X=source, y=targets)
    processes.synchronise(network)
    if checkpoint is not None:
        os.remove(checkpoint)
    return net.losses_


def _describe_training(recipe, source, targets, weights, pixels):
    """Return what tells one training from another, for its checkpoint."""
    first = to_numpy(source.read(slice(0, 16), pixels.shape))
    return {
        **asdict(recipe),
        "n_images": len(source),
        "first images": zlib.crc32(first.tobytes()),
        "labels": zlib.crc32(np.asarray(targets, dtype=np.int64).tobytes()),
        "weights": zlib.crc32(np.asarray(weights, dtype=np.float32).tobytes()),
    }
