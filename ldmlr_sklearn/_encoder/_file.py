# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""A fitted `FeatureEncoder` as a file, and back."""

import os
from dataclasses import asdict

import torch

from ldmlr_sklearn import _persistence
from ldmlr_sklearn._backbones import build_backbone
from ldmlr_sklearn._images import PixelFormat
from ldmlr_sklearn._saved_parameters import (
    estimator_from,
    given_parameters,
    plain_parameters,
)
from ldmlr_sklearn._torch_utils import borrowed_generator, view_as_tensor

_KIND = "FeatureEncoder"
_BACKBONE = "backbone."  # before the names of its tensors
_ARRAYS = ["head_weight_", "head_bias_", "classes_", "loss_curve_", "feature_names_in_"]
_VALUES = ["n_features_out_", "device_", "n_features_in_"]
# Keywords for which timm reads other files or sends requests: loading does neither.
_FETCHING = ("pretrained", "checkpoint_path", "cache_dir")


def save_encoder(encoder, path):
    """Write a fitted encoder; see `FeatureEncoder.save`."""
    if not isinstance(encoder.backbone, str):
        raise ValueError(
            f"backbone={encoder.backbone!r} is code, which the file cannot hold: only "
            "backbones of timm by name can be saved. Pickle this encoder, or register "
            "its network with timm and give its name."
        )
    _refuse_fetched(encoder.backbone, "Pickle this encoder")
    parameters = encoder.get_params(deep=False)
    arrays = {
        f"{_BACKBONE}{name}": tensor
        for name, tensor in encoder.backbone_.state_dict().items()
    }
    fitted = vars(encoder)
    arrays |= {name: fitted[name] for name in _ARRAYS if name in fitted}
    values = {name: fitted[name] for name in _VALUES if name in fitted}
    values["parameters"] = plain_parameters(parameters, left_out=("memory",))
    values["pixels"] = plain_parameters(asdict(encoder._pixels))
    _persistence.write(path, _KIND, arrays, values)


def load_encoder(cls, path):
    """Read a fitted encoder of a class; see `FeatureEncoder.load`."""
    arrays, values = _persistence.read(path, _KIND)
    encoder = estimator_from(cls, values.pop("parameters"))
    _refuse_fetched(encoder.backbone, "Ask for a pickle")
    keywords = {
        name: value
        for name, value in (encoder.backbone_kwargs or {}).items()
        if name not in _FETCHING
    }
    with borrowed_generator(0, torch.device("cpu")):  # for weights that are replaced
        network, _ = build_backbone(encoder.backbone, keywords)
    state = {
        name.removeprefix(_BACKBONE): view_as_tensor(arrays.pop(name))
        for name in list(arrays)
        if name.startswith(_BACKBONE)
    }
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"{os.fspath(path)!r} holds weights that do not fit the backbone "
            f"{encoder.backbone!r} as timm builds it now: {error}. Load it with the "
            "version of timm that it was saved with."
        ) from error
    encoder.backbone_ = network.eval()
    encoder._pixels = PixelFormat(**given_parameters(values.pop("pixels")))
    encoder.input_shape_ = encoder._pixels.shape
    encoder.pixel_scale_ = encoder._pixels.scale
    for name, value in (arrays | values).items():
        setattr(encoder, name, value)
    return encoder


def _refuse_fetched(backbone, instead):
    """Refuse what timm would take from the hub, or from a folder."""
    if not isinstance(backbone, str) or ":" in backbone:
        raise ValueError(
            f"backbone={backbone!r} lies outside timm, and files are loaded without "
            "fetching anything. Expected a name that timm itself knows. "
            f"{instead}, or take the name of the network and its weights as a file."
        )
