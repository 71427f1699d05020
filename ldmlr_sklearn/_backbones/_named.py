# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Networks by their names in timm.

Importing this module loads timm and torchvision, which takes seconds.
"""

import difflib

import timm
import torch

from ldmlr_sklearn._backbones import _paper_networks  # noqa: F401, registers them
from ldmlr_sklearn._backbones._pretrained import (
    is_network_error,
    locate_pretrained,
    unreachable_error,
)


def create_backbone(name, backbone_kwargs, *, pretrained=False):
    """Build a timm network without its head.

    Parameters
    ----------
    name : str
        A name of timm's, with or without a tag of pretrained weights.

    backbone_kwargs : dict
        Keyword arguments of the network, such as ``output_stride`` or ``img_size``.

    pretrained : bool, default=False
        Whether to load the weights that timm knows for the name.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    ValueError
        If timm does not know the name, has no weights for it, or cannot build it with
        these keyword arguments, or if they say something else about `pretrained`.

    ConnectionError
        If pretrained weights are neither in the local cache nor within reach.
    """
    from_hub_or_folder = ":" in name
    if not from_hub_or_folder and not timm.is_model(name):
        raise ValueError(_describe_unknown_name(name))
    if backbone_kwargs.get("pretrained", pretrained) != pretrained:
        raise ValueError(
            f"backbone_kwargs={backbone_kwargs!r} and pretrained={pretrained} "
            f"contradict each other. Leave 'pretrained' out of backbone_kwargs, and "
            f"set pretrained={not pretrained} if you mean that."
        )
    keywords = {**backbone_kwargs, "num_classes": 0, "pretrained": pretrained}
    if pretrained:
        keywords.update(locate_pretrained(name, backbone_kwargs))
    try:
        network = timm.create_model(name, **keywords)
    except Exception as error:
        if pretrained and is_network_error(error):
            raise unreachable_error(name, error) from error
        raise ValueError(
            f"timm could not build backbone={name!r} with "
            f"backbone_kwargs={backbone_kwargs!r}: {error}"
        ) from error
    if any(parameter.ndim == 5 for parameter in network.parameters()):
        return network  # of 3-D convolutions, for which torch has another layout
    # A quarter faster on CPUs for cifar_resnet32, twice as fast for test_resnet.
    return network.to(memory_format=torch.channels_last)


def _describe_unknown_name(name):
    similar = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
    hint = f" Did you mean {', '.join(map(repr, similar))}?" if similar else ""
    return (
        f"backbone={name!r} is not the name of a timm network.{hint} "
        "`timm.list_models('*resnet*')` lists the names that match a pattern; a "
        "torch.nn.Module or a callable returning one works too."
    )
