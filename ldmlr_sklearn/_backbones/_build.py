# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""A backbone of any kind, its weights, and what it wants to be given."""

import copy
from typing import NamedTuple

import torch

from ldmlr_sklearn._backbones._weight_files import load_weights


def build_backbone(backbone, keywords, *, pretrained=False, weights=None):
    """Return a network with its weights, and the head that came with them.

    Parameters
    ----------
    backbone, pretrained, weights :
        See `FeatureEncoder`.

    keywords : dict
        Keyword arguments of the backbone.

    Returns
    -------
    network : torch.nn.Module

    head : tuple of two torch.Tensor, or None
        See `load_weights`.

    Raises
    ------
    ValueError
        If the parameters exclude each other, or see `create_backbone` and
        `load_weights`.

    TypeError
        If a callable returns something else than a module.
    """
    if pretrained and weights is not None:
        raise ValueError(
            "pretrained=True and weights exclude each other. Give one of them."
        )
    if isinstance(backbone, str):
        # Imported here because timm, with torchvision, takes seconds to load.
        from ldmlr_sklearn._backbones._named import create_backbone

        network = create_backbone(backbone, keywords, pretrained=pretrained)
    elif pretrained:
        raise ValueError(
            "pretrained=True is for backbones of timm by name. Load the weights "
            "of a module of your own before, or by `weights`."
        )
    else:
        network = _build_own(backbone, keywords)
    return network, None if weights is None else load_weights(network, weights)


def _build_own(backbone, keywords):
    if isinstance(backbone, torch.nn.Module):
        if keywords:
            raise ValueError(
                "backbone_kwargs are given, but backbone is a module, built "
                "already. Give its class or a function that returns it."
            )
        return copy.deepcopy(backbone).cpu()
    network = backbone(**keywords)
    if not isinstance(network, torch.nn.Module):
        raise TypeError(
            f"backbone={backbone!r} returned a {type(network).__name__}. "
            "Expected a callable that returns a torch.nn.Module."
        )
    return network.cpu()


def name_of(backbone):
    """Return how messages call a backbone."""
    if isinstance(backbone, str):
        return repr(backbone)
    return getattr(backbone, "__name__", type(backbone).__name__)


class WantedInput(NamedTuple):
    """What a network is made for; None is what cannot be seen.

    Attributes
    ----------
    n_channels : int or None

    size : int, tuple of int or None
        (height, width), or one number for both.

    mean, std : tuple of float or None
        Of each channel, on a scale where black is 0 and white is 1.
    """

    n_channels: int | None
    size: int | tuple | None
    mean: tuple | None
    std: tuple | None


def wanted_input(network, backbone, keywords):
    """Return the `WantedInput` of a network that `build_backbone` has built."""
    config = getattr(network, "pretrained_cfg", None) or {}
    made_for = config.get("input_size") or (None,)  # (channels, height, width)
    if isinstance(backbone, str):
        n_channels = keywords.get("in_chans") or made_for[0]
    else:
        n_channels = _channels_of_first_layer(network)
    size = keywords.get("img_size") or made_for[1:] or None
    return WantedInput(n_channels, size, config.get("mean"), config.get("std"))


def _channels_of_first_layer(network):
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            return module.in_channels or None  # 0 is that of a lazy one
    return None
