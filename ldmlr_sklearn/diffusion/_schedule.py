# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""How much signal and noise is left at time t, and what follows from it.

xt = √ᾱ_t x0 + √(1 − ᾱ_t) ε. A network may predict ε, x0 ("sample") or
v = √ᾱ_t ε − √(1 − ᾱ_t) x0 [2]_; this module is the only place that tells them apart.

References
----------
.. [1] Nichol, Dhariwal. Improved denoising diffusion probabilistic models. 2021.
.. [2] Salimans, Ho. Progressive distillation for fast sampling. 2022.
"""

import math

import torch
from torch import Tensor

PREDICTION_TYPES = ("v_prediction", "epsilon", "sample")


def _linear_betas(n_timesteps: int) -> Tensor:
    # Scaled so that ᾱ_T is the same small number whatever T is.
    scale = 1000 / n_timesteps
    betas = torch.linspace(1e-4, 0.02, n_timesteps, dtype=torch.float64) * scale
    return betas.clamp(max=0.999)


def _cosine_betas(n_timesteps: int) -> Tensor:
    t = torch.arange(n_timesteps + 1, dtype=torch.float64) / n_timesteps
    alphas_cumprod = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - alphas_cumprod[1:] / alphas_cumprod[:-1]).clamp(max=0.999)


_BETAS = {"cosine": _cosine_betas, "linear": _linear_betas}
NOISE_SCHEDULES = tuple(_BETAS)


class NoiseSchedule:
    """Signal and noise rates on a grid of times 0, …, T − 1.

    Parameters
    ----------
    alphas_cumprod : Tensor of shape (T,)
        ᾱ_t, falling, in (0, 1).

    Attributes
    ----------
    signal, noise : Tensor of shape (T,)
        √ᾱ_t and √(1 − ᾱ_t), float32.
    """

    def __init__(self, alphas_cumprod: Tensor):
        alphas_cumprod = alphas_cumprod.to("cpu", torch.float64)
        self.signal = alphas_cumprod.sqrt().float()  # (T,)
        self.noise = (1 - alphas_cumprod).sqrt().float()  # (T,)

    @classmethod
    def from_name(cls, name: str, n_timesteps: int) -> "NoiseSchedule":
        """Make the schedule called "cosine" [1]_ or "linear"."""
        return cls(torch.cumprod(1 - _BETAS[name](n_timesteps), dim=0))

    def __len__(self) -> int:
        return len(self.signal)

    def to(self, device: torch.device) -> "NoiseSchedule":
        """Return the same schedule with its rates on another device."""
        moved = object.__new__(NoiseSchedule)
        moved.signal, moved.noise = self.signal.to(device), self.noise.to(device)
        return moved

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return √ᾱ_t and √(1 − ᾱ_t) as columns that broadcast over features."""
        return self.signal[t].unsqueeze(-1), self.noise[t].unsqueeze(-1)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return xt (n, d) for clean rows, noise (n, d) and times (n,)."""
        signal_rate, noise_rate = self.rates(t)
        return signal_rate * x0 + noise_rate * noise

    def target(
        self, x0: Tensor, noise: Tensor, t: Tensor, prediction_type: str
    ) -> Tensor:
        """Return what a network of this kind should predict, (n, d)."""
        if prediction_type == "epsilon":
            return noise
        if prediction_type == "sample":
            return x0
        signal_rate, noise_rate = self.rates(t)
        return signal_rate * noise - noise_rate * x0

    def denoised(
        self, xt: Tensor, prediction: Tensor, t: Tensor, prediction_type: str
    ) -> Tensor:
        """Return the estimate of x0 (n, d) that a prediction stands for."""
        if prediction_type == "sample":
            return prediction
        signal_rate, noise_rate = self.rates(t)
        if prediction_type == "epsilon":
            return (xt - noise_rate * prediction) / signal_rate
        return signal_rate * xt - noise_rate * prediction

    def inference_timesteps(self, n_steps: int) -> list[int]:
        """Return at most n_steps falling times, evenly spaced, from T − 1 on."""
        times = torch.arange(1, n_steps + 1, dtype=torch.float64) * len(self) / n_steps
        times = (times.round().long() - 1).clamp(min=0)
        return times.unique().tolist()[::-1]
