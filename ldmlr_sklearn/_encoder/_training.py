# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Train a network with a head on images."""

import os
import zlib
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ldmlr_sklearn._encoder._augmentation import Augmenter
from ldmlr_sklearn._encoder._batches import (
    LabelledImages,
    ShuffledBatches,
    count_batches,
)
from ldmlr_sklearn._encoder._checkpoint import (
    check_writable,
    read_checkpoint,
    write_checkpoint,
)
from ldmlr_sklearn._encoder._training_net import AcceleratedEncoderNet, EncoderNet
from ldmlr_sklearn._encoder._with_head import class_frequencies
from ldmlr_sklearn._losses import (
    SHAPE_LEARNING_RATE,
    SHAPE_PARAMETERS,
    logit_shift,
)
from ldmlr_sklearn._scheduled_net import SGD_HOST
from ldmlr_sklearn._torch_utils import generator_from


class TrainingRecipe(NamedTuple):
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
    start=None,
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

    start : dict of str to str or number, default=None
        What tells, for a checkpoint, these images and this network from others.

    Returns
    -------
    loss_curve : list of float
        Mean loss of each epoch.
    """
    if processes.count > 1:
        _check_shared(len(source), processes.count, checkpoint)
    net = _host(
        *(network, pixels, targets, weights, recipe),
        device=device,
        seeds=seeds,
        processes=processes,
    )
    if weights is None:
        weights = np.ones(len(source))
    images = LabelledImages(source, targets, weights, pixels.shape)
    with tqdm(total=recipe.max_epochs, desc="Training", disable=not verbose) as bar:
        # What fit() does, but for its KeyboardInterrupt, which it keeps to itself.
        net.initialize()
        net.notify("on_train_begin", X=source, y=targets)
        if checkpoint is not None:
            check_writable(checkpoint)
            purpose = _describe_training(recipe, targets, weights, pixels, start)
            state = read_checkpoint(checkpoint, purpose)
            if state is not None:
                net.set_state(state)
                bar.update(len(net.losses_))
        while len(net.losses_) < recipe.max_epochs:
            loss = net.run_epoch(images)
            bar.set_postfix(loss=f"{loss:.3f}")
            bar.update()
            if checkpoint is not None:
                write_checkpoint(checkpoint, purpose, net.state())
            # Where one process stops, all do: the others would wait for it.
            if processes.mean(float(after_epoch())) > 0:
                break
        net.notify("on_train_end", X=source, y=targets)
    processes.synchronise(network)
    if checkpoint is not None:
        os.remove(checkpoint)
    return net.losses_


def _check_shared(n_images, n_processes, checkpoint):
    """Refuse what several processes cannot train together."""
    if n_images < 2 * n_processes:
        raise ValueError(
            f"Training on {n_processes} processes needs {2 * n_processes} samples at "
            f"least, got {n_images}. Launch fewer processes."
        )
    if checkpoint is not None:
        raise ValueError(
            f"checkpoint={checkpoint!r} keeps what one process trains, but "
            f"{n_processes} train together. Launch one, or set checkpoint=None."
        )


def _host(network, pixels, targets, weights, recipe, *, device, seeds, processes):
    """Return the net of skorch that trains a network by a recipe."""
    order_seed, image_seed = seeds
    shift = logit_shift(recipe.loss, class_frequencies(targets, weights))
    own_rate = {"lr": SHAPE_LEARNING_RATE, "weight_decay": 0.0}
    n_batches = count_batches(len(targets), recipe.batch_size, processes.count)
    net_class, hosting = EncoderNet, {"device": device}
    if processes.accelerator is not None:
        net_class = AcceleratedEncoderNet
        hosting = {"accelerator": processes.accelerator}
    return net_class(
        network,
        **SGD_HOST,
        optimizer__weight_decay=recipe.weight_decay,
        optimizer__param_groups=[
            (f"head.{name}", own_rate) for name in SHAPE_PARAMETERS
        ],
        lr=recipe.learning_rate,
        batch_size=recipe.batch_size,
        iterator_train=ShuffledBatches,
        iterator_train__generator=generator_from(order_seed),
        iterator_train__processes=processes,
        precision=recipe.precision,
        training_device=device,
        processes=processes,
        schedule=recipe.schedule,
        n_steps=recipe.max_epochs * n_batches,
        shift=shift.to(device),
        augmenter=Augmenter(
            pixels,
            image_seed + processes.index,
            augmentation=recipe.augmentation,
            mixup_alpha=recipe.mixup_alpha,
        ),
        **hosting,
    )


def _describe_training(recipe, targets, weights, pixels, start):
    """Return what tells one training from another, for its checkpoint."""
    return {
        **recipe._asdict(),
        **{name: str(value) for name, value in asdict(pixels).items()},
        **start,
        "n_images": len(targets),
        "labels": zlib.crc32(np.asarray(targets, dtype=np.int64).tobytes()),
        "sample_weight": zlib.crc32(np.asarray(weights, dtype=np.float32).tobytes()),
    }
