# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The denoiser of Gaussian classes, in closed form.

References
----------
.. [1] Efron. Tweedie's formula and selection bias. JASA 2011 (the mean of clean rows
   given noisy ones).
.. [2] Tipping, Bishop. Probabilistic principal component analysis. JRSS B 1999 (a
   covariance of few axes, and one variance beside them).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ldmlr_sklearn.diffusion._ddim import Denoise
from ldmlr_sklearn.diffusion._schedule import NoiseSchedule


class GaussianMixture:
    """K Gaussian classes that share the covariance U diag(λ − ρ) Uᵀ + ρ I [2]_.

    Parameters
    ----------
    means : Tensor of shape (K, d)
    axes : Tensor of shape (d, r)
        U, orthonormal columns.
    variances : Tensor of shape (r,)
        λ, along the axes.
    rest : Tensor of shape ()
        ρ, in all other directions; it does not count where r = d.
    log_prior : Tensor of shape (K,)
        Logarithms of the class probabilities, up to a constant.
    """

    def __init__(
        self,
        means: Tensor,
        axes: Tensor,
        variances: Tensor,
        rest: Tensor,
        log_prior: Tensor,
    ):
        self.means, self.axes, self.log_prior = means, axes, log_prior
        self.variances, self.rest = variances, rest

    def to(self, device: torch.device) -> "GaussianMixture":
        """Return the same mixture on another device."""
        return GaussianMixture(**{n: part.to(device) for n, part in vars(self).items()})

    def denoised_by(self, schedule: NoiseSchedule, scale: float) -> Denoise:
        """Make a denoise callable, guided: D_∅ + w (D_y − D_∅).

        D_y is the mean of x0 given xt within the class [1]_, D_∅ that over all
        classes, each as probable as xt makes it. Only their means differ, so that both
        take one pass. Times are of shape ().
        """

        def denoise(xt, t, labels):
            signal, noise = schedule.signal[t], schedule.noise[t]
            shrink, whiten = self._operators(signal, noise)
            offsets = self.means - signal * shrink(self.means)  # (K, d)
            moved = scale * offsets[labels]
            if scale != 1:
                directions = signal * whiten(self.means)
                bias = self.log_prior - (directions * self.means).sum(1) * signal / 2
                posterior = torch.addmm(bias, xt, directions.T).softmax(1)
                moved = torch.addmm(moved, posterior, offsets, alpha=1 - scale)
            return shrink(xt).add_(moved)

        return denoise

    def _operators(self, signal, noise):
        """Return what maps rows to E[x0 | xt] − E[x0] and to the inverse covariance.

        Both of centred rows xt, whose covariance is signal² Σ + noise² I.
        """
        along = 1 / (signal**2 * self.variances + noise**2)
        beside = 1 / (signal**2 * self.rest + noise**2)
        shrink = self._spectral(
            signal * self.variances * along, signal * self.rest * beside
        )
        return shrink, self._spectral(along, beside)

    def _spectral(self, along: Tensor, beside: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the map x -> (U diag(along − beside) Uᵀ + beside I) x of rows."""
        if self.axes.shape[0] == self.axes.shape[1]:
            full = (self.axes * along) @ self.axes.T
            return lambda rows: rows @ full

        def apply(rows):
            inner = (rows @ self.axes) * (along - beside)
            return torch.addmm(beside * rows, inner, self.axes.T)

        return apply
