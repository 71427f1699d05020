# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Where rows of a class lie beside those that the encoder was trained on."""

import numpy as np
from scipy.optimize import nnls
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.preprocessing import StandardScaler


def class_means(X, y):
    return np.stack([X[y == label].mean(axis=0) for label in np.unique(y)])


def moves(means, new_means):
    """Tell how far the mean of each class has moved towards those of all others.

    Non-negative a of least squares in new_c − μ_c ≈ Σ_k a_ck (μ_k − μ_c): row c sums
    to 0 where the class has stayed, to 1 where it has left for others. Returns a, of
    shape (K, K).
    """
    found = np.zeros((len(means), len(means)))
    for c, mean in enumerate(means):
        found[c], _ = nnls((means - mean).T, new_means[c] - mean)
    return found


def plane_of(means):
    """Return orthonormal axes (r, d) of the plane that class means (K, d) lie in."""
    _, lengths, axes = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    return axes[lengths > 1e-6 * lengths[0]]


def share_in_plane(means, moved):
    """Return the share of the squared length of rows within the plane of the means."""
    length = np.sum(moved**2)
    inside = np.sum((moved @ plane_of(means).T) ** 2)
    return float(inside / length) if length > 0 else 0.0


def ceilings(X, y, X_unseen, y_unseen, make_head):
    """Balanced accuracy in % of heads that learn from unseen rows, by five folds.

    Every class has as many rows as the smallest. `make_head` is a callable, number of
    rows -> classifier. Returns the accuracy in all columns, and within the plane that
    the class means of the training rows X, y lie in.
    """
    scaler = StandardScaler().fit(X)
    axes = plane_of(class_means(scaler.transform(X), y))
    n_rows = np.bincount(y_unseen).min()
    kept = np.concatenate(
        [np.flatnonzero(y_unseen == label)[:n_rows] for label in np.unique(y)]
    )
    rows, labels = scaler.transform(X_unseen[kept]), y_unseen[kept]
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    head = make_head(len(labels) * 4 // 5)
    return [
        100 * float(cross_val_score(head, part, labels, cv=folds).mean())
        for part in (rows, rows @ axes.T)
    ]


def spread(X, y):
    """Return the summed variances of the columns within each class."""
    return np.array([X[y == label].var(axis=0).sum() for label in np.unique(y)])


def correlation(first, second):
    """Return the correlation of two vectors, 0 where one of them is constant."""
    first, second = first - first.mean(), second - second.mean()
    length = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / length) if length > 0 else 0.0


def describe(X, y, others):
    """Describe other rows of the rarest third of the classes.

    Parameters
    ----------
    X, y : ndarray of shape (n_samples, n_features), (n_samples,)
        Training rows.
    others : dict of str to tuple
        Name -> rows and labels of the same classes; "unseen" are those to agree with.

    Returns
    -------
    dict of str to dict
        Name -> "in plane", the share of the way that class means have moved within the
        plane of those of the training rows; "moved", how far towards other classes;
        "spread" over that of the training rows; and "agreement", the correlation of the
        moves of all classes with those of unseen rows.
    """
    scaler = StandardScaler().fit(X)
    X, counts = scaler.transform(X), np.bincount(y)
    others = {
        name: (scaler.transform(rows), own) for name, (rows, own) in others.items()
    }
    rare = np.argsort(counts, kind="stable")[: -(-len(counts) // 3)]
    means, before = class_means(X, y), spread(X, y)
    pairs = ~np.eye(len(counts), dtype=bool)
    new_means = {name: class_means(*rows) for name, rows in others.items()}
    found = {name: moves(means, new) for name, new in new_means.items()}
    return {
        name: {
            "in plane": share_in_plane(means, (new_means[name] - means)[rare]),
            "moved": float(found[name][rare].sum(axis=1).mean()),
            "spread": float((spread(*rows) / before)[rare].mean()),
            "agreement": correlation(found[name][pairs], found["unseen"][pairs]),
        }
        for name, rows in others.items()
    }
