# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The parameters of the over-sampler: those of training, and those of drawing alone."""

from typing import NamedTuple

import numpy as np

from ldmlr_sklearn.diffusion import Denoiser

# With more rows than this, half as many steps of twice the rows train as well, and
# faster: larger products cost less a row. With fewer rows each step counts.
MANY_ROWS = 5_000
# Rows shown in training at most, however many there are.
MAX_SHOWN = 1000 * 512


class TrainingParameters(NamedTuple):
    """The parameters that training depends on."""

    n_train_timesteps: int
    noise_schedule: str
    prediction_type: str
    hidden_dim: int
    n_blocks: int
    max_steps: int | str
    batch_size: int | str
    learning_rate: float | str
    ema_decay: float
    class_sampling: float
    label_dropout: float

    def resolved(self, n_rows):
        """Return them with numbers in place of "auto"."""
        batch_size, n_steps = self.batch_size, self.max_steps
        if batch_size == "auto":
            batch_size = 1024 if n_rows > MANY_ROWS else 512
        batch_size = min(batch_size, n_rows)
        if n_steps == "auto":
            most = min(1000, max(300, MAX_SHOWN // batch_size))
            n_steps = int(np.clip(100 * n_rows // batch_size, 300, most))
        rate = self.learning_rate
        if rate == "auto":
            rate = 8e-3 * np.sqrt(min(batch_size, 512) / 512).item()
        return self._replace(
            max_steps=n_steps, batch_size=batch_size, learning_rate=rate
        )

    def network(self, n_features, n_classes, generator):
        """Make the network, with initial weights."""
        return Denoiser(
            n_features,
            n_classes,
            self.n_train_timesteps,
            hidden_dim=self.hidden_dim,
            n_blocks=self.n_blocks,
            generator=generator,
        )


class SamplingParameters(NamedTuple):
    """The parameters that act on drawing rows alone."""

    guidance_scale: float | str
    gaussian_share: float
    n_candidates: int
    n_inference_steps: int
    eta: float
