# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""How much of its label a generated row should follow, told from the training rows."""

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from sklearn.covariance import OAS
from sklearn.metrics import pairwise_distances_argmin

N_FOLDS = 4
# Enough for a recall to two digits; keeps the cost independent of n.
MAX_ROWS = 10_000


def cross_validated_recall(X, codes, counts, random_state):
    """Estimate how well held-out rows of the rare classes are recognised.

    Linear discriminant analysis with equal class priors and a shrunk pooled
    covariance, cross-validated. The recalls of the classes are averaged with weights
    n_max − n_c, the number of rows that a class lacks.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32
        Standardised rows, sorted by class.
    codes : ndarray of shape (n_samples,)
        Their labels 0, …, K − 1.
    counts : ndarray of shape (n_classes,)
        Number of rows of every class.
    random_state : RandomState instance
        Deals the rows to the folds.

    Returns
    -------
    float
        In [0, 1]; 0.5 where there are too few rows to tell.
    """
    testable = counts > 1
    if len(X) < 2 * N_FOLDS or not testable.any():
        return 0.5
    order = random_state.permutation(len(X))
    order = order[np.argsort(codes[order], kind="stable")]
    rank = np.arange(len(X)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = rank < max(2 * N_FOLDS, MAX_ROWS // len(counts))
    X, codes, fold = X[order[kept]], codes[order[kept]], rank[kept] % N_FOLDS

    hits = np.zeros(len(codes), dtype=bool)
    for k in range(fold.max() + 1):
        train, test = fold != k, fold == k
        hits[test] = _nearest_class(X[train], codes[train], X[test]) == codes[test]
    recall = np.bincount(codes, hits) / np.bincount(codes)
    lacking = np.where(testable, counts.max() - counts, 0)
    if not lacking.any():
        lacking = testable
    return float(np.average(recall, weights=lacking))


def _nearest_class(X, codes, X_new):
    """Return the nearest class mean in the metric of the pooled covariance."""
    classes, starts, codes, counts = np.unique(
        codes, return_index=True, return_inverse=True, return_counts=True
    )
    means = np.add.reduceat(X, starts) / counts[:, None].astype(X.dtype)
    estimate = OAS(store_precision=False, assume_centered=True).fit(X - means[codes])
    covariance = estimate.covariance_
    covariance.flat[:: len(covariance) + 1] += 1e-6  # where classes do not vary at all
    factor = cholesky(covariance, lower=True)
    return classes[
        pairwise_distances_argmin(
            solve_triangular(factor, X_new.T, lower=True).T,
            solve_triangular(factor, means.T, lower=True).T,
        )
    ]


def guidance_from_recall(recall):
    """Return the guidance scale for an expected recall r: 0.35 + 0.75 (1 − r), ≤ 1.

    Rows of rare classes that are recognised nearly always although they were held out
    tell of an encoder that was trained on them. They lie closer together than unseen
    rows of their class will, so their spread must come from the other classes: low
    guidance. Where held-out rows are often mistaken, the rows show the true spread.
    """
    return float(np.clip(0.35 + 0.75 * (1 - recall), 0.35, 1.0))
