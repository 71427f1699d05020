# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Recall of every class, ordered by how frequent it is."""

from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import unique_labels

from ldmlr_sklearn._typing import RowsOrImages
from ldmlr_sklearn.inspection._axes import (
    Axes,
    AxesOrNone,
    Figure,
    Lines,
    group_classes,
    label_classes,
    legend_above,
    line_styles,
    mean_of_groups,
    resolve_axes,
)


class ClassRecallDisplay:
    """Recall of every class, most frequent first, of one or several methods.

    Make one with `from_estimator` or `from_predictions`. With more than 40 classes,
    every point is the mean of a twentieth of them.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        The classes.

    counts : ndarray of shape (n_classes,)
        Their training rows.

    recalls : dict of ndarray of shape (n_classes,)
        The name of a method to its recalls, nan for classes without test rows.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        One for every method.

    ax_ : matplotlib Axes
        What was drawn on.

    figure_ : matplotlib Figure
        The figure of `ax_`.

    See Also
    --------
    ldmlr_sklearn.metrics.shot_accuracy : The same in three numbers.

    Examples
    --------
    >>> from ldmlr_sklearn.inspection import ClassRecallDisplay
    >>> display = ClassRecallDisplay.from_predictions(
    ...     ["cat", "cat", "dog", "dog"],
    ...     {"plain": ["cat"] * 4, "balanced": ["cat", "cat", "dog", "cat"]},
    ...     y_train=["cat"] * 90 + ["dog"] * 10,
    ... )
    >>> display.recalls["balanced"]
    array([1. , 0.5])
    """

    lines_: Lines
    ax_: Axes
    figure_: Figure

    def __init__(
        self, *, classes: np.ndarray, counts: np.ndarray, recalls: dict[str, np.ndarray]
    ) -> None:
        self.classes = classes
        self.counts = counts
        self.recalls = recalls

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator | Mapping[str, BaseEstimator],
        X: RowsOrImages,
        y: ArrayLike,
        *,
        y_train: ArrayLike,
        ax: AxesOrNone = None,
    ) -> Self:
        """Plot the recall of fitted classifiers on test rows.

        Parameters
        ----------
        estimator : classifier or dict of classifiers
            A fitted classifier, or several by name: the baselines to compare with.

        X : array-like of shape (n_samples, ...)
            Test rows, as the classifiers take them.

        y : array-like of shape (n_samples,)
            True labels.

        y_train : array-like of shape (n_train_samples,)
            The labels learnt from, before any resampling.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ClassRecallDisplay
            The display, drawn.
        """
        if not isinstance(estimator, Mapping):
            estimator = {type(estimator).__name__: estimator}
        predictions = {name: each.predict(X) for name, each in estimator.items()}
        return cls.from_predictions(y, predictions, y_train=y_train, ax=ax)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike | Mapping[str, ArrayLike],
        *,
        y_train: ArrayLike,
        ax: AxesOrNone = None,
    ) -> Self:
        """Plot the recall of predictions.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True labels.

        y_pred : array-like of shape (n_samples,) or dict of them
            Predicted labels, or those of several methods by name.

        y_train : array-like of shape (n_train_samples,)
            The labels learnt from, before any resampling.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ClassRecallDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is no prediction, if lengths differ, or if labels of different
            kinds meet.
        """
        if not isinstance(y_pred, Mapping):
            y_pred = {"classifier": y_pred}
        if not y_pred:
            raise ValueError(
                "There is no prediction to show. Expected an array, or a dict of at "
                "least one name to an array."
            )
        y_true, y_train = column_or_1d(y_true), column_or_1d(y_train)
        classes = unique_labels(y_true, y_train)
        true = np.searchsorted(classes, y_true)
        n_test = np.bincount(true, minlength=len(classes)).astype(float)
        n_test[n_test == 0] = np.nan
        recalls = {}
        for name, predicted in y_pred.items():
            check_consistent_length(y_true, predicted)
            unique_labels(y_true, predicted)  # refuses strings among numbers
            hits = column_or_1d(predicted) == y_true
            recalls[name] = np.bincount(true, hits, minlength=len(classes)) / n_test
        train = np.searchsorted(classes, y_train)
        counts = np.bincount(train, minlength=len(classes))
        return cls(classes=classes, counts=counts, recalls=recalls).plot(ax)

    def plot(self, ax: AxesOrNone = None) -> Self:
        """Draw a line for every method.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ClassRecallDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = resolve_axes(self, ax)
        groups = group_classes(self.counts)
        positions = label_classes(ax, self.classes, self.counts, groups)
        styles = line_styles(len(self.recalls))
        self.lines_ = [
            ax.plot(positions, mean_of_groups(recall, groups), label=name, **style)[0]
            for (name, recall), style in zip(self.recalls.items(), styles, strict=True)
        ]
        ax.set(ylabel="recall", ylim=(-0.05, 1.05))
        legend_above(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self
