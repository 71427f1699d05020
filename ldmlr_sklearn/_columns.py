# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Columns of any kind, to the scale of a standard normal distribution and back."""

import numpy as np
from scipy.special import ndtr, ndtri

# A column is ranked where its deviation exceeds this many interquartile ranges: its
# middle half would be squeezed into a quarter of the width that a normal column has
# (deviation / range = 0.74). Features of networks stay below 2.
MAX_TAIL = 3.0
# A value that this share of the rows has is an atom: it must be met exactly. Features
# of networks after average pooling have fewer zeros.
MIN_ATOM = 0.1
# Levels are told from values that happen to be equal by how few stand alone.
MAX_ALONE = 0.05
# Values kept of a column, and rows from which its kind is told.
MAX_VALUES = 1000
MAX_ROWS = 10_000
# Numbers that are looked at together, so that memory stays flat.
MAX_NUMBERS = 2**22
# Whole numbers that float64 holds exactly; and sizes whose squares it holds.
MAX_EXACT = 2**53
SMALL, LARGE = 1e-100, 1e100
# The attributes of `Columns` that are arrays, or nearly so.
_STATE = (
    *("_minimum", "_maximum", "_from_minimum", "_unit", "_low", "_high"),
    *("_mean", "_scale", "integer", "ranked", "low", "high"),
)


