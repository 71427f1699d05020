# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Last layers and their losses, for heads on features and for whole encoders.

A layer maps features (n, d) to logits (n, n_classes). Every loss is the cross-entropy
of these logits, which `logit_adjusted` shifts by τ log π while it trains.

References
----------
.. [1] Menon et al. Long-tail learning via logit adjustment. ICLR 2021.
.. [2] Ren et al. Balanced meta-softmax for long-tailed visual recognition. NeurIPS
   2020.
.. [3] Han. Wrapped Cauchy distributed angular softmax for long-tailed visual
   recognition. ICML 2023.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

LOSSES = ("cross_entropy", "logit_adjusted", "cosine", "wcdas")
# s and g start where all logits are nearly the same; they learn at a rate of their own.
SHAPE_PARAMETERS = ("raw_scale", "raw_concentration")
SHAPE_LEARNING_RATE = 0.2


class CosineLayer(nn.Module):
    """s cos θ_j, θ_j the angle between a row and weight w_j.

    The scale s = softplus(s_) + 1 is learnt and starts at about 16.

    Parameters
    ----------
    n_features, n_classes : int
    """

    START = 15.0  # of s_; softplus leaves it as it is

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.weight = nn.Parameter(
            torch.empty(n_classes, n_features, dtype=torch.float32)
        )
        nn.init.normal_(self.weight, std=1 / math.sqrt(n_features))
        self.raw_scale = nn.Parameter(torch.tensor(self.START, dtype=torch.float32))

    def scale(self):
        return F.softplus(self.raw_scale) + 1

    def angles(self, features):  # (n, d) -> (n, n_classes)
        return F.normalize(features) @ F.normalize(self.weight).T

    def forward(self, features):
        return self.scale() * self.angles(features)


class WCDASLayer(CosineLayer):
    """The wrapped Cauchy distributed angular softmax [3]_.

    Logits s / 2π · (1 − γ_j²) / (1 + γ_j² − 2 γ_j cos θ_j) with γ_j = sigmoid(g_j) and
    s = softplus(s_) + 1.

    Parameters
    ----------
    n_features, n_classes : int

    concentration : float, default=0.0
        Where all g_j start.
    """

    START = 0.0

    def __init__(self, n_features, n_classes, concentration=0.0):
        super().__init__(n_features, n_classes)
        start = torch.full((n_classes,), float(concentration), dtype=torch.float32)
        self.raw_concentration = nn.Parameter(start)

    def gamma(self):
        return torch.sigmoid(self.raw_concentration)

    def forward(self, features):
        gamma = self.gamma()
        density = (1 - gamma**2) / (1 + gamma**2 - 2 * gamma * self.angles(features))
        return self.scale() / (2 * math.pi) * density


def make_layer(loss, n_features, n_classes, concentration=0.0):
    """Make the last layer of a loss.

    Parameters
    ----------
    loss : {"cross_entropy", "logit_adjusted", "cosine", "wcdas"}

    n_features, n_classes : int

    concentration : float, default=0.0
        See `WCDASLayer`.

    Returns
    -------
    torch.nn.Module
        Initialised from torch's global generator, as modules of torch are.
    """
    if loss == "wcdas":
        return WCDASLayer(n_features, n_classes, concentration)
    if loss == "cosine":
        return CosineLayer(n_features, n_classes)
    return nn.Linear(n_features, n_classes, dtype=torch.float32)


def logit_shift(loss, prior, tau=1.0):
    """Return what training adds to the logits: τ log π, or nothing [1]_ [2]_.

    Parameters
    ----------
    loss : {"cross_entropy", "logit_adjusted", "cosine", "wcdas"}

    prior : torch.Tensor of shape (n_classes,)
        π, the class frequencies of the rows. A class whose rows all have weight 0
        counts as one of next to none.

    tau : float, default=1.0

    Returns
    -------
    torch.Tensor of shape (n_classes,)
    """
    if loss != "logit_adjusted":
        return torch.zeros_like(prior)
    return tau * prior.clamp_min(torch.finfo(prior.dtype).tiny).log()
