# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Tables and labels of pandas and polars, to arrays and back after resampling."""

import numpy as np
from imblearn.utils._validation import ArraysTransformer


def is_polars(data):
    """Tell whether something is of polars, which need not be installed."""
    return type(data).__module__.partition(".")[0] == "polars"


def check_containers(X, y):
    """Refuse frames without rows as yet, and rows of text or dates.

    Raises
    ------
    TypeError
        If `X` or `y` is lazy.
    ValueError
        As `check_numbers`.
    """
    for data in (X, y):
        if is_polars(data) and hasattr(data, "collect"):
            raise TypeError(
                "Got a polars LazyFrame, expected rows in memory. Call its "
                "`collect()` before."
            )
    check_numbers(X)


def check_numbers(X):
    """Refuse rows that cannot be numbers.

    Raises
    ------
    ValueError
        If a column of a frame holds text or categories, or any `X` holds dates.
    """
    text = [name for name, column in _columns_of(X) if _holds_text(column)]
    if text:
        raise ValueError(
            f"The columns {text[:5]} of X hold text or categories, expected numbers. "
            "Encode them first, with OneHotEncoder for example, or leave them out."
        )
    dates = [name for name, column in _columns_of(X) if _holds_dates(column)]
    if dates or getattr(X, "dtype", np.dtype(float)).kind in "mM":
        which = f"The columns {dates[:5]} of X hold" if dates else "X holds"
        raise ValueError(
            f"{which} dates or durations, expected numbers. Put numbers in their "
            "place, such as the days since the first one, or leave them out."
        )


def _columns_of(X):
    """Return names and columns of a frame; nothing for anything else."""
    if is_polars(X):
        return zip(X.columns, X.iter_columns(), strict=True)
    return X.items() if hasattr(X, "iloc") else ()


def _holds_text(column):
    """Tell whether a column of a frame has an element that is text."""
    values = np.asarray(column)
    return values.dtype.kind in "US" or (
        values.dtype.kind == "O" and any(isinstance(v, str | bytes) for v in values)
    )


def _holds_dates(column):
    """Tell whether a column of a frame has an element that is a date or a duration."""
    values = np.asarray(column)
    return values.dtype.kind in "mM" or (
        values.dtype.kind == "O"
        and any(hasattr(v, "day") or hasattr(v, "days") for v in values)
    )


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
        if hasattr(X, "iloc"):
            import pandas as pd

            # One array of all columns does not hold every large whole number.
            new = X.iloc[len(self._X) :]
            X = pd.concat([self._X.set_axis(X.index[: len(self._X)]), new])
        return _appended(self._X, X), _appended(self._y, y)


def _appended(given, array):
    """Append to polars data the rows that an array has more."""
    if not is_polars(given):
        return array
    new, polars_type = array[len(given) :], type(given)
    if hasattr(given, "name"):
        series = polars_type(given.name, new.tolist(), dtype=given.dtype)
        return given.clone().append(series)
    frame = polars_type(new, schema=given.columns, orient="row")
    return given.vstack(frame.cast(given.schema))
