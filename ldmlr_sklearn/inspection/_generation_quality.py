# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Scores of the generated rows of every class."""

from collections.abc import Sequence
from numbers import Integral
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch, column_or_1d
from sklearn.utils._param_validation import Interval

from ldmlr_sklearn._typing import RandomState, validate_params
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
    sampler_of,
)
from ldmlr_sklearn.metrics import generation_report

SCORES = (
    "coverage",
    "authenticity",
    "density",
    "dcr_ratio",
    "dcr_share",
    "frechet_distance",
)


class GenerationQualityDisplay:
    """Coverage and authenticity of the generated rows of every class.

    Make one with `from_estimator` or `from_report`. Coverage tells whether there is a
    generated row near every real one, authenticity which share is no copy: both
    together, for copies cover well. With more than 40 classes, every point is the mean
    of a twentieth of them.

    Parameters
    ----------
    report : :class:`~sklearn.utils.Bunch`
        What :func:`~ldmlr_sklearn.metrics.generation_report` returns.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        One for every score.

    ax_ : matplotlib Axes
        What was drawn on.

    figure_ : matplotlib Figure
        The figure of `ax_`.

    See Also
    --------
    ldmlr_sklearn.metrics.generation_report : The numbers, and what they mean.

    Examples
    --------
    >>> from ldmlr_sklearn import LatentDiffusionOversampler
    >>> from ldmlr_sklearn.datasets import load_digits_lt
    >>> from ldmlr_sklearn.inspection import GenerationQualityDisplay
    >>> digits = load_digits_lt(imbalance_factor=20)
    >>> sampler = LatentDiffusionOversampler(
    ...     max_steps=100, hidden_dim=32, random_state=0
    ... ).fit(digits.data, digits.target)
    >>> display = GenerationQualityDisplay.from_estimator(
    ...     sampler,
    ...     digits.data,
    ...     digits.target,
    ...     digits.data_test,
    ...     digits.target_test,
    ...     random_state=0,
    ... )
    >>> display.report.classes
    array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """

    lines_: Lines
    ax_: Axes
    figure_: Figure

    def __init__(self, *, report: Bunch) -> None:
        self.report = report

    @classmethod
    @validate_params({"n_rows": [Interval(Integral, 1, None, closed="left")]})
    def from_estimator(
        cls,
        oversampler: BaseEstimator,
        X: ArrayLike,
        y: ArrayLike,
        X_held_out: ArrayLike,
        y_held_out: ArrayLike,
        *,
        scores: Sequence[str] = ("coverage", "authenticity"),
        n_rows: int = 100,
        random_state: RandomState = None,
        ax: AxesOrNone = None,
    ) -> Self:
        """Plot scores of rows drawn from a fitted over-sampler.

        Parameters
        ----------
        oversampler : LatentDiffusionOversampler
            A fitted over-sampler with a method `sample`. Of an `LDMLRClassifier`, its
            over-sampler, for which `X` is features.

        X : array-like of shape (n_samples, n_features)
            The rows that it was fitted to.

        y : array-like of shape (n_samples,)
            Their labels.

        X_held_out : array-like of shape (n_held_out_samples, n_features)
            Real rows that it has not seen.

        y_held_out : array-like of shape (n_held_out_samples,)
            Their labels.

        scores : sequence of str, default=("coverage", "authenticity")
            Columns of the report to show.

        n_rows : int, default=100
            Rows to draw of every class.

        random_state : int, RandomState instance or None, default=None
            Seeds the draw.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : GenerationQualityDisplay
            The display, drawn.
        """
        oversampler = sampler_of(oversampler, "sample")
        labels = np.repeat(np.unique(column_or_1d(y)), n_rows)
        generated = oversampler.sample(labels, random_state=random_state)
        report = generation_report(X, y, generated, labels, X_held_out, y_held_out)
        return cls.from_report(report, scores=scores, ax=ax)

    @classmethod
    def from_report(
        cls,
        report: Bunch,
        *,
        scores: Sequence[str] = ("coverage", "authenticity"),
        ax: AxesOrNone = None,
    ) -> Self:
        """Plot a report that was made before.

        Parameters
        ----------
        report : :class:`~sklearn.utils.Bunch`
            What :func:`~ldmlr_sklearn.metrics.generation_report` returns.

        scores : sequence of str, default=("coverage", "authenticity")
            Columns of the report to show.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : GenerationQualityDisplay
            The display, drawn.
        """
        return cls(report=report).plot(ax, scores=scores)

    def plot(
        self,
        ax: AxesOrNone = None,
        *,
        scores: Sequence[str] = ("coverage", "authenticity"),
    ) -> Self:
        """Draw a line for every score.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        scores : sequence of str, default=("coverage", "authenticity")
            Columns of the report to show.

        Returns
        -------
        display : GenerationQualityDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If a score is not a column of the report.
        """
        unknown = [score for score in scores if score not in SCORES]
        if unknown or not scores:
            raise ValueError(
                f"scores must name one or more of {', '.join(SCORES)}. Got {scores!r}."
            )
        ax = resolve_axes(self, ax)
        report = self.report
        groups = group_classes(report.n_train)
        positions = label_classes(ax, report.classes, report.n_train, groups)
        self.lines_ = [
            ax.plot(
                positions,
                mean_of_groups(report[score], groups),
                label=score.replace("_", " "),
                **style,
            )[0]
            for score, style in zip(scores, line_styles(len(scores)), strict=True)
        ]
        ax.set_ylabel("score")
        ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
        legend_above(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self