class Columns:
    """What maps rows to standardised columns and generated rows back.

    An ordinary column is centred on its mean and divided by its deviation. A ranked
    one, with heavy tails or an atom, gets normal scores instead: a value that the
    shares a … b of the rows have goes to Φ⁻¹((a + b) / 2), standardised in turn, and
    the whole of Φ⁻¹(a) … Φ⁻¹(b) goes back to it, so that an atom is met exactly; where
    no value is repeated, the way back interpolates.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Finite rows of any numeric dtype, which rows that come back have.

    Attributes
    ----------
    low, high : ndarray of shape (n_features,), float32
        The standardised range of the rows.
    integer : ndarray of shape (n_features,), bool
        Columns of whole numbers; they come back as such.
    ranked : ndarray of shape (n_features,), bool
        Columns with normal scores.
    dtype : dtype
        That of the rows.
    """

    def __init__(self, X):
        self.dtype = X.dtype
        self._minimum, self._maximum = X.min(axis=0), X.max(axis=0)
        blocks = _column_blocks(*X.shape)
        self.integer = np.concatenate(
            [np.all(X[:, block] == np.rint(X[:, block]), axis=0) for block in blocks]
        )
        bounds = np.stack([self._minimum, self._maximum])
        self._from_minimum = X.dtype.kind in "iu" and bool(
            np.abs(bounds.astype(np.float64)).max(initial=0) > MAX_EXACT
        )
        size = np.abs(self._as_float(bounds)).max(axis=0)
        # A power of two leaves every digit as it is.
        power = np.ldexp(1.0, np.frexp(size)[1] - 1)
        ordinary = (size == 0) | ((size > SMALL) & (size < LARGE))
        self._unit = np.where(ordinary, 1.0, power)
        self._low, self._high = self._as_float(bounds) / self._unit

        self._mean, deviation = np.empty((2, X.shape[1]))
        for block in blocks:
            rows = self._as_float(X[:, block], block) / self._unit[block]
            self._mean[block], deviation[block] = rows.mean(axis=0), rows.std(axis=0)
        constant = (self._low == self._high) | (deviation == 0)
        self._scale = np.where(constant, 1.0, deviation)
        self._levels, self._scores = {}, {}
        judged = self._as_float(X[:: -(-len(X) // MAX_ROWS)]) / self._unit
        for j in np.flatnonzero(~constant):
            ranked, discrete = _kind(judged[:, j], deviation[j], self.integer[j])
            if not (ranked or discrete):
                continue
            column = self._as_float(X[:, j], j) / self._unit[j]
            if ranked:
                self._scores[j] = np.stack(_shares_of_values(column))
                scores = _to_scores(column, *self._scores[j])
                self._mean[j], self._scale[j] = scores.mean(), scores.std()
            else:
                self._levels[j] = np.unique(column)
        self.ranked = np.isin(np.arange(X.shape[1]), list(self._scores))
        self.low, self.high = self.transform(bounds)

    def to_arrays(self):
        """Return all that is known of the columns as named arrays."""
        arrays = {name: getattr(self, name) for name in _STATE}
        for name in ("_levels", "_scores"):
            tables = getattr(self, name)
            sizes = [np.shape(table)[-1] for table in tables.values()]
            arrays[f"{name}_columns"] = np.array(list(tables), dtype=np.int64)
            arrays[f"{name}_sizes"] = np.array(sizes, dtype=np.int64)
            empty = np.empty((*((2,) if name == "_scores" else ()), 0))
            arrays[name] = np.concatenate([empty, *tables.values()], axis=-1)
        return arrays

    @classmethod
    def from_arrays(cls, arrays, dtype):
        """Make columns of what `to_arrays` returned, and of the dtype of the rows."""
        columns = object.__new__(cls)
        columns.dtype = np.dtype(dtype)
        for name in _STATE:
            setattr(columns, name, arrays[name])
        for name in ("_levels", "_scores"):
            ends = np.cumsum(arrays[f"{name}_sizes"])[:-1]
            tables = np.split(arrays[name], ends, axis=-1)
            keys = arrays[f"{name}_columns"].tolist()
            setattr(columns, name, dict(zip(keys, tables, strict=False)))
        columns._from_minimum = bool(columns._from_minimum)
        return columns

    def transform(self, X):
        """Map rows to standardised ones (n_samples, n_features), float32."""
        rows = self._as_float(X) / self._unit
        for j, (values, shares) in self._scores.items():
            rows[:, j] = _to_scores(rows[:, j], values, shares)
        return ((rows - self._mean) / self._scale).astype(np.float32)

    def inverse_transform(self, Z):
        """Map standardised rows back, into the range and dtype of the fitted ones."""
        rows = Z * self._scale + self._mean
        for j, (values, shares) in self._scores.items():
            rows[:, j] = np.interp(ndtr(rows[:, j]), shares, values)
        for j, levels in self._levels.items():
            middles = levels[:-1] + np.diff(levels) / 2
            rows[:, j] = levels[np.searchsorted(middles, rows[:, j])]
        rows = np.clip(rows, self._low, self._high) * self._unit
        rows[:, self.integer] = np.rint(rows[:, self.integer])
        if not self._from_minimum:
            return np.clip(rows, self._minimum, self._maximum).astype(self.dtype)
        origin = self._minimum.astype(np.uint64)
        span = self._maximum.astype(np.uint64) - origin
        steps = np.minimum(rows, np.nextafter(2.0**64, 0)).astype(np.uint64)
        steps = np.where(rows < self._high, np.minimum(steps, span), span)
        return (origin + steps).astype(self.dtype)

    def _as_float(self, X, columns=slice(None)):
        if not self._from_minimum:
            return X.astype(np.float64)
        # Unsigned numbers wrap around, so that every difference is exact.
        origin = self._minimum[columns].astype(np.uint64)
        return (X.astype(np.uint64) - origin).astype(np.float64)


def _column_blocks(n_rows, n_columns):
    """Return slices that part the columns into blocks of a bounded size."""
    width = max(1, MAX_NUMBERS // n_rows)
    return [slice(j, j + width) for j in range(0, n_columns, width)]


def _kind(column, deviation, is_integer):
    """Tell whether a column must be ranked, and whether it has levels only."""
    values, codes, counts = np.unique(column, return_inverse=True, return_counts=True)
    top = counts.argmax()
    has_atom = counts[top] >= max(2, MIN_ATOM * len(column))
    rest = column[codes != top] if has_atom else column
    if len(rest) == 0:  # constant but for rows that are not judged
        return True, False
    middle = np.subtract(*np.percentile(rest, [75, 25]))
    tails = deviation > MAX_TAIL * (max(middle, 1.0) if is_integer else middle)
    alone = np.delete(counts, top) if has_atom else counts
    discrete = (alone == 1).sum() <= MAX_ALONE * len(rest) and len(values) <= MAX_VALUES
    return bool(tails or (has_atom and not (discrete or is_integer))), bool(discrete)


def _shares_of_values(column):
    """Return values and the share of rows below them, twice for repeated ones."""
    values, counts = np.unique(column, return_counts=True)
    upper = np.cumsum(counts)
    if len(values) > MAX_VALUES:
        wanted = np.linspace(0.5, len(column) - 0.5, MAX_VALUES)
        kept = np.unique(np.searchsorted(upper, wanted))
        values, counts, upper = values[kept], counts[kept], upper[kept]
    once = counts == 1
    shares = np.stack([upper - counts + 0.5 * once, upper - 0.5 * once], axis=1)
    first_and_last = np.stack([np.full(len(once), True), ~once], axis=1)
    shares = shares[first_and_last] / len(column)
    return np.repeat(values, np.where(once, 1, 2)), shares


def _to_scores(column, values, shares):
    # Where a value is repeated, one gives the upper and one the lower end.
    upper = np.interp(column, values, shares)
    lower = -np.interp(-column, -values[::-1], -shares[::-1])
    return ndtri((lower + upper) / 2)
