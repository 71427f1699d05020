# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Tables and labels of pandas and polars, to arrays and back after resampling."""

import numpy as np
from imblearn.utils._validation import ArraysTransformer


def is_polars(data):
    """Tell whether something is of polars, which need not be installed."""
    return type(data).__module__.partition(".")[0] == "polars"


def check_containers(X, y):
    """Refuse frames without rows as yet, and labels that are missing.

    Raises
    ------
    TypeError
        If `X` or `y` is lazy.
    ValueError
        If a label is missing.
    """
    for data in (X, y):
        if is_polars(data) and hasattr(data, "collect"):
            raise TypeError(
                "Got a polars LazyFrame, expected rows in memory. Call its "
                "`collect()` before."
            )
    labels = np.asarray(y)
    if y is None or labels.dtype.kind not in "Of":
        return
    missing = [i for i, label in enumerate(labels.ravel()) if _is_missing(label)]
    if missing:
        raise ValueError(
            f"y has {len(missing)} missing labels, the first in row {missing[0]}. "
            "Leave out the rows without a label."
        )


def _is_missing(label):
    # pandas.NA is neither equal nor unequal to itself.
    return label is None or type(label).__name__ == "NAType" or label != label


class Containers:
    """What rows and labels came in, to give resampled ones back in.

    Imbalanced-learn knows lists and pandas; this adds polars and `pandas.Categorical`.

    Parameters
    ----------
    X, y : as given to ``fit_resample``
    """

    def __init__(self, X, y):
        self._X, self._y = X, y
        known = (np.empty(0) if is_polars(data) else data for data in (X, y))
        self._arrays = ArraysTransformer(*known)

    def restore(self, X, y):
        """Return arrays, the first rows of which are the given ones, as they came."""
        X, y = self._arrays.transform(X, y)
        if type(self._y).__name__ == "Categorical":
            y = type(self._y)(y, dtype=self._y.dtype)
        return _appended(self._X, X), _appended(self._y, y)


def _appended(given, array):
    """Append to polars data the rows that an array has more."""
    if not is_polars(given):
        return array
    new, polars_type = array[len(given) :], type(given)
    if new.ndim == 1:
        series = polars_type(given.name, new.tolist(), dtype=given.dtype)
        return given.clone().append(series)
    frame = polars_type(new, schema=given.columns, orient="row")
    return given.vstack(frame.cast(given.schema))
