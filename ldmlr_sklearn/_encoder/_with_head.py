# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""A backbone and the head that it is trained with."""

import numpy as np
from torch import nn

from ldmlr_sklearn._encoder._features import extract_features
from ldmlr_sklearn._losses import logit_shift, make_layer
from ldmlr_sklearn._torch_utils import to_tensor


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
        self.loss = loss
        self.head = make_layer(loss, n_features, n_classes)

    def forward(self, images):  # (n, c, h, w) -> (n, n_classes)
        return self.head(extract_features(self.backbone, images))

    def linear_head(self, targets, weights):
        """Return weight and bias at the frequencies of the classes, or None."""
        if not isinstance(self.head, nn.Linear):
            return None
        shift = logit_shift(self.loss, class_frequencies(targets, weights))
        return self.head.weight, self.head.bias + shift


def class_frequencies(targets, weights):
    """Return the share of each class as a tensor (n_classes,).

    Parameters
    ----------
    targets : ndarray of int of shape (n,)

    weights : ndarray of shape (n,) or None
        None: all rows count alike.
    """
    seen = np.bincount(targets, weights)
    return to_tensor(seen / seen.sum())
