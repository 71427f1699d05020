# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Score of a classifier against the number of generated rows."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student_t
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import BaseCrossValidator, check_cv, cross_val_score

from ldmlr_sklearn._typing import RowsOrImages
from ldmlr_sklearn.inspection._axes import (
    COLOURS,
    Axes,
    AxesOrNone,
    ErrorBars,
    Figure,
    Line,
    legend_above,
    resolve_axes,
)
from ldmlr_sklearn.sampling_strategies import RatioStrategy


class GenerationRatioDisplay:
    """Score of a classifier against the generation ratio, with intervals.

    Make one with `from_estimator`, which cross-validates, or with `from_scores`. The
    ratio is the one of :class:`~ldmlr_sklearn.sampling_strategies.RatioStrategy`:
    generated rows for each real row of a class.

    Parameters
    ----------
    ratios : array-like of shape (n_ratios,)
        Generation ratios.

    scores : array-like of shape (n_ratios, n_runs)
        Scores of every run.

    baseline : array-like of shape (n_runs,) or None, default=None
        Scores of the runs without generated rows.

    correction : float, default=0.0
        Test rows for each training row where the runs are splits of one data set, whose
        scores are not independent; 0 for independent runs.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The mean score at every ratio.

    errorbar_ : matplotlib ErrorbarContainer
        The line with its 95 % intervals.

    ax_ : matplotlib Axes
        What was drawn on.

    figure_ : matplotlib Figure
        The figure of `ax_`.

    See Also
    --------
    ldmlr_sklearn.sampling_strategies.RatioStrategy : The rule that is varied.
    sklearn.model_selection.ValidationCurveDisplay : The same for any parameter.

    Notes
    -----
    The interval is that of Student's t for the mean of J runs, mean ±
    t √((1 / J + r) s²), with r the `correction`: the corrected resampled interval [1]_.

    References
    ----------
    .. [1] Nadeau, Bengio. Inference for the generalization error. Machine Learning
       2003.

    Examples
    --------
    >>> from ldmlr_sklearn.inspection import GenerationRatioDisplay
    >>> display = GenerationRatioDisplay.from_scores(
    ...     [0.2, 1.0], [[0.70, 0.72, 0.71], [0.75, 0.79, 0.77]], baseline=[0.6, 0.62]
    ... )
    >>> display.line_.get_ydata()
    array([0.71, 0.77])
    """

    line_: Line
    errorbar_: ErrorBars
    ax_: Axes
    figure_: Figure

    def __init__(
        self,
        *,
        ratios: ArrayLike,
        scores: ArrayLike,
        baseline: ArrayLike | None = None,
        correction: float = 0.0,
    ) -> None:
        self.ratios = ratios
        self.scores = scores
        self.baseline = baseline
        self.correction = correction

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: RowsOrImages,
        y: ArrayLike,
        *,
        ratios: Sequence[float] | np.ndarray = (0.1, 0.2, 0.5, 1.0),
        param_name: str = "sampling_strategy",
        cv: int | BaseCrossValidator | Iterable[Any] = 5,
        scoring: str | Callable[..., float] = "balanced_accuracy",
        ax: AxesOrNone = None,
    ) -> Self:
        """Cross-validate an estimator at every ratio and plot the scores.

        The estimator is fitted (n_ratios + 1) times the number of folds.

        Parameters
        ----------
        estimator : classifier
            One with an over-sampler in it, such as an `LDMLRClassifier` or a pipeline
            of imbalanced-learn.

        X : array-like of shape (n_samples, ...)
            Rows, as the estimator takes them.

        y : array-like of shape (n_samples,)
            Their labels.

        ratios : sequence of float, default=(0.1, 0.2, 0.5, 1.0)
            Generation ratios; a class gets at least 5 rows at each.

        param_name : str, default="sampling_strategy"
            The parameter of the estimator to vary, such as
            "oversampler__sampling_strategy".

        cv : int, cross-validation generator or iterable, default=5
            How to split the rows; an integer makes stratified folds.

        scoring : str or callable, default="balanced_accuracy"
            The score. Accuracy would not see rare classes.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : GenerationRatioDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the estimator has no such parameter.
        """
        known = estimator.get_params()
        if param_name not in known:
            proposed = [name for name in known if name.endswith("sampling_strategy")]
            raise ValueError(
                f"{type(estimator).__name__} has no parameter {param_name!r}. Expected "
                f"the sampling_strategy of its over-sampler, such as {proposed}."
            )
        splits = list(check_cv(cv, y, classifier=True).split(X, y))
        strategies = [{}, *(RatioStrategy(ratio) for ratio in ratios)]
        estimator = clone(estimator)
        baseline, *scores = (
            cross_val_score(
                estimator.set_params(**{param_name: strategy}),
                X,
                y,
                cv=splits,
                scoring=scoring,
                error_score="raise",
            )
            for strategy in strategies
        )
        correction = float(np.mean([len(test) / len(train) for train, test in splits]))
        display = cls(
            ratios=ratios, scores=scores, baseline=baseline, correction=correction
        )
        return display.plot(ax)

    @classmethod
    def from_scores(
        cls,
        ratios: ArrayLike,
        scores: ArrayLike,
        *,
        baseline: ArrayLike | None = None,
        correction: float = 0.0,
        ax: AxesOrNone = None,
    ) -> Self:
        """Plot scores that were taken before.

        Parameters
        ----------
        ratios : array-like of shape (n_ratios,)
            Generation ratios.

        scores : array-like of shape (n_ratios, n_runs)
            Scores of every run.

        baseline : array-like of shape (n_runs,) or None, default=None
            Scores of the runs without generated rows.

        correction : float, default=0.0
            Test rows for each training row where the runs are splits of one data set;
            0 for independent runs.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : GenerationRatioDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the scores are not one row for every ratio.
        """
        shape, n_ratios = np.shape(scores), np.size(ratios)
        if len(shape) != 2 or shape[0] != n_ratios:
            raise ValueError(
                f"scores has shape {shape}. Expected ({n_ratios}, n_runs): a row of "
                "scores for every ratio."
            )
        display = cls(
            ratios=ratios, scores=scores, baseline=baseline, correction=correction
        )
        return display.plot(ax)

    def plot(self, ax: AxesOrNone = None) -> Self:
        """Draw means and intervals.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : GenerationRatioDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = resolve_axes(self, ax)
        scores = np.asarray(self.scores, dtype=float)
        self.errorbar_ = ax.errorbar(
            self.ratios,
            scores.mean(axis=1),
            yerr=_half_width(scores, self.correction),
            color=COLOURS[0],
            marker="o",
            capsize=3,
            label="generated rows (95 % interval)",
        )
        self.line_ = self.errorbar_.lines[0]
        if self.baseline is not None:
            ax.axhline(
                float(np.mean(np.asarray(self.baseline, dtype=float))),
                color=COLOURS[3],
                linestyle="--",
                label="none (mean)",
            )
        ax.set(xlabel="generated rows for each real one", ylabel="score")
        legend_above(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _half_width(scores, correction):
    """Half the 95 % interval of the mean of every row; none for a single run."""
    n_runs = scores.shape[1]
    if n_runs < 2:
        return None
    spread = scores.std(axis=1, ddof=1) * np.sqrt(1 / n_runs + correction)
    return student_t.ppf(0.975, n_runs - 1) * spread
