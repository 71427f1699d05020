# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Long-tailed data sets: made from balanced ones, and one that is embedded."""

from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.utils import (
    Bunch,
    _safe_indexing,
    check_consistent_length,
    check_random_state,
    column_or_1d,
)
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets

from ldmlr_sklearn._typing import LabelsT, RandomState, RowsT, validate_params


def _profile_shares(n_classes, imbalance_factor, profile):
    """Rows of every class, head first, as a share of the rows of the first."""
    if profile == "step":
        n_head = (n_classes + 1) // 2
        return np.repeat([1.0, 1 / imbalance_factor], [n_head, n_classes - n_head])
    return float(imbalance_factor) ** (-np.arange(n_classes) / (n_classes - 1))


def _profile_counts(n_max, shares):
    # 49 * (1 / 49) is below 1 in floating point: let the floor forgive rounding.
    return np.floor(n_max * shares * (1 + 1e-9)).astype(int)


def _largest_counts(available, shares):
    """Counts of the profile for the largest n_max that no class falls short of."""
    n_max = int(np.min((available + 1) / shares))
    while np.any(_profile_counts(n_max, shares) > available):
        n_max -= 1
    return _profile_counts(n_max, shares)


def _check_class_order(class_order, classes):
    """Return positions in `classes`, head class first."""
    if class_order is None:
        return np.arange(len(classes))
    order = np.asarray(class_order)
    if order.ndim != 1 or sorted(order.tolist(), key=str) != sorted(
        classes.tolist(), key=str
    ):
        raise ValueError(
            "class_order must name every class of y exactly once, from the one that "
            f"keeps most rows to the one that keeps fewest. Got {class_order!r}; the "
            f"classes of y are {classes.tolist()}."
        )
    return np.searchsorted(classes, order)


@validate_params(
    {
        "X": "no_validation",
        "y": "no_validation",
        "imbalance_factor": [Interval(Real, 1, None, closed="left")],
        "profile": [StrOptions({"exponential", "step"})],
        "class_order": ["array-like", None],
        "random_state": ["random_state"],
    }
)
def make_long_tailed(
    X: RowsT,
    y: LabelsT,
    *,
    imbalance_factor: float,
    profile: Literal["exponential", "step"] = "exponential",
    class_order: ArrayLike | None = None,
    random_state: RandomState = None,
) -> tuple[RowsT, LabelsT]:
    """Make a data set long-tailed by keeping fewer and fewer rows of its classes.

    Parameters
    ----------
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, ...)
        Rows of any kind: features, images of any number of dimensions, a list of
        file names, a dataframe.

    y : array-like of shape (n_samples,)
        Class labels.

    imbalance_factor : float
        Rows of the first class for each row of the last, at least 1.

    profile : {"exponential", "step"}, default="exponential"
        How the counts fall from the first class to the last; see Notes.

    class_order : array-like of shape (n_classes,), default=None
        Every class once, from the head to the tail. With `None`, the sorted order
        of the labels.

    random_state : int, RandomState instance or None, default=None
        Decides which rows stay.

    Returns
    -------
    X_long_tailed : same type as X, of shape (n_kept, ...)
        The rows that stay, in the order they had.

    y_long_tailed : same type as y, of shape (n_kept,)
        Their labels.

    Raises
    ------
    ValueError
        If `y` has fewer than two classes, if `class_order` is not an order of
        them, or if the last class would be left without a row.

    See Also
    --------
    load_digits_lt : A small data set that is made long-tailed in this way.
    imblearn.datasets.make_imbalance : Keep given numbers of rows.

    Notes
    -----
    Of the class at position :math:`c = 0, \\dots, K - 1`, with the imbalance factor
    :math:`\\rho`, there remain

    .. math::

        n_c = \\lfloor n_{\\max} \\, \\rho^{-c / (K - 1)} \\rfloor

    rows with the exponential profile [1]_. With the step profile [2]_ the first half
    of the classes (one more when :math:`K` is odd) keep :math:`n_{\\max}` rows each
    and the others :math:`\\lfloor n_{\\max} / \\rho \\rfloor`.

    :math:`n_{\\max}` is the largest number for which every class has the rows asked
    of it, so the profile always holds exactly. It is the count of the first class
    unless a later one falls short.

    References
    ----------
    .. [1] Y. Cui, M. Jia, T.-Y. Lin, Y. Song, S. Belongie. "Class-balanced loss
       based on effective number of samples". CVPR 2019.
    .. [2] M. Buda, A. Maki, M. A. Mazurowski. "A systematic study of the class
       imbalance problem in convolutional neural networks". Neural Networks 106,
       2018.

    Examples
    --------
    >>> import numpy as np
    >>> from ldmlr_sklearn.datasets import make_long_tailed
    >>> images, labels = np.zeros((500, 8, 8)), np.repeat(np.arange(5), 100)
    >>> images, labels = make_long_tailed(
    ...     images, labels, imbalance_factor=100, random_state=0
    ... )
    >>> np.bincount(labels)
    array([100,  31,  10,   3,   1])
    """
    check_consistent_length(X, y)
    labels = column_or_1d(y)
    check_classification_targets(labels)
    classes, encoded, available = np.unique(
        labels, return_inverse=True, return_counts=True
    )
    if len(classes) < 2:
        raise ValueError(
            "make_long_tailed needs at least two classes. Got "
            f"{len(classes)}: {classes.tolist()}."
        )
    order = _check_class_order(class_order, classes)
    shares = _profile_shares(len(classes), imbalance_factor, profile)
    counts = _largest_counts(available[order], shares)
    if counts[-1] == 0:
        last = classes.tolist()[order[-1]]
        raise ValueError(
            f"imbalance_factor={imbalance_factor} leaves no row of class {last!r}: the "
            f"rows of y allow {counts[0]} for the first class. Lower "
            "imbalance_factor, or give class_order so that a class with many rows "
            "comes first."
        )
    rng = check_random_state(random_state)
    kept_of_classes = [
        rng.choice(np.flatnonzero(encoded == class_), count, replace=False)
        for class_, count in zip(order, counts, strict=True)
    ]
    kept = np.sort(np.concatenate(kept_of_classes))
    rows: Any = X
    if sparse.issparse(X):  # not all formats can be indexed
        rows = rows.tocsr()[kept].asformat(rows.format)
        return rows, _safe_indexing(y, kept)
    return _safe_indexing(X, kept), _safe_indexing(y, kept)


