# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Rows of every class before and after over-sampling."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_is_fitted

from ldmlr_sklearn.inspection._axes import (
    COLOURS,
    MAX_NAMED_CLASSES,
    Axes,
    AxesOrNone,
    Figure,
    group_classes,
    label_classes,
    legend_above,
    resolve_axes,
    sampler_of,
)


class ClassCountsDisplay:
    """Rows of every class before and after over-sampling.

    Make one with `from_estimator` or `from_labels`. Up to 40 classes are bars, more are
    two lines.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        The classes.

    counts : ndarray of shape (n_classes,)
        Their rows before.

    counts_resampled : ndarray of shape (n_classes,)
        Their rows afterwards.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.

    figure_ : matplotlib Figure
        The figure of `ax_`.

    See Also
    --------
    ClassRecallDisplay : What the new rows are for.
    ldmlr_sklearn.sampling_strategies : Rules for the number of rows.

    Examples
    --------
    >>> from ldmlr_sklearn.inspection import ClassCountsDisplay
    >>> y = ["cat"] * 90 + ["dog"] * 10
    >>> display = ClassCountsDisplay.from_labels(y, y + ["dog"] * 80)
    >>> display.counts_resampled
    array([90, 90])
    """

    ax_: Axes
    figure_: Figure

    def __init__(
        self, *, classes: np.ndarray, counts: np.ndarray, counts_resampled: np.ndarray
    ) -> None:
        self.classes = classes
        self.counts = counts
        self.counts_resampled = counts_resampled

    @classmethod
    def from_estimator(
        cls, oversampler: BaseEstimator, y: ArrayLike, *, ax: AxesOrNone = None
    ) -> Self:
        """Plot the rows that a fitted over-sampler adds.

        Parameters
        ----------
        oversampler : over-sampler
            A fitted over-sampler of imbalanced-learn's kind; its
            ``sampling_strategy_`` says how many rows it adds to which class. Of an
            `LDMLRClassifier`, its over-sampler.

        y : array-like of shape (n_samples,)
            The labels that it was fitted to.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ClassCountsDisplay
            The display, drawn.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the over-sampler is not fitted.
        ValueError
            If it was fitted to other classes.
        """
        oversampler = sampler_of(oversampler)
        check_is_fitted(oversampler, "sampling_strategy_")
        classes, counts = np.unique(column_or_1d(y), return_counts=True)
        n_new = oversampler.sampling_strategy_
        unknown = np.setdiff1d(list(n_new), classes)
        if len(unknown):
            raise ValueError(
                f"The over-sampler adds rows to {unknown[:5].tolist()}, which are not "
                "in y. Pass the labels that it was fitted to."
            )
        added = np.array([n_new.get(class_, 0) for class_ in classes.tolist()])
        display = cls(classes=classes, counts=counts, counts_resampled=counts + added)
        return display.plot(ax)

    @classmethod
    def from_labels(
        cls, y: ArrayLike, y_resampled: ArrayLike, *, ax: AxesOrNone = None
    ) -> Self:
        """Plot the rows in labels from before and after.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Labels before.

        y_resampled : array-like of shape (n_samples_new,)
            Labels afterwards.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ClassCountsDisplay
            The display, drawn.
        """
        y, y_resampled = column_or_1d(y), column_or_1d(y_resampled)
        classes = np.union1d(y, y_resampled)
        before, after = (
            np.bincount(np.searchsorted(classes, labels), minlength=len(classes))
            for labels in (y, y_resampled)
        )
        display = cls(classes=classes, counts=before, counts_resampled=after)
        return display.plot(ax)

    def plot(self, ax: AxesOrNone = None) -> Self:
        """Draw the counts.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ClassCountsDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = resolve_axes(self, ax)
        order = np.concatenate(group_classes(self.counts))
        before, after = self.counts[order], self.counts_resampled[order]
        if len(order) <= MAX_NAMED_CLASSES:
            groups = [order[[position]] for position in range(len(order))]
            positions = label_classes(ax, self.classes, self.counts, groups)
            # Side by side, since the heights of stacked bars lie on a log axis.
            ax.bar(positions - 0.2, before, 0.4, color=COLOURS[0], label="before")
            ax.bar(
                positions + 0.2,
                after,
                0.4,
                color=COLOURS[1],
                hatch="//",
                edgecolor="white",
                label="after",
            )
        else:
            ranks = np.arange(1, len(order) + 1)
            ax.plot(ranks, before, color=COLOURS[0], label="before")
            ax.plot(ranks, after, color=COLOURS[1], linestyle="--", label="after")
            ax.set_xlabel("rank of the class by training rows")
        ax.set(ylabel="rows", yscale="log")
        ax.set_ylim(bottom=0.7)  # a class of one row is a visible bar
        legend_above(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self
