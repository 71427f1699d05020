# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Training, or the result of the same training as it was kept before."""

import json
from contextlib import suppress

import numpy as np
import scipy
import sklearn
import torch

from ldmlr_sklearn._diffusion_training import train_diffusion
from ldmlr_sklearn._persistence import checksum, library_version
from ldmlr_sklearn._result_cache import locked_entry
from ldmlr_sklearn._torch_utils import product_dtype
from ldmlr_sklearn._trained_diffusion import TrainedDiffusion

# The name of the folder of results, which is also what its files say they hold.
KIND = "diffusion"


def recall_or_train(folder, data, watch):
    """Return a trained model, from the folder if it is there.

    Parameters
    ----------
    folder : Path or None
        From `cache_folder`. None keeps nothing.
    data : dict
        Keywords of `train_diffusion` that determine its result.
    watch : callable
        Its remaining keyword. What was stopped before its end is not kept.

    Returns
    -------
    TrainedDiffusion
    """
    if folder is None:
        return train_diffusion(**data, watch=watch)
    with locked_entry(folder, KIND, training_key(**data)) as entry:
        found = entry.read()
        if found is not None:
            with suppress(ValueError):  # of a version that built other networks
                return TrainedDiffusion.from_plain(*found)
        trained = train_diffusion(**data, watch=watch)
        n_before = 0 if data["start"] is None else len(data["start"].loss_curve)
        if len(trained.loss_curve) == n_before + data["parameters"].max_steps:
            entry.write(*trained.to_plain())
        return trained


def training_key(
    X, codes, parameters, *, seeds, device, sample_weight=None, start=None
):
    """Return a text that tells trainings apart: the same for the same result.

    Parameters are those of `train_diffusion`. Versions of the libraries that compute
    are part of the key.
    """
    arrays = {"X": X, "codes": codes.astype(np.int64)}
    if sample_weight is not None:
        arrays["sample_weight"] = sample_weight
    values = {
        "parameters": parameters._asdict(),
        "seeds": seeds,
        "device": [device.type, str(product_dtype(device))],
        "ldmlr_sklearn": library_version(),
        "torch": torch.__version__,
        **{
            library.__name__: library.__version__.split(".")[:2]
            for library in (np, scipy, sklearn)
        },
    }
    if start is not None:
        begun, _ = start.to_plain()
        arrays |= {
            f"start.{name}": np.asarray(array)
            for name, array in begun.items()
            if name.startswith("denoiser.") or name == "loss_curve"
        }
    return checksum(json.dumps(values, sort_keys=True, default=float), arrays)