@validate_params(
    {
        "imbalance_factor": [Interval(Real, 1, None, closed="left")],
        "test_size": [Interval(Real, 0, 1, closed="neither")],
        "class_order": ["array-like", None],
        "random_state": ["random_state"],
    }
)
def load_digits_lt(
    *,
    imbalance_factor: float = 50,
    test_size: float = 0.3,
    class_order: ArrayLike | None = None,
    random_state: RandomState = 0,
) -> Bunch:
    """Load scikit-learn's digits with a long-tailed training and a balanced test part.

    Parameters
    ----------
    imbalance_factor : float, default=50
        Training rows of the first class for each row of the last.

    test_size : float, default=0.3
        Share of the smallest class (174 rows) that is set aside for testing; every
        class gives as many.

    class_order : array-like of shape (10,), default=None
        The digits from the head to the tail. With `None`, 0 has most rows and 9
        fewest.

    random_state : int, RandomState instance or None, default=0
        Decides which rows are tested on and which stay for training.

    Returns
    -------
    digits : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data, data_test : ndarray of shape (n_samples, 64)
            The flattened images, values from 0 to 16.
        images, images_test : ndarray of shape (n_samples, 8, 8)
            The same as images.
        target, target_test : ndarray of shape (n_samples,)
            The digits shown.
        target_names : ndarray of shape (10,)
            The classes.
        feature_names : list of str of length 64
            The names of the columns of `data`.

    Raises
    ------
    ValueError
        If the last class would be left without a training row, or the test part
        without any.

    See Also
    --------
    make_long_tailed : How the training part is chosen.
    sklearn.datasets.load_digits : The data set itself.

    Examples
    --------
    >>> import numpy as np
    >>> from ldmlr_sklearn.datasets import load_digits_lt
    >>> digits = load_digits_lt()
    >>> digits.images.shape, digits.images_test.shape
    ((349, 8, 8), (520, 8, 8))
    >>> np.bincount(digits.target)
    array([126,  81,  52,  34,  22,  14,   9,   6,   3,   2])
    """
    digits = load_digits()
    classes, encoded, counts = np.unique(
        digits.target, return_inverse=True, return_counts=True
    )
    n_test = int(test_size * counts.min())
    if n_test == 0:
        raise ValueError(
            f"test_size={test_size} leaves no row to test on: the smallest class has "
            f"{counts.min()} rows. Raise test_size."
        )
    rng = check_random_state(random_state)
    is_test = np.zeros(len(encoded), dtype=bool)
    for class_ in range(len(classes)):
        rows = np.flatnonzero(encoded == class_)
        is_test[rng.choice(rows, n_test, replace=False)] = True
    rows, target = make_long_tailed(
        np.flatnonzero(~is_test),
        digits.target[~is_test],
        imbalance_factor=imbalance_factor,
        class_order=class_order,
        random_state=rng,
    )
    return Bunch(
        data=digits.data[rows],
        images=digits.images[rows],
        target=target,
        data_test=digits.data[is_test],
        images_test=digits.images[is_test],
        target_test=digits.target[is_test],
        target_names=digits.target_names,
        feature_names=digits.feature_names,
    )
