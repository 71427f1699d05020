# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The network: (xt, t, label) -> prediction, a residual MLP.

References
----------
.. [1] Perez et al. FiLM: visual reasoning with a general conditioning layer.
   AAAI 2018.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Width of what time and label say to the blocks. Four times narrower than a block
# is wide, so that the modulation is not most of the arithmetic.
CONDITION_DIM = 64


class _BareLinear(nn.Linear):
    """A linear layer that leaves its weights to whoever makes it.

    `torch.nn.utils.skip_init` does the same by loading sympy: 1.7 s.
    """

    def reset_parameters(self):
        pass


def _linear(
    n_in: int, n_out: int, generator: torch.Generator, gain: float = 1.0
) -> nn.Linear:
    layer = _BareLinear(n_in, n_out)
    bound = gain * math.sqrt(3 / n_in)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


class _Block(nn.Module):
    """h + W₂ silu(W₁ h · (1 + scale(c)) + shift(c)) for a condition c.

    Row i of h goes with condition i, or with condition `rows[i]` where given.
    """

    def __init__(self, hidden_dim: int, generator: torch.Generator):
        super().__init__()
        self.expand = _linear(hidden_dim, hidden_dim, generator)
        self.scale = _linear(CONDITION_DIM, hidden_dim, generator, gain=0.0)
        self.shift = _linear(CONDITION_DIM, hidden_dim, generator)
        self.contract = _linear(hidden_dim, hidden_dim, generator, gain=0.0)

    def forward(self, h: Tensor, condition: Tensor, rows: Tensor | None) -> Tensor:
        scale, shift = 1 + self.scale(condition), self.shift(condition)
        if rows is not None:
            scale, shift = scale[rows], shift[rows]
        inner = torch.addcmul(shift, self.expand(h), scale)  # (n, H)
        return h + self.contract(F.silu(inner))


class Denoiser(nn.Module):
    """Residual MLP whose blocks are scaled and shifted by time and label [1]_.

    Parameters
    ----------
    n_features : int
        Width d of the rows.
    n_classes : int
        Labels are 0, …, n_classes − 1; the label `null_label` = n_classes means
        "any class".
    n_timesteps : int
        Length T of the schedule; times are 0, …, T − 1.
    hidden_dim, n_blocks : int
        Width and number of the residual blocks.
    generator : torch.Generator
        Draws the initial weights; no global generator is touched.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        n_timesteps: int,
        *,
        hidden_dim: int,
        n_blocks: int,
        generator: torch.Generator,
    ):
        super().__init__()
        self.null_label = n_classes
        self.n_timesteps = n_timesteps
        self.inlet = _linear(n_features, hidden_dim, generator)
        self.time = _linear(CONDITION_DIM, CONDITION_DIM, generator)
        labels = torch.empty(n_classes + 1, CONDITION_DIM)
        nn.init.normal_(labels, generator=generator)
        self.label = nn.Embedding.from_pretrained(labels, freeze=False)
        self.blocks = nn.ModuleList(
            _Block(hidden_dim, generator) for _ in range(n_blocks)
        )
        self.outlet = _linear(hidden_dim, n_features, generator, gain=0.0)

    def condition(self, t: Tensor, labels: Tensor) -> Tensor:
        """Return what the blocks learn of time (n,) or () and label (n,): (n, C)."""
        half = CONDITION_DIM // 2
        octaves = torch.linspace(0, 1, half, device=labels.device)
        frequency = torch.exp(octaves * math.log(1000.0))
        angle = (t / self.n_timesteps).unsqueeze(-1) * frequency  # (n, C / 2)
        wave = torch.cat([angle.sin(), angle.cos()], dim=-1)  # (n, C)
        # Angles need float32 whatever the weights are.
        return F.silu(self.time(wave.to(self.time.weight.dtype)) + self.label(labels))

    def forward(self, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Map rows (n, d), times and labels to a prediction (n, d).

        Times are (n,) or (), labels (n,) or (1,). One time for all rows is much
        cheaper: what the blocks learn is then computed per label, not per row.
        """
        rows = None
        if t.ndim == 0 and len(labels) > self.null_label + 1:
            rows, labels = labels, torch.arange(self.null_label + 1, device=t.device)
        condition = self.condition(t, labels)  # (n, K + 1 or 1; C)
        h = self.inlet(xt.to(self.inlet.weight.dtype))  # (n, H)
        for block in self.blocks:
            h = block(h, condition, rows)
        return self.outlet(F.layer_norm(h, h.shape[-1:])).to(xt.dtype)
