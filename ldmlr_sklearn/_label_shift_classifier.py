# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Exchange the class frequencies that any probabilistic classifier predicts for."""

from collections.abc import Mapping
from numbers import Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils._tags import get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ldmlr_sklearn._documentation import DocumentationLinkMixin
from ldmlr_sklearn._fitting import (
    check_labels,
    check_row_weights,
    fit_context,
    unchanged_on_failure,
)
from ldmlr_sklearn._label_shift import (
    ESTIMATED_PRIORS,
    SHRINKAGE,
    check_known_prior,
    estimate_prior,
    exchange_prior,
    own_prior,
    resolve_prior,
)
from ldmlr_sklearn._typing import RowsOrImages, TargetPrior
from ldmlr_sklearn._weighted_parts import weight_params


class LabelShiftClassifier(
    DocumentationLinkMixin, ClassifierMixin, MetaEstimatorMixin, BaseEstimator
):
    """Predict for other class frequencies than a classifier was trained at.

    The frequencies are given, or estimated from unlabelled rows of where the
    predictions are needed.

    Read more in the :ref:`User Guide <label_shift>`.

    Parameters
    ----------
    estimator : classifier
        Any classifier with `predict_proba`. One that is fitted already comes in
        `sklearn.frozen.FrozenEstimator`; give `fit` the rows that it was fitted to.
        One that resamples them, or a pipeline with a sampler, is refused: put this
        class around the classifier alone. Its `class_weight` is allowed for.

    target_prior : {"uniform", "train", "em", "mapls"}, array-like of shape \
            (n_classes,) or dict, default="uniform"
        Class frequencies to predict for. "uniform" is what balanced accuracy asks
        for; an array gives them in the order of `classes_`, a dict by class; both are
        normalised. "em" [1]_ and "mapls" [2]_ estimate them from the rows given to
        `adapt`; until then they are those of training, as for "train".

    shrinkage : float, default=0.1
        1 − λ of "mapls": how far the estimate is pulled towards equal frequencies.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes in sorted order.

    estimator_ : classifier
        The fitted classifier.

    train_prior_ : ndarray of shape (n_classes,)
        The class frequencies that its probabilities are for: its own `target_prior_`,
        `class_prior_` or `priors_` where it has one, else those of `y`, weights
        included.

    target_prior_ : ndarray of shape (n_classes,)
        The class frequencies that predictions are made for.

    n_features_in_ : int
        Number of columns, where the classifier knows it.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where the classifier knows them.

    See Also
    --------
    LDMLRClassifier : Has the same `target_prior`.
    HeadClassifier : Takes the frequencies into account while it trains.

    Notes
    -----
    With p(y | x) of the classifier, π its class frequencies and q those to predict
    for, p'(y | x) ∝ p(y | x) q(y) / π(y). This is exact where only the frequencies
    change and p(x | y) stays, and as good as the probabilities are: calibrate
    classifiers that are not.

    References
    ----------
    .. [1] Saerens, Latinne, Decaestecker. Adjusting the outputs of a classifier to
       new a priori probabilities. Neural Computation 2002.
    .. [2] Ye et al. Label shift estimation for class-imbalance problem: a Bayesian
       approach. WACV 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from ldmlr_sklearn import LabelShiftClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], [900, 100])
    >>> X = rng.normal(size=(1000, 1)) + 4 * y[:, None]
    >>> model = LabelShiftClassifier(LogisticRegression(), "em").fit(X, y)
    >>> model.target_prior_
    array([0.9, 0.1])
    >>> unlabelled = rng.normal(size=(1000, 1)) + 4 * np.repeat([[0], [1]], 500, axis=0)
    >>> model.adapt(unlabelled).target_prior_.round(1)
    array([0.5, 0.5])
    """

    classes_: np.ndarray
    estimator_: BaseEstimator
    train_prior_: np.ndarray
    target_prior_: np.ndarray

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "target_prior": [
            StrOptions({"uniform", "train", *ESTIMATED_PRIORS}),
            "array-like",
            Mapping,
        ],
        "shrinkage": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        estimator: BaseEstimator,
        target_prior: TargetPrior = "uniform",
        *,
        shrinkage: float = SHRINKAGE,
    ) -> None:
        self.estimator = estimator
        self.target_prior = target_prior
        self.shrinkage = shrinkage

    @fit_context
    def fit(
        self, X: RowsOrImages, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the classifier and note the class frequencies.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what the classifier takes
            Rows.

        y : array-like of shape (n_samples,)
            Labels.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights, handed to the classifier if given; of a pipeline, to the last step.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If `target_prior` does not fit the classes, if a label is missing, if the
            classifier resamples its rows, has a `class_weight` in a part of an
            ensemble or beside `sample_weight`, or refuses the rows or their weights.
        """
        with unchanged_on_failure(self):
            check_labels(y)
            estimator, fit_params = clone(self.estimator), {}
            if sample_weight is not None:
                fit_params = weight_params(estimator, sample_weight)
            self.estimator_ = estimator.fit(X, y, **fit_params)
            labels = column_or_1d(y)
            check_classification_targets(labels)
            self.classes_ = self.estimator_.classes_
            found, codes = np.unique(labels, return_inverse=True)
            if not np.array_equal(found, self.classes_):
                raise ValueError(
                    f"y has the classes {found.tolist()}, but the classifier knows "
                    f"{self.classes_.tolist()}. Give the rows that it was fitted to."
                )
            weights = check_row_weights(sample_weight, labels[:, None])
            seen = np.bincount(codes, weights)
            seen = seen / seen.sum()
            self.train_prior_ = own_prior(self.estimator_, seen)
            check_known_prior(
                self.estimator_,
                self.train_prior_,
                self.classes_,
                is_weighted=not np.allclose(seen, np.bincount(codes) / len(codes)),
            )
            self.target_prior_ = resolve_prior(
                self.target_prior, self.classes_, self.train_prior_
            )
        return self

    def adapt(self, X: RowsOrImages) -> Self:
        """Estimate the class frequencies of unlabelled rows, and predict for them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what the classifier takes
            Rows from where predictions are needed.

        Returns
        -------
        self : object
            The classifier, with another `target_prior_`.

        Raises
        ------
        ValueError
            If `target_prior` is neither "em" nor "mapls".
        """
        check_is_fitted(self)
        self.target_prior_ = estimate_prior(
            self.estimator_.predict_proba(X),
            self.train_prior_,
            self.target_prior,
            self.shrinkage,
        )
        return self

    def predict(self, X: RowsOrImages) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what the classifier takes
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            The most probable class of every row under `target_prior_`.
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def predict_proba(self, X: RowsOrImages) -> np.ndarray:
        """Predict class probabilities under `target_prior_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what the classifier takes
            Rows.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        check_is_fitted(self)
        proba = self.estimator_.predict_proba(X)
        return exchange_prior(proba, self.train_prior_, self.target_prior_)

    @property
    def n_features_in_(self) -> int:
        """Number of columns, where the classifier knows it."""
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of the columns, where the classifier knows them."""
        return self.estimator_.feature_names_in_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags
