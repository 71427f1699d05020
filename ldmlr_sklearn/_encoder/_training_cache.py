# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What tells one training of an encoder from another; encoders trained before."""

import json
from numbers import Integral

import torch

from ldmlr_sklearn._backbones import name_of
from ldmlr_sklearn._encoder._identity import digest_of, fingerprint
from ldmlr_sklearn._result_cache import locked_entry
from ldmlr_sklearn._torch_utils import view_as_tensor


def train_once(folder, key, network, train):
    """Train a network, or read what an equal training has left.

    Parameters
    ----------
    folder : pathlib.Path

    key : str
        Tells apart trainings that have different results.

    network : torch.nn.Module
        Is changed in place.

    train : callable
        Trains it and returns its loss curve.

    Returns
    -------
    loss_curve : list of float
    """
    with locked_entry(folder, "trained_encoder", key) as entry:
        kept = entry.read()
        if kept is None:
            loss_curve = list(train())
            entry.write(network.state_dict(), {"loss_curve": loss_curve})
            return loss_curve
    tensors, values = kept
    state = {name: view_as_tensor(array) for name, array in tensors.items()}
    network.load_state_dict(state)
    return values["loss_curve"]


def training_key(made_by, network, images, targets, weights, recipe, seeds):
    """Return a name for a training: the same for the same result.

    Parameters
    ----------
    made_by : dict
        What the features of the network depend on beside its weights.

    network : EncoderWithHead
        Before the training.

    images : str
        From `digest_images`.

    targets, weights, recipe, seeds :
        See `train_encoder`.

    Returns
    -------
    str
    """
    depends_on = {
        "made by": made_by,
        "images": images,
        "targets": targets.tolist(),
        "weights": None if weights is None else weights.tolist(),
        "recipe": recipe._asdict(),
        "seeds": seeds,
    }
    return digest_of(depends_on, network)


def describe_start(encoder, network, pixels):
    """Return what tells where a training starts from, for its checkpoint.

    Parameters
    ----------
    encoder : FeatureEncoder
        Its parameters are read.

    network : EncoderWithHead
        Before the training.

    pixels : PixelFormat

    Returns
    -------
    dict of str to str, int or None
    """
    seeded = isinstance(encoder.random_state, Integral)
    initial = None
    loaded = encoder.pretrained or encoder.weights is not None
    if loaded or isinstance(encoder.backbone, torch.nn.Module):
        initial = digest_of(None, network.backbone)
    elif seeded and not isinstance(encoder.backbone, str):
        # Of drawn numbers the last bits depend on the machine.
        initial = fingerprint(network.backbone, pixels)
    return {
        "random_state": int(encoder.random_state) if seeded else None,
        "backbone": name_of(encoder.backbone),
        "backbone_kwargs": json.dumps(
            encoder.backbone_kwargs, sort_keys=True, default=name_of
        ),
        "structure": digest_of(repr(network)),
        "initial weights": initial,
    }
