# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Rows of several sets: checked together, and near each other."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_array

MAX_SIZE = 1e150  # of a number: squares of larger ones overflow


def check_rows(**arrays: ArrayLike) -> list[np.ndarray]:
    """Check arrays given by their names and return them as float64."""
    checked = [
        check_array(rows, dtype=np.float64, allow_nd=True, input_name=name)
        for name, rows in arrays.items()
    ]
    for name, rows in zip(arrays, checked, strict=True):
        if rows.ndim > 2:
            raise ValueError(
                f"{name} must be of shape (n_samples, n_features). Got shape "
                f"{rows.shape}: encode images first, with FeatureEncoder."
            )
        largest = np.abs(rows).max(initial=0)
        if largest > MAX_SIZE:
            raise ValueError(
                f"{name} holds numbers up to {largest:g}, the squares of which "
                "overflow. Bring the rows to another scale, as StandardScaler does."
            )
    if len({rows.shape[1] for rows in checked}) > 1:
        found = ", ".join(
            f"{name} has {rows.shape[1]}"
            for name, rows in zip(arrays, checked, strict=True)
        )
        raise ValueError(
            f"All rows must have the same columns, but {found}: pass rows of one "
            "feature space, in which those that were generated are too."
        )
    return checked


def nearest_row(X, queries=None, *, n_neighbors=1):
    """Distance to the k-th nearest row of X and its index; X itself: to other rows."""
    # The search expands squares, which loses digits far from the origin and finds a
    # copy at some 1e-8 instead of 0: centre before it, measure again after it.
    mean = X.mean(axis=0)
    neighbors = NearestNeighbors(n_neighbors=n_neighbors).fit(X - mean)
    nearest = neighbors.kneighbors(
        None if queries is None else queries - mean, return_distance=False
    )[:, -1]
    queries = X if queries is None else queries
    return np.linalg.norm(queries - X[nearest], axis=1), nearest


def count_inside(centers, radii, X):
    """How many rows of X lie in each of the closed balls."""
    # Centred as above, and with a margin for rounding: it shall not decide about rows
    # on the surface of a ball.
    mean = centers.mean(axis=0)
    centers, X = centers - mean, X - mean
    radii = radii + 1e-7 * np.linalg.norm(centers, axis=1).max()
    chunks = pairwise_distances_chunked(
        centers,
        X,
        reduce_func=lambda distances, start: np.sum(
            distances <= radii[start : start + len(distances), None], axis=1
        ),
        working_memory=64,
    )
    return np.concatenate(list(chunks))
