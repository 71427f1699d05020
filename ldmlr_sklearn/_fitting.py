# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What every ``fit`` does around its work.

The one door to scikit-learn's private names.
"""

from contextlib import contextmanager

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn_compat.base import _fit_context
from sklearn_compat.utils.validation import validate_data

from ldmlr_sklearn._typing import Method

__all__ = [
    "check_labels",
    "check_row_weights",
    "check_sample_weight",
    "class_weights",
    "fit_context",
    "seeded",
    "spawn_seeds",
    "unchanged_on_failure",
    "validate_data",
]


def fit_context(method: Method) -> Method:
    """Check `_parameter_constraints` before the decorated fit runs.

    Training then has its gradients also in a caller's `torch.no_grad()`.
    """
    checked = _fit_context(prefer_skip_nested_validation=True)(method)
    return torch.inference_mode(False)(torch.enable_grad()(checked))


def check_labels(y):
    """Refuse labels that are missing.

    Raises
    ------
    ValueError
        If one is None, NaN or `pandas.NA`.
    """
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


def check_row_weights(sample_weight, rows):
    """Return the weights (n_samples,) of rows; refuse those that are none.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,) or number
    rows : ndarray of shape (n_samples, ...)

    Returns
    -------
    ndarray of shape (n_samples,)
    """
    weights = check_sample_weight(sample_weight, rows)
    # Here, since scikit-learn's keyword for it depends on the version.
    if (weights < 0).any():
        raise ValueError(
            f"Negative values in sample_weight: the smallest is {weights.min()}. "
            "Expected weights of 0 or more."
        )
    if not weights.any():
        raise ValueError(
            "All values of sample_weight are zero. Give some rows a weight above 0."
        )
    return weights


def class_weights(sample_weight, codes, classes):
    """Return what every class weighs; refuse one that weighs nothing.

    Parameters
    ----------
    sample_weight : ndarray of shape (n_samples,)
        None is below 0.
    codes : ndarray of shape (n_samples,)
        Class indices 0, …, K − 1 of the rows.
    classes : ndarray of shape (n_classes,)
        What an error calls them.

    Returns
    -------
    ndarray of shape (n_classes,)
    """
    weights = np.bincount(codes, sample_weight)
    if not weights.all():
        raise ValueError(
            "sample_weight is 0 for all rows of the classes "
            f"{classes[weights == 0].tolist()}, of which nothing can be learned then. "
            "Give some of their rows a weight above 0, or leave these classes out."
        )
    return weights


@contextmanager
def unchanged_on_failure(estimator):
    """Leave an estimator as it was if the block is left by an error or by Ctrl-C."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def spawn_seeds(random_state, n_seeds):
    """Draw independent integer seeds from a scikit-learn ``random_state``.

    Parameters
    ----------
    random_state : int, RandomState instance or None
    n_seeds : int

    Returns
    -------
    list of int of length n_seeds
    """
    random_state = check_random_state(random_state)
    return [int(seed) for seed in random_state.randint(2**31 - 1, size=n_seeds)]


def seeded(estimator, seed):
    """Set every `random_state` of an estimator, nested ones too, that is None."""
    unset = [
        name
        for name, value in sorted(estimator.get_params().items())
        if name.split("__")[-1] == "random_state" and value is None
    ]
    seeds = spawn_seeds(seed, len(unset))
    estimator.set_params(**dict(zip(unset, seeds, strict=True)))
    return estimator
