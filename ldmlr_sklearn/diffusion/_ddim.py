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


def guided(estimate: Denoise, scale: float | Tensor, null_label: int) -> Denoise:
    """Mix the estimates with and without the label: D_∅ + w (D_y − D_∅) [2]_.

    They may be a network's predictions as well as estimates of x0: ε and v are affine
    functions of x0 with the same coefficients in both terms. `scale` is one number or
    one per row, of shape (n, 1).
    """
    if isinstance(scale, (int, float)) and scale == 1:
        return estimate

    def mixed(xt, t, labels):
        unconditional = estimate(xt, t, labels.new_full((1,), null_label))
        return torch.lerp(unconditional, estimate(xt, t, labels), scale)

    return mixed


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
    labels : Tensor of shape (n,) or (1,)
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
    signal, noise = schedule.signal[times].cpu(), schedule.noise[times].cpu()
    ratio = signal[:-1] / signal[1:]
    sigma = eta * noise[1:] / noise[:-1] * (1 - ratio**2).clamp(min=0).sqrt()
    direction = (noise[1:] ** 2 - sigma**2).clamp(min=0).sqrt()
    # ε = (xt − signal_t x0) / noise_t, put into the next row: two passes over it.
    of_xt = direction / noise[:-1]
    of_x0 = signal[1:] - of_xt * signal[:-1]
    steps = zip(times[:-1], of_xt.tolist(), of_x0.tolist(), sigma.tolist(), strict=True)
    for t, keep, add, renew in steps:
        x0 = denoise(xt, torch.tensor(t, device=xt.device), labels)
        xt = (keep * xt).add_(x0, alpha=add)
        if eta > 0:
            fresh = torch.empty_like(xt).normal_(generator=generator)
            xt.add_(fresh, alpha=renew)
    return denoise(xt, torch.tensor(times[-1], device=xt.device), labels)
