# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The torch side of `FeatureEncoder`: encode images, and train with a linear head.

The training is hosted by skorch.
"""

import json
import math
import os
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass

import numpy as np
import torch
from skorch import NeuralNet
from skorch.hf import AccelerateMixin
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from ldmlr_sklearn._checkpoint import (
    check_writable,
    read_checkpoint,
    write_checkpoint,
)
from ldmlr_sklearn._encoding_cache import encode_once
from ldmlr_sklearn._losses import (
    SHAPE_LEARNING_RATE,
    SHAPE_PARAMETERS,
    logit_shift,
    make_layer,
)
from ldmlr_sklearn._torch_utils import generator_from, to_numpy, to_tensor

_AUTOCAST_DTYPES = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


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


def autocast(device, precision):
    """Return the context in which a network runs at a ``precision``."""
    dtype = _AUTOCAST_DTYPES[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def extract_features(network, images):
    """Return the pooled features of images, before any head.

    Parameters
    ----------
    network : torch.nn.Module
        One of timm's, or any that returns features (n, d) or maps (n, d, h, w).

    images : torch.Tensor of shape (n, channels, height, width)

    Returns
    -------
    torch.Tensor of shape (n, d)
    """
    if hasattr(network, "forward_features") and hasattr(network, "forward_head"):
        maps = network.forward_features(images)
        features = network.forward_head(maps, pre_logits=True)
    else:
        features = network(images)
    if isinstance(features, torch.Tensor) and features.ndim == 4:
        features = features.mean(dim=(2, 3))
    return features


def count_features(network, pixels, source, name):
    """Try a network on two images; return the number of features.

    Parameters
    ----------
    network : torch.nn.Module
        Is in evaluation mode afterwards.

    pixels : PixelFormat

    source : ImageSource

    name : str
        How messages call the network.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If it cannot take such images, or returns something else than features.
    """
    raw = source.read(slice(0, 2), pixels.shape)
    images = pixels.normalize(pixels.to_unit(raw))
    try:
        with torch.no_grad():
            features = extract_features(network.eval(), images)
    except Exception as error:
        # Networks refuse a size in as many ways as there are networks.
        height, width = pixels.size
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        raise ValueError(
            f"The backbone {name} cannot take images of {height} x {width} pixels with "
            f"{pixels.n_channels} channels: {reason}. Make the "
            "images larger by image_size, or adapt the network: most convolutional "
            "ones of timm take backbone_kwargs={'output_stride': 8}, transformers "
            f"{{'img_size': {max(pixels.size)}}}, perhaps with a smaller 'patch_size'."
        ) from error
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        shape = getattr(features, "shape", None)
        got = type(features).__name__ if shape is None else tuple(shape)
        raise ValueError(
            f"The backbone {name} returned {got}. Expected a tensor of features (n, d) "
            "or of maps (n, d, height, width)."
        )
    return features.shape[1]


def fingerprint(network, pixels):
    """Return text that tells what a network of unknown code makes of noise.

    Of so few digits that the number of threads does not show.
    """
    noise = torch.randn(2, pixels.n_channels, *pixels.size, generator=generator_from(0))
    with torch.no_grad():
        features = extract_features(network.eval(), noise)
    return " ".join(f"{row.mean():.1e} {row.std():.1e}" for row in features)


def encode_images(
    network,
    pixels,
    source,
    n_features,
    *,
    device,
    precision,
    batch_size,
    verbose,
    cache=None,
):
    """Return the features of all images, with one batch at a time in memory.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode, on `device`.

    pixels : PixelFormat

    source : ImageSource

    n_features : int

    device, precision, batch_size, verbose :
        See `FeatureEncoder`.

    cache : (folder, key), default=None
        Where the features of this encoder are kept; see `encode_once`.

    Returns
    -------
    ndarray of shape (n_images, n_features), float32
    """

    def encode(raw, rows):
        images = pixels.normalize(pixels.to_unit(raw.to(device)))
        with torch.no_grad(), autocast(device, precision):
            features = to_numpy(extract_features(network, images).float())
        if not np.isfinite(features).all():
            raise ValueError(
                f"The backbone turned finite images of rows {rows[0]} to {rows[-1]} "
                "into NaN or infinity. Check its weights; with precision='float16', "
                "try 'bfloat16' or 'float32'."
            )
        return features

    encoded = np.empty((len(source), n_features), dtype=np.float32)
    batches = [
        slice(start, min(start + batch_size, len(source)))
        for start in range(0, len(source), batch_size)
    ]
    bar = tqdm(batches, desc="Encoding", unit="batch", disable=not verbose)
    if cache is not None:
        encode_once(*cache, encode, source, pixels.shape, bar, encoded)
        return encoded
    for rows in bar:
        raw = source.read(rows, pixels.shape)
        encoded[rows] = encode(raw, range(rows.start, rows.stop))
    return encoded


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
    n_epoch_batches = _count_batches(len(source), recipe.batch_size, processes.count)
    net_class, hosting = _EncoderNet, {"device": device}
    if processes.accelerator is not None:
        net_class = _AcceleratedEncoderNet
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
        iterator_train=_ShuffledBatches,
        iterator_train__generator=generator_from(order_seed),
        iterator_train__processes=processes,
        dataset=_LabelledImages,
        train_split=None,
        callbacks="disable",
        verbose=0,
        recipe=recipe,
        training_device=device,
        processes=processes,
        after_epoch=after_epoch,
        n_steps=recipe.max_epochs * n_epoch_batches,
        shift=logit_shift(recipe.loss, to_tensor(prior)).to(device),
        augmenter=_Augmenter(pixels, recipe, image_seed + processes.index),
        bar=tqdm(total=recipe.max_epochs, desc="Training", disable=not verbose),
        **hosting,
    )
    images = _LabelledImages(source, targets, weights, pixels.shape)
    with net.bar:
        # What fit() does, but for its KeyboardInterrupt, which it keeps to itself.
        net.initialize()
        net.notify("on_train_begin", X=source, y=targets)
        if checkpoint is not None:
            purpose = _describe_training(recipe, source, targets, weights, pixels)
            net.keep_in(checkpoint, purpose)
        n_left = recipe.max_epochs - len(net.losses_)
        with suppress(_StopTraining):
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


class _StopTraining(Exception):
    """Ends a training after an epoch."""


class _LabelledImages(torch.utils.data.Dataset):
    """Whole batches of raw images, targets and weights, read when they are asked for.

    The weights of all rows have mean 1.
    """

    def __init__(self, source, targets, weights, shape):
        self.source = source
        self.targets = to_tensor(targets, torch.int64)
        self.weights = to_tensor(weights / weights.mean())
        self.shape = shape

    def __len__(self):
        return len(self.source)

    def __getitem__(self, rows):
        raw = self.source.read(to_numpy(rows), self.shape)
        return raw, self.targets[rows], self.weights[rows]


def _count_batches(n_rows, batch_size, n_shares=1):
    """Return how many batches of equal size hold all rows.

    Each has two rows at least for each of its shares.
    """
    return max(1, min(math.ceil(n_rows / batch_size), n_rows // (2 * n_shares)))


class _ShuffledBatches:
    """All rows in a new order each time they are gone through.

    Each of several processes takes its share of every batch. Batches differ by one row
    at most: BatchNorm refuses a last batch of one row, and a last batch of three
    disturbs its statistics and the weights.
    """

    def __init__(self, dataset, batch_size, generator, processes):
        self.dataset = dataset
        self.n_batches = _count_batches(len(dataset), batch_size, processes.count)
        self.generator = generator
        self.processes = processes

    def __iter__(self):
        order = torch.randperm(len(self.dataset), generator=self.generator)
        for rows in order.tensor_split(self.n_batches):
            share = rows.tensor_split(self.processes.count)[self.processes.index]
            raw, targets, weights = self.dataset[share]
            # Gradients are averaged over processes, whose shares may differ by a row.
            size = len(share) * self.processes.count / len(rows)
            yield raw, targets, weights * size


class _Augmenter:
    """Raw images -> normalised network input, cropped, flipped and mixed."""

    def __init__(self, pixels, recipe, seed):
        self.pixels = pixels
        self.automatic = recipe.augmentation == "autoaugment"
        self.crops = self.automatic or recipe.augmentation in ("crop", "crop_flip")
        self.flips = self.automatic or recipe.augmentation in ("flip", "crop_flip")
        if self.automatic and (pixels.standardised or pixels.n_channels not in (1, 3)):
            raise ValueError(
                "augmentation='autoaugment' is for gray and RGB images of values that "
                f"are not standardised. Got {pixels.n_channels} channels"
                f"{', standardised' if pixels.standardised else ''}. Give images of "
                "0..255 or 0..1, or use augmentation='crop_flip'."
            )
        self.mixup_alpha = recipe.mixup_alpha
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
        from ldmlr_sklearn._autoaugment import auto_augment, cutout

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


class _EncoderNet(NeuralNet):
    """A skorch net whose step augments, casts and follows the schedule."""

    def __init__(
        self,
        *args,
        recipe,
        training_device,
        processes,
        after_epoch,
        n_steps,
        shift,
        augmenter,
        bar,
        **kwargs,
    ):
        self.recipe = recipe
        self.training_device = training_device
        self.processes = processes
        self.after_epoch = after_epoch
        self.n_steps = n_steps
        self.shift = shift
        self.augmenter = augmenter
        self.bar = bar
        super().__init__(*args, **kwargs)

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        super().on_train_begin(net, X=X, y=y, **kwargs)
        self.n_steps_done_ = 0
        self.losses_ = []
        self.checkpoint_ = None
        for group in self.optimizer_.param_groups:
            group["initial_lr"] = group["lr"]
        # Half precision alone needs its gradients scaled; others pass through.
        enabled = self.recipe.precision == "float16"
        self.scaler_ = torch.amp.GradScaler(self.training_device.type, enabled=enabled)

    def train_step(self, batch, **fit_params):
        device = self.training_device
        raw, targets, weights = (tensor.to(device) for tensor in batch)
        self._set_training(True)
        self._follow_schedule()
        images, mixture = self.augmenter(raw, torch.arange(len(raw), device=device))
        with autocast(device, self.recipe.precision):
            logits = self.module_(images)
        logits = logits.float() + self.shift
        loss = sum(
            share * (weights[rows] * self.criterion_(logits, targets[rows])).mean()
            for rows, share in mixture
        )
        self._zero_grad_optimizer()
        self.scaler_.scale(loss).backward()
        self.scaler_.step(self.optimizer_)
        self.scaler_.update()
        return {"loss": loss, "y_pred": logits}

    def _follow_schedule(self):
        progress = min(self.n_steps_done_ / self.n_steps, 1.0)
        if self.recipe.schedule == "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * progress))
        else:
            factor = 0.1 ** ((progress >= 0.5) + (progress >= 0.75))
        for group in self.optimizer_.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.n_steps_done_ += 1

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        super().on_epoch_end(net, dataset_train, dataset_valid, **kwargs)
        losses = self.history[-1, "batches", :, "train_loss"]
        # Of whole batches, as `_ShuffledBatches` splits them; a process has a share.
        batches = torch.arange(len(dataset_train)).tensor_split(len(losses))
        sizes = [len(rows) for rows in batches]
        loss = self.processes.mean(float(np.average(losses, weights=sizes)))
        self.losses_.append(loss)
        if not math.isfinite(loss):
            raise ValueError(
                f"Training diverged: the loss of epoch {len(self.losses_)} is {loss}. "
                f"Try a smaller learning_rate than {self.lr}."
            )
        self.bar.set_postfix(loss=f"{loss:.3f}")
        self.bar.update()
        if self.checkpoint_ is not None:
            write_checkpoint(*self.checkpoint_, self._state())
        # Where one process stops, all do: the others would wait for it.
        if self.processes.mean(float(self.after_epoch())) > 0:
            raise _StopTraining

    def keep_in(self, path, purpose):
        """Continue from a checkpoint, if it is there, and keep it up to date."""
        check_writable(path)
        state = read_checkpoint(path, purpose)
        if state is not None:
            self._set_state(state)
            self.bar.update(len(self.losses_))
        self.checkpoint_ = path, purpose

    def _state(self):
        device = self.training_device
        on_gpu = device.type == "cuda"
        return {
            "network": self.module_.state_dict(),
            "optimizer": self.optimizer_.state_dict(),
            "scaler": self.scaler_.state_dict(),
            "n_steps_done": self.n_steps_done_,
            "losses": self.losses_,
            "order": self.iterator_train__generator.get_state(),
            "augmentation": self.augmenter.generator.get_state(),
            "mixing": json.dumps(self.augmenter.mixing.bit_generator.state),
            # Borrowed ones; dropout draws from them.
            "global": torch.random.get_rng_state(),
            "gpu": torch.cuda.get_rng_state(device) if on_gpu else None,
        }

    def _set_state(self, state):
        self.module_.load_state_dict(state["network"])
        self.optimizer_.load_state_dict(state["optimizer"])
        self.scaler_.load_state_dict(state["scaler"])
        self.n_steps_done_ = state["n_steps_done"]
        self.losses_ = state["losses"]
        self.iterator_train__generator.set_state(state["order"])
        self.augmenter.generator.set_state(state["augmentation"])
        self.augmenter.mixing.bit_generator.state = json.loads(state["mixing"])
        torch.random.set_rng_state(state["global"])
        device = self.training_device
        if state["gpu"] is not None and device.type == "cuda":
            torch.cuda.set_rng_state(state["gpu"], device)


class _AcceleratedEncoderNet(AccelerateMixin, _EncoderNet):
    """The same, with gradients averaged over all processes."""

    def _initialize_accelerator(self):
        # A loss has no parameters, and what has none must not be distributed.
        criteria, self._criteria = self._criteria, []
        super()._initialize_accelerator()
        self._criteria = criteria
        return self
