# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""A fitted `LatentDiffusionOversampler` as a file, and back."""

from ldmlr_sklearn._persistence import read, write
from ldmlr_sklearn._saved_parameters import estimator_from, pairs, plain_parameters
from ldmlr_sklearn._trained_diffusion import TrainedDiffusion

_KIND = "LatentDiffusionOversampler"

# Fitted attributes that are kept, where they are there, beside the trained model.
_ARRAYS = (
    *("classes_", "class_counts_", "feature_names_in_"),
    *("is_generated_", "sample_weight_"),
)


def save_oversampler(sampler, path):
    """Write a fitted over-sampler; see `LatentDiffusionOversampler.save`."""
    arrays, values = sampler._trained.to_plain()
    fitted = vars(sampler)
    arrays |= {name: fitted[name] for name in _ARRAYS if name in fitted}
    values |= {
        "parameters": plain_parameters(sampler.get_params(deep=False), ("memory",)),
        "n_features_in_": sampler.n_features_in_,
        "sampling_strategy_": pairs(sampler.sampling_strategy_),
    }
    write(path, _KIND, arrays, values)


def load_oversampler(cls, path):
    """Read an over-sampler of a class, and its trained model.

    See `LatentDiffusionOversampler.load`.
    """
    arrays, values = read(path, _KIND)
    sampler = estimator_from(cls, values["parameters"])
    sampler.n_features_in_ = values["n_features_in_"]
    sampler.sampling_strategy_ = dict(values["sampling_strategy_"])
    for name in _ARRAYS:
        if name in arrays:
            setattr(sampler, name, arrays[name])
    return sampler, TrainedDiffusion.from_plain(arrays, values)
