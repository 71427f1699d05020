# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""DDIM: from noise to rows in few steps, for any callable that denoises.

References
----------
.. [1] Song, Meng, Ermon. Denoising diffusion implicit models. ICLR 2021.
.. [2] Ho, Salimans. Classifier-free diffusion guidance. 2022.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ldmlr_sklearn.diffusion._schedule import NoiseSchedule

# (xt (n, d), t (), labels (n,) or (1,)) -> estimate of x0 (n, d)
Denoise = Callable[[Tensor, Tensor, Tensor], Tensor]


def denoised_by(
    network: Callable[[Tensor, Tensor, Tensor], Tensor],
    schedule: NoiseSchedule,
    prediction_type: str,
) -> Denoise:
    """Make a denoise callable of a network and what its output means."""

    def denoise(xt, t, labels):
        prediction = network(xt, t, labels)
        return schedule.denoised(xt, prediction, t, prediction_type)

    return denoise


def guided(denoise: Denoise, scale: float | Tensor, null_label: int) -> Denoise:
    """Mix the estimates with and without the label: D_∅ + w (D_y − D_∅) [2]_.

    Every prediction type is an affine function of the x0 estimate with the same
    coefficients in both terms, so this is guidance of ε and of v as well. `scale` is
    one number or one per row, of shape (n, 1).
    """
    if isinstance(scale, (int, float)) and scale == 1:
        return denoise

    def denoise_guided(xt, t, labels):
        unconditional = denoise(xt, t, labels.new_full((1,), null_label))
        return torch.lerp(unconditional, denoise(xt, t, labels), scale)

    return denoise_guided


@torch.no_grad()
def sample_ddim(
    denoise: Denoise,
    schedule: NoiseSchedule,
    labels: Tensor,
    xt: Tensor,
    *,
    n_steps: int,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw one row per label by the DDIM recursion [1]_.

    Parameters
    ----------
    denoise : callable
        (xt (n, d), t (), labels (n,)) -> estimate of x0 (n, d).
    schedule : NoiseSchedule
        On the device of `xt`.
    labels : Tensor of shape (n,)
        Handed on to `denoise`.
    xt : Tensor of shape (n, d)
        Standard normal noise to start from.
    n_steps : int
        Number of times that `denoise` is called.
    eta : float
        0 is deterministic DDIM, 1 has the variance of ancestral DDPM sampling.
    generator : torch.Generator, optional
        Source of the noise that `eta` > 0 adds.

    Returns
    -------
    Tensor of shape (n, d)
    """
    times = schedule.inference_timesteps(n_steps)
    for t, s in zip(times, [*times[1:], None], strict=True):
        x0 = denoise(xt, torch.tensor(t, device=xt.device), labels)
        if s is None:
            return x0
        signal_t, noise_t = schedule.signal[t], schedule.noise[t]
        signal_s, noise_s = schedule.signal[s], schedule.noise[s]
        noise = (xt - signal_t * x0) / noise_t
        ratio = signal_t / signal_s
        sigma = eta * noise_s / noise_t * (1 - ratio**2).clamp(min=0).sqrt()
        direction = (noise_s**2 - sigma**2).clamp(min=0).sqrt()
        xt = signal_s * x0 + direction * noise
        if eta > 0:
            fresh = torch.empty_like(xt).normal_(generator=generator)
            xt = xt + sigma * fresh
    return xt
