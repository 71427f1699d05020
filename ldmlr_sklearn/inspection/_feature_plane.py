# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Real and generated features of chosen classes in one plane."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_random_state,
    column_or_1d,
)
from sklearn.utils._param_validation import Interval

from ldmlr_sklearn._typing import RandomState, validate_params
from ldmlr_sklearn.inspection._axes import (
    COLOURS,
    GREY,
    Axes,
    AxesOrNone,
    Figure,
    literally,
    resolve_axes,
    sampler_of,
)

# Kind of row -> its style; the colour is that of the class. Drawn in this order.
KINDS: dict[str, dict[str, Any]] = {
    "unseen": {"marker": "o", "facecolors": "none", "s": 25, "linewidths": 1},
    "generated": {"marker": "x", "s": 22, "linewidths": 1},
    "training": {"marker": "^", "s": 45, "edgecolors": "black", "linewidths": 0.7},
}


class FeaturePlaneDisplay:
    """Real and generated features of chosen classes in one plane.

    Make one with `from_estimator` or `from_resampled`. Classes differ in colour, kinds
    of rows in marker: triangles are training rows, crosses generated ones, circles
    unseen ones. Figure 3 of the paper [1]_ is of this kind.

    Parameters
    ----------
    points : dict of ndarray of shape (n_rows, 2)
        The kind, "training", "generated" or "unseen", to the places of its rows.

    labels : dict of ndarray of shape (n_rows,)
        The kind to the classes of its rows.

    classes : array-like of shape (n_chosen,)
        The classes that are shown; training rows of others are grey dots.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.

    figure_ : matplotlib Figure
        The figure of `ax_`.

    See Also
    --------
    GenerationQualityDisplay : Scores in place of a look.

    Notes
    -----
    A plane shows two dimensions of many. Rows that lie together in it may be far apart,
    and a plane fitted to training rows shows these further out than unseen ones.

    References
    ----------
    .. [1] Han et al. Latent-based diffusion model for long-tailed recognition.
       CVPR workshops 2024.

    Examples
    --------
    >>> from imblearn.over_sampling import SMOTE
    >>> from ldmlr_sklearn.datasets import load_digits_lt
    >>> from ldmlr_sklearn.inspection import FeaturePlaneDisplay
    >>> digits = load_digits_lt()
    >>> display = FeaturePlaneDisplay.from_resampled(
    ...     digits.data,
    ...     digits.target,
    ...     *SMOTE(k_neighbors=1).fit_resample(digits.data, digits.target),
    ...     classes=[6, 7],
    ... )
    >>> display.points["training"].shape
    (349, 2)
    """

    ax_: Axes
    figure_: Figure

    def __init__(
        self,
        *,
        points: dict[str, np.ndarray],
        labels: dict[str, np.ndarray],
        classes: ArrayLike,
    ) -> None:
        self.points = points
        self.labels = labels
        self.classes = classes

    @classmethod
    @validate_params({"n_rows": [Interval(Integral, 1, None, closed="left")]})
    def from_estimator(
        cls,
        oversampler: BaseEstimator,
        X: ArrayLike,
        y: ArrayLike,
        *,
        X_unseen: ArrayLike | None = None,
        y_unseen: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        transformer: BaseEstimator | None = None,
        n_rows: int = 100,
        random_state: RandomState = None,
        ax: AxesOrNone = None,
    ) -> Self:
        """Plot rows drawn from a fitted over-sampler beside real ones.

        Parameters
        ----------
        oversampler : LatentDiffusionOversampler
            A fitted over-sampler with a method `sample`. Of an `LDMLRClassifier`, its
            over-sampler, for which `X` is features.

        X : array-like of shape (n_samples, n_features)
            The rows that it was fitted to.

        y : array-like of shape (n_samples,)
            Their labels.

        X_unseen : array-like of shape (n_unseen_samples, n_features), default=None
            Real rows that it has not seen, to show where new rows should lie.

        y_unseen : array-like of shape (n_unseen_samples,), default=None
            Their labels.

        classes : array-like of at most 7 classes, default=None
            The classes to show; None shows the three rarest ones.

        transformer : transformer, default=None
            Maps rows to two columns; it is fitted to `X` and `y`, unless it is frozen.
            One without a method `transform`, such as `TSNE`, is fitted to all rows
            shown. None: principal components of standardised columns.

        n_rows : int, default=100
            Rows of a class and kind to show at most, and to draw.

        random_state : int, RandomState instance or None, default=None
            Seeds the draw, and the choice of rows.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : FeaturePlaneDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            As in `from_resampled`.
        """
        random_state = check_random_state(random_state)
        oversampler = sampler_of(oversampler, "sample")
        classes = _resolve_classes(classes, y)
        labels = np.repeat(classes, n_rows)
        return cls._from_rows(
            {
                "training": (X, y),
                "generated": (
                    oversampler.sample(labels, random_state=random_state),
                    labels,
                ),
                "unseen": (X_unseen, y_unseen),
            },
            classes,
            transformer,
            n_rows,
            random_state,
            ax,
        )

    @classmethod
    @validate_params({"n_rows": [Interval(Integral, 1, None, closed="left")]})
    def from_resampled(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        X_resampled: ArrayLike,
        y_resampled: ArrayLike,
        *,
        X_unseen: ArrayLike | None = None,
        y_unseen: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        transformer: BaseEstimator | None = None,
        n_rows: int = 100,
        random_state: RandomState = None,
        ax: AxesOrNone = None,
    ) -> Self:
        """Plot what any over-sampler returned beside what it was given.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows given.

        y : array-like of shape (n_samples,)
            Their labels.

        X_resampled : array-like of shape (n_samples_new, n_features)
            The rows returned: those of `X` first, then new ones.

        y_resampled : array-like of shape (n_samples_new,)
            Their labels.

        X_unseen : array-like of shape (n_unseen_samples, n_features), default=None
            Real rows that the over-sampler has not seen.

        y_unseen : array-like of shape (n_unseen_samples,), default=None
            Their labels.

        classes : array-like of at most 7 classes, default=None
            The classes to show; None shows the three rarest ones.

        transformer : transformer, default=None
            Maps rows to two columns; it is fitted to `X` and `y`, unless it is frozen.
            One without a method `transform`, such as `TSNE`, is fitted to all rows
            shown. None: principal components of standardised columns.

        n_rows : int, default=100
            Rows of a class and kind to show at most.

        random_state : int, RandomState instance or None, default=None
            Seeds the choice of rows.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : FeaturePlaneDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If rows and labels do not fit each other, if `X_resampled` does not begin
            with as many rows as `X` has, if there are more than 7 classes or one of
            them is not in `y`, or if the transformer does not return two columns.
        """
        n_given, all_labels = np.size(y), column_or_1d(y_resampled)
        if len(all_labels) < n_given:
            raise ValueError(
                f"y_resampled has {len(all_labels)} labels, fewer than the {n_given} "
                "of y. Expected the rows given, then new ones, as over-samplers "
                "return them."
            )
        return cls._from_rows(
            {
                "training": (X, y),
                "generated": (np.asarray(X_resampled)[n_given:], all_labels[n_given:]),
                "unseen": (X_unseen, y_unseen),
            },
            _resolve_classes(classes, y),
            transformer,
            n_rows,
            check_random_state(random_state),
            ax,
        )

    @classmethod
    def _from_rows(cls, rows, classes, transformer, n_rows, random_state, ax):
        """Choose rows, map them to the plane, and draw; rows: kind -> (X, y)."""
        if (rows["unseen"][0] is None) != (rows["unseen"][1] is None):
            raise ValueError(
                "X_unseen and y_unseen belong together. Give both or neither of them."
            )
        shown, labels = {}, {}
        for kind, (X, y) in rows.items():
            if X is None or len(X) == 0:
                continue
            X, y = check_array(X), column_or_1d(y)
            check_consistent_length(X, y)
            if kind == "training":
                fit_to = X, y
            kept = _some_of_each(y, classes, n_rows, random_state)
            if kind == "training":  # all others are the background
                kept = np.union1d(kept, np.flatnonzero(~np.isin(y, classes)))
            shown[kind], labels[kind] = X[kept], y[kept]
        points = _to_plane(transformer, shown, fit_to)
        return cls(points=points, labels=labels, classes=classes).plot(ax)

    def plot(self, ax: AxesOrNone = None) -> Self:
        """Draw the plane.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : FeaturePlaneDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = resolve_axes(self, ax)
        classes = np.asarray(self.classes)
        others = ~np.isin(self.labels["training"], classes)
        if others.any():
            first, second = self.points["training"][others].T
            ax.scatter(first, second, s=5, color=GREY, label="other classes, training")
        for kind in (kind for kind in KINDS if kind in self.points):
            for class_, colour in zip(classes, COLOURS, strict=False):
                first, second = self.points[kind][self.labels[kind] == class_].T
                style = KINDS[kind]
                if "facecolors" in style:
                    style = {**style, "edgecolors": colour}
                else:
                    style = {**style, "color": colour}
                ax.scatter(first, second, label=f"{literally(class_)}, {kind}", **style)
        ax.set(xticks=[], yticks=[])
        # Beside the axes: inside them it would hide rows.
        ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _resolve_classes(classes, y):
    """Return the classes to show: those given, or the three rarest."""
    known, counts = np.unique(column_or_1d(y), return_counts=True)
    if classes is None:
        return known[np.argsort(counts, kind="stable")[:3]]
    classes = column_or_1d(classes)
    if not 1 <= len(classes) <= len(COLOURS):
        raise ValueError(
            f"Between 1 and {len(COLOURS)} classes can be told apart in one plane. Got "
            f"{len(classes)}."
        )
    unknown = np.setdiff1d(classes, known)
    if len(unknown):
        raise ValueError(
            f"classes has {unknown.tolist()}, which are not in y. Expected some of "
            f"{known[:10].tolist()}."
        )
    return classes


def _some_of_each(y, classes, n_rows, random_state):
    """Return indices of at most n_rows rows of each of the classes."""
    return np.concatenate(
        [
            random_state.permutation(np.flatnonzero(y == class_))[:n_rows]
            for class_ in classes
        ]
    )


def _to_plane(transformer, shown, fit_to):
    """Map the rows of every kind to two columns."""
    if transformer is None:
        transformer = make_pipeline(StandardScaler(), PCA(2))
    else:
        transformer = clone(transformer)
    if hasattr(transformer, "transform"):
        transformer.fit(*fit_to)
        points = {
            kind: np.asarray(transformer.transform(X)) for kind, X in shown.items()
        }
    else:
        together = np.asarray(transformer.fit_transform(np.vstack([*shown.values()])))
        ends = np.cumsum([len(X) for X in shown.values()])
        points = dict(zip(shown, np.split(together, ends[:-1]), strict=True))
    shape = points["training"].shape
    if len(shape) != 2 or shape[1] != 2:
        raise ValueError(
            f"The transformer {type(transformer).__name__} returned an array of shape "
            f"{shape}. Expected two columns, such as those of PCA(2)."
        )
    return points
