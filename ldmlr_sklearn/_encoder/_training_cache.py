# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Encoders that were trained before."""

from ldmlr_sklearn._encoder._identity import digest_of
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
