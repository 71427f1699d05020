# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Rows of several sets: checked together, and near each other."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_array

MAX_SIZE = 1e75  # of a number: the fourth powers of larger ones overflow


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
                f"{name} holds numbers up to {largest:g}, powers of which "
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
    # copy at some 1e-8 instead of 0: centre before it, measure again after it. On the
    # median, which a row far out does not move.
    middle = np.median(X, axis=0)
    neighbors = NearestNeighbors(n_neighbors=n_neighbors).fit(X - middle)
    nearest = neighbors.kneighbors(
        None if queries is None else queries - middle, return_distance=False
    )[:, -1]
    queries = X if queries is None else queries
    return np.linalg.norm(queries - X[nearest], axis=1), nearest


def count_inside(centers, radii, X):
    """How many rows of X lie in each of the closed balls."""
    # Centred as above, and with a margin for the rounding of expanded squares: it shall
    # not decide about rows on the surface of a ball, nor about copies of its centre.
    middle = np.median(centers, axis=0)
    centers, X = centers - middle, X - middle
    size = np.linalg.norm(centers, axis=1) + radii
    with np.errstate(divide="ignore", invalid="ignore"):
        radii = radii + np.fmin(1e-7 * size, 1e-14 * size**2 / radii)
    chunks = pairwise_distances_chunked(
        centers,
        X,
        reduce_func=lambda distances, start: np.sum(
            distances <= radii[start : start + len(distances), None], axis=1
        ),
        working_memory=64,
    )
    return np.concatenate(list(chunks))
