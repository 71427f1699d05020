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
    n_in: int,
    n_out: int,
    generator: torch.Generator,
    gain: float = 1.0,
    bias: bool = True,
) -> nn.Linear:
    layer = _BareLinear(n_in, n_out, bias, dtype=torch.float32)
    bound = gain * math.sqrt(3 / n_in)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class _Block(nn.Module):
    """h + W₂ silu(W₁ h · scale + shift).

    Biases beside W₁ and W₂ would add nothing: the shifts of this block and of the next
    ones, and the inlet's bias, say as much.
    """

    def __init__(self, hidden_dim: int, generator: torch.Generator):
        super().__init__()
        self.expand = _linear(hidden_dim, hidden_dim, generator, bias=False)
        self.contract = _linear(hidden_dim, hidden_dim, generator, 0.0, bias=False)

    def forward(self, h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        if len(scale) > 1 or torch.is_grad_enabled():
            # Not addcmul: its gradients are multiplied by 1, in passes of their own.
            inner = self.expand(h) * scale + shift  # (n, H)
            return h + self.contract(F.silu(inner))
        # One scale for all rows goes into W₁, and nothing is kept for gradients: beside
        # the two products only two passes over the rows are left, and h is overwritten.
        inner = F.linear(h, self.expand.weight * scale.T).add_(shift)
        return h.addmm_(F.silu(inner, inplace=True), self.contract.weight.T)


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

    waves: Tensor

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
        self.register_buffer("waves", _waves(n_timesteps), persistent=False)
        self.time = _linear(CONDITION_DIM, CONDITION_DIM, generator)
        labels = torch.empty(n_classes + 1, CONDITION_DIM, dtype=torch.float32)
        nn.init.normal_(labels, generator=generator)
        self.label = nn.Embedding.from_pretrained(labels, freeze=False)
        # Scales and shifts of all blocks, in one product.
        self.modulation = _linear(CONDITION_DIM, 2 * n_blocks * hidden_dim, generator)
        nn.init.zeros_(self.modulation.weight[: n_blocks * hidden_dim])
        nn.init.ones_(self.modulation.bias[: n_blocks * hidden_dim])
        self.blocks = nn.ModuleList(
            _Block(hidden_dim, generator) for _ in range(n_blocks)
        )
        self.outlet = _linear(hidden_dim, n_features, generator, gain=0.0)

    def forward(self, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Map rows (n, d), times and labels to a prediction (n, d).

        Times are (n,) or (), labels (n,) or (1,). One time for all rows is much
        cheaper: what the blocks are told is then computed per label, not per row. One
        label as well is cheapest, where no gradients are wanted.
        """
        rows = None
        if t.ndim == 0 and len(labels) > self.null_label + 1:
            rows, labels = labels, torch.arange(self.null_label + 1, device=t.device)
        condition = F.silu(self.time(self.waves[t]) + self.label(labels))
        parts = self.modulation(condition).split(self.outlet.in_features, dim=-1)
        h = self.inlet(xt.to(self.inlet.weight.dtype))  # (n, H)
        for i, block in enumerate(self.blocks):
            scale, shift = parts[i], parts[i + len(self.blocks)]  # (n, K + 1 or 1; H)
            if rows is not None:
                scale, shift = scale[rows], shift[rows]
            h = block(h, scale, shift)
        return self.outlet(F.layer_norm(h, h.shape[-1:])).to(xt.dtype)


def _waves(n_timesteps: int) -> Tensor:
    """Return sines and cosines of falling lengths for every time, (T, C)."""
    n_waves = CONDITION_DIM // 2
    octaves = torch.linspace(0, math.log(1000.0), n_waves, dtype=torch.float32)
    times = torch.arange(n_timesteps, dtype=torch.float32)[:, None]
    angle = times / n_timesteps * octaves.exp()
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
