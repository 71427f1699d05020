# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The loss over the steps of training."""

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator

from ldmlr_sklearn.inspection._axes import (
    COLOURS,
    GREY,
    Axes,
    AxesOrNone,
    Figure,
    Lines,
    resolve_axes,
    sampler_of,
)


class LossCurveDisplay:
    """The training loss of every step, and its running mean.

    Make one with `from_estimator`. The denoising loss of a step depends on the noise
    that was drawn: look at the running mean.

    Parameters
    ----------
    losses : array-like of shape (n_steps,)
        The loss of every step.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The losses, and their running mean over a fiftieth of the steps where there
        are so many.

    ax_ : matplotlib Axes
        What was drawn on.

    figure_ : matplotlib Figure
        The figure of `ax_`.

    See Also
    --------
    GenerationQualityDisplay : Scores of what was learnt, which the loss does not tell.

    Examples
    --------
    >>> import numpy as np
    >>> from ldmlr_sklearn import LatentDiffusionOversampler
    >>> from ldmlr_sklearn.inspection import LossCurveDisplay
    >>> X = np.random.default_rng(0).normal(size=(30, 3))
    >>> sampler = LatentDiffusionOversampler(max_steps=60, random_state=0)
    >>> sampler = sampler.fit(X, np.repeat([0, 1], [20, 10]))
    >>> len(LossCurveDisplay.from_estimator(sampler).losses)
    60
    """

    _unit = "step"
    lines_: Lines
    ax_: Axes
    figure_: Figure

    def __init__(self, *, losses: np.ndarray) -> None:
        self.losses = losses

    @classmethod
    def from_estimator(cls, estimator: BaseEstimator, *, ax: AxesOrNone = None) -> Self:
        """Plot the loss of a fitted estimator.

        Parameters
        ----------
        estimator : object
            Anything fitted that has a ``loss_curve_``: a `LatentDiffusionOversampler`,
            or a `FeatureEncoder` that was trained, whose steps are epochs. Of an
            `LDMLRClassifier`, its over-sampler.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.

        Raises
        ------
        AttributeError
            If the estimator has no losses, or an empty row of them.
        """
        trained = sampler_of(estimator)
        if not hasattr(trained, "loss_curve_"):
            raise AttributeError(
                f"This {type(trained).__name__} has no loss_curve_. Expected an "
                "estimator whose fit has trained a network."
            )
        if len(trained.loss_curve_) == 0:
            raise AttributeError(
                f"The loss_curve_ of this {type(trained).__name__} is empty: its fit "
                "took no step. Fit with max_steps above 0."
            )
        display = cls(losses=trained.loss_curve_)
        display._unit = "step" if hasattr(trained, "max_steps") else "epoch"
        return display.plot(ax)

    def plot(self, ax: AxesOrNone = None) -> Self:
        """Draw the losses.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : LossCurveDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = resolve_axes(self, ax)
        losses = np.asarray(self.losses, dtype=float)
        steps = np.arange(1, len(losses) + 1)
        window = len(losses) // 50
        if window < 2:
            self.lines_ = ax.plot(steps, losses, color=COLOURS[0], label="loss")
        else:
            self.lines_ = ax.plot(
                steps, losses, color=GREY, label=f"loss of one {self._unit}"
            )
            mean = np.convolve(losses, np.full(window, 1 / window), mode="valid")
            label = f"mean of {window} {self._unit}s"
            self.lines_ += ax.plot(
                steps[window - 1 :], mean, color=COLOURS[0], label=label
            )
        ax.set(xlabel=f"training {self._unit}", ylabel="loss")
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self
