# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Two over-samplers that draw from Gaussians: what diffusion has to beat.

Both borrow spread from other classes, as low guidance does, but in closed form. Columns
are standardised before and restored after, so that units do not matter.
"""

import numpy as np
from imblearn.over_sampling.base import BaseOverSampler
from scipy.spatial.distance import cdist
from sklearn.covariance import ledoit_wolf
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state


def factor_of(covariance):
    """Return F with F Fᵀ = covariance, which may be singular."""
    variances, directions = np.linalg.eigh(covariance)
    return directions * np.sqrt(np.maximum(variances, 0))


class _GaussianSampler(BaseOverSampler):
    """What both have in common: standardise, draw class by class, undo, append."""

    def __init__(self, *, sampling_strategy="auto", random_state=None):
        super().__init__(sampling_strategy=sampling_strategy)
        self.random_state = random_state

    def _fit_resample(self, X, y):
        random_state = check_random_state(self.random_state)
        scaler = StandardScaler().fit(X)
        Z = scaler.transform(X).astype(np.float64)
        self._fit_gaussians(Z, y)
        rows, labels = [X], [y]
        for label, n_new in self.sampling_strategy_.items():
            if n_new > 0:
                new = self._draw(Z[y == label], label, n_new, random_state)
                rows.append(scaler.inverse_transform(new).astype(X.dtype))
                labels.append(np.full(n_new, label, dtype=y.dtype))
        return np.concatenate(rows), np.concatenate(labels)


class PooledGaussianSampler(_GaussianSampler):
    """Draw from N(class mean, pooled within-class covariance).

    The covariance is shrunk by Ledoit and Wolf's rule: linear discriminant analysis
    read as a generator.
    """

    def _fit_gaussians(self, Z, y):
        codes = np.unique(y, return_inverse=True)[1]
        means = np.stack([Z[codes == code].mean(axis=0) for code in np.unique(codes)])
        self.covariance_, _ = ledoit_wolf(Z - means[codes], assume_centered=True)

    def _draw(self, own, label, n_new, random_state):
        noise = random_state.standard_normal((n_new, own.shape[1]))
        return own.mean(axis=0) + noise @ factor_of(self.covariance_).T


class CalibratedGaussianSampler(_GaussianSampler):
    """Draw from N((Σ_k μ_k + x) / (k + 1), mean of Σ_k + α) for each row x of a class.

    The sums run over the `n_neighbors` classes whose means are nearest to x: the
    distribution calibration of Yang et al. as Vigneswaran et al. apply it to long
    tails (TailCalib). As in the code that the latter published, the class of x may be
    among its neighbours, every row is used equally often, and α = 0; k = 2 is the
    former's, since the one nearest class is nearly always that of x, which lends
    nothing. A class of one row has no covariance to lend. Tukey's power transform,
    which both put before, needs features without negative values and is left out.

    References
    ----------
    .. [1] S. Yang, L. Liu, M. Xu. "Free lunch for few-shot learning: distribution
       calibration". ICLR 2021.
    .. [2] R. Vigneswaran, M. T. Law, V. N. Balasubramanian, M. Tapaswi. "Feature
       generation for long-tail classification". ICVGIP 2021.
    """

    def __init__(
        self, *, n_neighbors=2, alpha=0.0, sampling_strategy="auto", random_state=None
    ):
        super().__init__(sampling_strategy=sampling_strategy, random_state=random_state)
        self.n_neighbors = n_neighbors
        self.alpha = alpha

    def _fit_gaussians(self, Z, y):
        classes, counts = np.unique(y, return_counts=True)
        lenders = [Z[y == label] for label in classes[counts > 1]]
        if not lenders:
            raise ValueError("No class has two rows, which a covariance takes.")
        self.means_ = np.stack([rows.mean(axis=0) for rows in lenders])  # (L, d)
        self.factors_ = [factor_of(np.atleast_2d(np.cov(rows.T))) for rows in lenders]

    def _draw(self, own, label, n_new, random_state):
        x = own[np.resize(random_state.permutation(len(own)), n_new)]  # (m, d)
        k = min(self.n_neighbors, len(self.means_))
        nearest = np.argsort(cdist(x, self.means_), axis=1, kind="stable")[:, :k]
        # The sum of draws from every N(0, Σ_k / k) has the mean of Σ_k, and what all
        # columns share adds α to every entry, as its authors do.
        new = (self.means_[nearest].sum(axis=1) + x) / (k + 1)
        new += np.sqrt(self.alpha) * random_state.standard_normal((n_new, 1))
        for lender in np.unique(nearest):
            rows = np.flatnonzero(np.any(nearest == lender, axis=1))
            noise = random_state.standard_normal((len(rows), x.shape[1]))
            new[rows] += noise @ self.factors_[lender].T / np.sqrt(k)
        return new
