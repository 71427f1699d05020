# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Class-conditional diffusion of vectors in torch alone; knows nothing of estimators.

Four contracts hold it together:

- a *schedule* says how much signal and noise is left at time t (`NoiseSchedule`);
- a *network* maps (xt, t, labels) to a prediction (`Denoiser` is one);
- `train` fits a network, a generator that hands back the loss of every step;
- a *denoise* callable maps (xt, t, labels) to an estimate of x0, and `sample_ddim`
  turns any such callable into rows. A `GaussianMixture` has one in closed form.
"""

from ldmlr_sklearn.diffusion._ddim import denoised_by, guided, sample_ddim
from ldmlr_sklearn.diffusion._denoiser import Denoiser
from ldmlr_sklearn.diffusion._gaussian_mixture import GaussianMixture
from ldmlr_sklearn.diffusion._schedule import (
    NOISE_SCHEDULES,
    PREDICTION_TYPES,
    NoiseSchedule,
)
from ldmlr_sklearn.diffusion._training import denoising_loss, draw_rows, train

__all__ = [
    "NOISE_SCHEDULES",
    "PREDICTION_TYPES",
    "Denoiser",
    "GaussianMixture",
    "NoiseSchedule",
    "denoised_by",
    "denoising_loss",
    "draw_rows",
    "guided",
    "sample_ddim",
    "train",
]
