# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Rows of classes to Gaussian classes with one covariance.

References
----------
.. [1] Chen, Wiesel, Eldar, Hero. Shrinkage algorithms for MMSE covariance estimation.
   IEEE transactions on signal processing 2010.
.. [2] Efron, Morris. Stein's estimation rule and its competitors. JASA 1973.
"""

import numpy as np
from sklearn.covariance import oas
from sklearn.utils.extmath import randomized_svd

from ldmlr_sklearn._class_posterior import rows_of_every_class
from ldmlr_sklearn._torch_utils import to_tensor
from ldmlr_sklearn.diffusion import GaussianMixture

# Enough for a covariance of a few hundred columns; keeps the cost independent of n.
MAX_ROWS = 10_000
# Axes with variances of their own, so that wide rows cost no more than in the network.
MAX_AXES = 128
# Of the variance of all rows. Columns that do not vary within classes have this much.
MIN_VARIANCE = 1e-3


def class_gaussians(X, codes, random_state, *, class_sampling, sample_weight=None):
    """Estimate the mean of every class and the covariance that they share.

    The covariance is shrunk towards a multiple of the identity [1]_, the means of
    classes towards their centre, the further the fewer rows they have [2]_.

    Parameters
    ----------
    X, codes, random_state, sample_weight
        As `ClassPosterior` takes them.
    class_sampling : float
        A class of n_c rows has a prior probability ∝ n_c to this power.

    Returns
    -------
    GaussianMixture
    """
    log_prior = class_sampling * np.log(np.bincount(codes))
    used = rows_of_every_class(np.bincount(codes), MAX_ROWS, random_state)
    X, codes = X[used], codes[used]
    n, (n_rows, n_features) = np.bincount(codes), X.shape
    weights = np.ones(n_rows) if sample_weight is None else sample_weight[used]
    weights = weights * (n / np.bincount(codes, weights))[codes]  # 1 on average

    starts = np.cumsum(n) - n
    weighted = X * weights.astype(X.dtype)[:, None]
    means = np.add.reduceat(weighted, starts) / n[:, None].astype(X.dtype)
    unbiased = weights * n_rows / max(1, n_rows - len(n))
    residuals = (X - means[codes]) * np.sqrt(unbiased).astype(X.dtype)[:, None]
    _, lengths, axes = randomized_svd(
        residuals,
        min(n_rows, n_features, MAX_AXES),
        n_iter=2,
        random_state=random_state,
    )
    _, shrinkage = oas(residuals, assume_centered=True)
    within = float(np.mean(residuals**2, dtype=np.float64))
    variances = (1 - shrinkage) * lengths**2 / n_rows + shrinkage * within
    beside = n_features - len(variances)
    rest = (n_features * within - variances.sum()) / max(1, beside)

    between = means.var(axis=0, ddof=1).mean() - within * (1 / n).mean()
    kept = between / (between + within / n) if between > 0 else np.zeros(len(n))
    centre = means.mean(axis=0)
    means = centre + kept[:, None] * (means - centre)
    # Row by row in memory, as when it is read back: products end in the same digits.
    axes = np.ascontiguousarray(axes.T)
    parts = means, axes, np.maximum(variances, MIN_VARIANCE)
    parts += max(rest, MIN_VARIANCE), log_prior
    return GaussianMixture(*(to_tensor(part) for part in parts))
