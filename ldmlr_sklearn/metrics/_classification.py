# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Scores of a classifier that see the tail."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, check_consistent_length, column_or_1d
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import check_classification_targets, unique_labels

from ldmlr_sklearn._typing import validate_params

SHOT_GROUPS = ("many", "medium", "few")


def _check_thresholds(many, few):
    if few > many:
        raise ValueError(
            f"few must not be above many. Got few={few} and many={many}: classes with "
            "at least `many` training rows are many-shot, those with fewer than `few` "
            "are few-shot."
        )


@validate_params(
    {
        "y_train": ["array-like"],
        "many": [Interval(Integral, 0, None, closed="left")],
        "few": [Interval(Integral, 0, None, closed="left")],
    }
)
def shot_groups(
    y_train: ArrayLike, *, many: int = 100, few: int = 20
) -> dict[Any, str]:
    """Divide classes into many-, medium- and few-shot ones by their training rows.

    Parameters
    ----------
    y_train : array-like of shape (n_train_samples,)
        The labels that a classifier learns from.

    many : int, default=100
        Classes with at least so many rows are many-shot.

    few : int, default=20
        Classes with fewer rows are few-shot; what is between is medium-shot.

    Returns
    -------
    groups : dict
        The class to "many", "medium" or "few", in the sorted order of the classes.

    Raises
    ------
    ValueError
        If `few` is above `many`.

    See Also
    --------
    shot_accuracy : Score a prediction in these groups.

    Examples
    --------
    >>> from ldmlr_sklearn.metrics import shot_groups
    >>> shot_groups(["cat"] * 100 + ["dog"] * 20 + ["eel"] * 19)
    {'cat': 'many', 'dog': 'medium', 'eel': 'few'}
    """
    _check_thresholds(many, few)
    classes, counts = np.unique(column_or_1d(y_train), return_counts=True)
    names = np.select([counts >= many, counts < few], ["many", "few"], "medium")
    return dict(zip(classes.tolist(), names.tolist(), strict=True))


@validate_params(
    {
        "y_true": ["array-like"],
        "y_pred": ["array-like"],
        "y_train": ["array-like"],
        "many": [Interval(Integral, 0, None, closed="left")],
        "few": [Interval(Integral, 0, None, closed="left")],
    }
)
def shot_accuracy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    y_train: ArrayLike,
    *,
    many: int = 100,
    few: int = 20,
) -> Bunch:
    """Compute the mean recall of many-, medium- and few-shot classes.

    Every class counts alike, however many rows of it are tested. On a balanced test
    set the recall averaged over a group of classes is the accuracy on its rows,
    which is what the literature reports [1]_.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True labels of the rows tested.

    y_pred : array-like of shape (n_samples,)
        Predicted labels.

    y_train : array-like of shape (n_train_samples,)
        The labels that the classifier learnt from, before any resampling. Their
        counts alone are used. A class of `y_true` that is not among them is a
        few-shot one.

    many : int, default=100
        Classes with at least so many rows in `y_train` are many-shot.

    few : int, default=20
        Classes with fewer rows are few-shot; what is between is medium-shot.

    Returns
    -------
    accuracy : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        many, medium, few : float
            Mean recall of the classes in the group, between 0 and 1; nan where no
            class of `y_true` belongs to the group.
        all : float
            Mean recall of all classes of `y_true`: the balanced accuracy.

    Raises
    ------
    ValueError
        If `y_true` is empty or `y_pred` of another length, if labels of different kinds
        meet, or if `few` is above `many`.

    See Also
    --------
    shot_groups : The group of every class.
    sklearn.metrics.balanced_accuracy_score : The mean recall of all classes.

    References
    ----------
    .. [1] Z. Liu, Z. Miao, X. Zhan, J. Wang, B. Gong, S. X. Yu. "Large-scale
       long-tailed recognition in an open world". CVPR 2019.

    Examples
    --------
    >>> from ldmlr_sklearn.metrics import shot_accuracy
    >>> y_train = [0] * 200 + [1] * 50 + [2] * 5
    >>> accuracy = shot_accuracy([0, 0, 1, 1, 2, 2], [0, 0, 1, 0, 0, 0], y_train)
    >>> accuracy.many, accuracy.medium, accuracy.few, accuracy.all
    (1.0, 0.5, 0.0, 0.5)
    """
    check_consistent_length(y_true, y_pred)
    y_true, y_pred, y_train = map(column_or_1d, (y_true, y_pred, y_train))
    if np.size(y_true) == 0:
        raise ValueError("y_true has no labels. Expected one row to score at least.")
    check_classification_targets(y_true)
    unique_labels(y_true, y_pred, y_train)  # refuses strings among numbers

    classes, encoded = np.unique(y_true, return_inverse=True)
    hits = np.bincount(encoded, weights=y_true == y_pred)
    recall = hits / np.bincount(encoded)

    group_of = shot_groups(y_train, many=many, few=few)
    groups = np.array([group_of.get(class_, "few") for class_ in classes.tolist()])
    accuracy = Bunch(all=float(recall.mean()))
    for name in SHOT_GROUPS:
        members = recall[groups == name]
        accuracy[name] = float(members.mean()) if len(members) else float("nan")
    return accuracy
