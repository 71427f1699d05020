# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The whole of LDMLR as one classifier: encode, over-sample, classify, correct."""

from collections.abc import Mapping, Sequence
from numbers import Real
from os import PathLike
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils._tags import get_tags
from sklearn.utils.metadata_routing import MetadataRouter
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ldmlr_sklearn._documentation import DocumentationLinkMixin
from ldmlr_sklearn._fitting import (
    check_labels,
    check_row_weights,
    class_weights,
    fit_context,
    seeded,
    spawn_seeds,
    unchanged_on_failure,
    validate_data,
)
from ldmlr_sklearn._frames import check_numbers
from ldmlr_sklearn._heads import (
    PULL,
    AnchoredHead,
    fitted_head,
    pull_to_real_rows,
)
from ldmlr_sklearn._label_shift import (
    ESTIMATED_PRIORS,
    check_known_prior,
    estimate_prior,
    exchange_prior,
    own_prior,
    resolve_prior,
)
from ldmlr_sklearn._latent_diffusion_oversampler import LatentDiffusionOversampler
from ldmlr_sklearn._typing import (
    RandomState,
    RowsOrImages,
    TargetPrior,
    Verbose,
    available_if,
)
from ldmlr_sklearn._weighted_parts import routing_of, weight_params, weighted_parts


def _classifier_has(method):
    """Tell `available_if` whether the classifier, fitted or not, has a method."""

    def check(self):
        if self.classifier is None:
            return True
        return hasattr(getattr(self, "classifier_", self.classifier), method)

    return check


class LDMLRClassifier(
    DocumentationLinkMixin, ClassifierMixin, MetaEstimatorMixin, BaseEstimator
):
    """Classify long-tailed data with features that a diffusion model adds.

    The three stages of LDMLR [1]_ in one estimator: encode, add generated features,
    fit a classifier to real and generated ones together. At prediction nothing is
    generated, and the class prior that the classifier has seen is exchanged for
    `target_prior` [2]_.

    Read more in the :ref:`User Guide <classifying>`.

    Parameters
    ----------
    encoder : transformer or None, default=None
        Makes features of `X`, such as `FeatureEncoder`. None: `X` is features.

    oversampler : over-sampler or None, default=None
        Any over-sampler of imbalanced-learn's kind. None:
        `LatentDiffusionOversampler` with its defaults.

    classifier : classifier or None, default=None
        Any classifier of scikit-learn's kind; it sees the columns of a pandas `X` by
        their names. None: softmax regression on
        standardised features, pulled towards `init_head` where there is one, else
        towards the same regression on the real rows, its prior exchanged.

    target_prior : {"uniform", "train", "em", "mapls"}, array-like of shape \
            (n_classes,), dict or None, default="uniform"
        Class frequencies to expect at prediction. "uniform" is what balanced accuracy
        asks for; "train" are those of `y`; an array gives them in the order of
        `classes_`, a dict by class; both are normalised. "em" and "mapls" estimate
        them from the unlabelled rows given to `adapt`; until then they are those of
        `y`. None leaves the classifier's output as it is.

    generated_weight : float, default=1.0
        Weight of a generated row where a real one weighs 1; with `sample_weight` in
        `fit`, where the real rows of its class weigh 1 on average.

    init_head : tuple of (weight, bias) or None, default=None
        Linear head of shapes (n_classes, n_features) and (n_classes,), in the order of
        `classes_`, that was trained with cross-entropy at the class frequencies of
        `y`, such as the last layer of the network that the features come from. The
        default classifier starts from it, with its prior exchanged for
        `effective_prior_`, and is pulled towards it. None: the head of the encoder,
        where that has one for the same classes.

    random_state : int, RandomState instance or None, default=None
        Seeds every encoder, over-sampler and classifier whose own `random_state` is
        None.

    verbose : int, default=0
        Handed to the default over-sampler.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes in sorted order.

    encoder_ : transformer or None
        The fitted encoder.

    oversampler_ : over-sampler
        The fitted over-sampler.

    classifier_ : classifier
        The fitted classifier.

    effective_prior_ : ndarray of shape (n_classes,)
        The class frequencies that the classifier's probabilities are for: its own
        `class_prior_` or `priors_` where it has one, as `HeadClassifier` and
        discriminant analysis do, else those it has seen, n_c + w · m_c over their sum,
        for n_c real rows and m_c generated ones of weight w. Rows with sample weights
        count as often as these say.

    target_prior_ : ndarray of shape (n_classes,)
        The class frequencies that predictions are made for.

    n_features_in_ : int
        Number of columns, where `X` is features.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where `X` is features with names that are all strings.

    See Also
    --------
    FeatureEncoder : Makes features of images.
    LatentDiffusionOversampler : The default over-sampler.

    Notes
    -----
    With p(y | x) from the classifier, π its effective prior and q the target prior,
    predictions follow p'(y | x) ∝ p(y | x) q(y) / π(y). Full balance by generation
    makes π uniform, and then "uniform" changes nothing.

    The correction is as good as the classifier's probabilities are.

    References
    ----------
    .. [1] Han et al. Latent-based diffusion model for long-tailed recognition.
       CVPR workshops 2024.
    .. [2] Saerens, Latinne, Decaestecker. Adjusting the outputs of a classifier to
       new a priori probabilities. Neural Computation 2002.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from ldmlr_sklearn import LatentDiffusionOversampler, LDMLRClassifier
    >>> X, y = make_classification(
    ...     n_samples=200, weights=[0.9], class_sep=2, flip_y=0, random_state=0
    ... )
    >>> sampler = LatentDiffusionOversampler(max_steps=50)
    >>> model = LDMLRClassifier(oversampler=sampler, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    >>> model.effective_prior_
    array([0.5, 0.5])
    """

    classes_: np.ndarray
    encoder_: BaseEstimator | None
    oversampler_: BaseEstimator
    classifier_: BaseEstimator
    effective_prior_: np.ndarray
    target_prior_: np.ndarray
    n_features_in_: int
    feature_names_in_: np.ndarray

    _parameter_constraints: dict = {
        "encoder": [HasMethods(["fit", "transform"]), None],
        "oversampler": [HasMethods(["fit_resample"]), None],
        "classifier": [HasMethods(["fit", "predict"]), None],
        "target_prior": [
            StrOptions({"uniform", "train", *ESTIMATED_PRIORS}),
            "array-like",
            Mapping,
            None,
        ],
        "init_head": [tuple, list, None],
        "generated_weight": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        encoder: BaseEstimator | None = None,
        oversampler: BaseEstimator | None = None,
        classifier: BaseEstimator | None = None,
        *,
        target_prior: TargetPrior | None = "uniform",
        generated_weight: float = 1.0,
        init_head: Sequence[ArrayLike] | None = None,
        random_state: RandomState = None,
        verbose: Verbose = 0,
    ) -> None:
        self.encoder = encoder
        self.oversampler = oversampler
        self.classifier = classifier
        self.target_prior = target_prior
        self.generated_weight = generated_weight
        self.init_head = init_head
        self.random_state = random_state
        self.verbose = verbose

    @fit_context
    def fit(
        self, X: RowsOrImages, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Encode, over-sample and fit the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what the encoder takes
            Features, or images where there is an encoder.

        y : array-like of shape (n_samples,)
            Labels.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, for every part whose method takes them; with metadata
            routing, for those that request them and those left at None. The classifier
            gets the mean weight of the class, times `generated_weight`, for generated
            rows.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If `X`, `y` or the weights are not valid, if `oversampler` does not keep the
            rows it is given, if `target_prior` does not fit the classes, or if it asks
            for a correction that the classifier cannot give.
        """
        with unchanged_on_failure(self):
            return self._fit(X, y, sample_weight)

    def _fit(self, X, y, sample_weight):
        encoder_seed, sampler_seed, classifier_seed = spawn_seeds(self.random_state, 3)
        features, y = self._check(X, y)
        codes, train_counts = self._encode_classes(y)
        weighted = weighted_parts(self, sample_weight)
        if sample_weight is not None:
            sample_weight = check_row_weights(sample_weight, y)
            train_counts = class_weights(sample_weight, codes, self.classes_)
        given = {"sample_weight": sample_weight}
        target_prior = self._resolve_target_prior(train_counts)
        if self.init_head is not None and self.classifier is not None:
            raise ValueError(
                "init_head is for the default classifier, but classifier="
                f"{self.classifier!r} is given. Leave one of them at None."
            )

        if hasattr(self.classifier, "__sklearn_tags__"):
            kind = get_tags(self.classifier).estimator_type
            if kind not in ("classifier", None):
                raise ValueError(
                    f"classifier={self.classifier!r} is a {kind}. Expected a "
                    "classifier."
                )

        self.encoder_ = None
        if self.encoder is not None:
            # What a fit without an encoder left; the encoder has its own.
            for name in ("n_features_in_", "feature_names_in_"):
                vars(self).pop(name, None)
            self.encoder_ = seeded(clone(self.encoder), encoder_seed)
            fit_params = given if "encoder" in weighted else {}
            features = self.encoder_.fit(X, y, **fit_params).transform(X)

        oversampler = self.oversampler
        if oversampler is None:
            oversampler = LatentDiffusionOversampler(verbose=self.verbose)
        self.oversampler_ = seeded(clone(oversampler), sampler_seed)
        head = self._resolve_init_head(np.shape(features)[1])
        real_features = features
        fit_params = given if "oversampler" in weighted else {}
        features, labels = self.oversampler_.fit_resample(features, y, **fit_params)
        if not np.array_equal(labels[: len(y)], y):
            raise ValueError(
                f"{type(self.oversampler_).__name__} has left out rows or changed "
                "their order. Expected an over-sampler, which returns the rows it was "
                "given and new ones after them."
            )
        seen_codes = np.searchsorted(self.classes_, labels)
        weights = np.ones(len(labels))
        if "classifier" in weighted:
            mean = train_counts / np.bincount(codes[sample_weight > 0])
            weights = np.concatenate([sample_weight, mean[seen_codes[len(y) :]]])
        weights[len(y) :] *= self.generated_weight
        seen = np.bincount(seen_codes, weights)
        self.effective_prior_ = seen / seen.sum()

        classifier = self.classifier
        if classifier is None:
            trained_at, alpha = train_counts, PULL
            if head is None:
                of_real = weights[: len(y)]
                head = fitted_head(real_features, y, of_real)
                trained_at = np.bincount(codes, of_real)
                alpha = pull_to_real_rows(*np.shape(real_features))
            shift = np.log(self.effective_prior_)
            shift -= np.log(trained_at / trained_at.sum())
            classifier = AnchoredHead(head[0], head[1] + shift, alpha)
        classifier = seeded(clone(classifier), classifier_seed)
        fit_params = {} if (weights == 1).all() else weight_params(classifier, weights)
        self.target_prior_ = (
            self.effective_prior_ if target_prior is None else target_prior
        )
        if self._corrects() and not hasattr(classifier, "predict_proba"):
            raise ValueError(
                f"target_prior={self.target_prior!r} asks to correct the class prior, "
                f"which takes class probabilities, but {type(classifier).__name__} has "
                "no predict_proba. Take a classifier that has, balance all classes by "
                "sampling_strategy='auto', or set target_prior=None."
            )
        self.classifier_ = classifier.fit(features, labels, **fit_params)
        by_number = np.bincount(seen_codes) / len(seen_codes)
        is_weighted = not np.allclose(self.effective_prior_, by_number)
        self.effective_prior_ = own_prior(self.classifier_, self.effective_prior_)
        if target_prior is None:
            self.target_prior_ = self.effective_prior_
        else:
            check_known_prior(
                self.classifier_,
                self.effective_prior_,
                self.classes_,
                is_weighted=is_weighted,
            )
        return self

    def _check(self, X, y):
        """Return the features, or None where an encoder makes them, and the labels."""
        check_labels(y)
        if self.encoder is not None:
            y = column_or_1d(y, warn=True)
            check_consistent_length(X, y)
            return None, y
        if _holds_images(X):
            raise ValueError(
                "X holds images or paths, or has more than 2 dimensions. Expected "
                "features of shape (n_samples, n_features), or an encoder that "
                "makes them: LDMLRClassifier(encoder=FeatureEncoder(...))."
            )
        check_numbers(X)
        checked, y = validate_data(self, X, y)
        return self._named(X, checked), y

    def _named(self, X, checked):
        """Return a pandas frame as it came: a classifier may choose columns by name."""
        keeps_names = self.classifier is not None and hasattr(X, "iloc")
        return X if keeps_names else checked

    def _encode_classes(self, y):
        """Set `classes_`; return the labels as numbers, and how many each has."""
        check_classification_targets(y)
        self.classes_, codes, counts = np.unique(
            y, return_inverse=True, return_counts=True
        )
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has one class only, {self.classes_.tolist()[0]!r}. A classifier "
                "needs rows of at least two classes."
            )
        return codes, counts

    def get_metadata_routing(self) -> MetadataRouter:
        """Return which parts request sample weights.

        Returns
        -------
        routing : MetadataRouter
            The requests of this estimator and of its parts.
        """
        return routing_of(self)

    def _resolve_target_prior(self, train_counts):
        """Return `target_prior` as frequencies in the order of `classes_`, or None."""
        prior = self.target_prior
        if prior is None:
            return None
        return resolve_prior(prior, self.classes_, train_counts / train_counts.sum())

    def _resolve_init_head(self, n_features):
        """Return weight and bias of the head to start from, or None."""
        head = self.init_head
        if head is None:
            # Not every encoder has a head, and not every head is for these classes.
            classes = getattr(self.encoder_, "classes_", None)
            weight = getattr(self.encoder_, "head_weight_", None)
            if weight is None or not np.array_equal(classes, self.classes_):
                return None
            head = weight, self.encoder_.head_bias_
        shapes = (len(self.classes_), n_features), (len(self.classes_),)
        got = tuple(np.shape(part) for part in head)
        if got != shapes:
            raise ValueError(
                f"init_head has arrays of shapes {got}. Expected (weight, bias) of "
                f"shapes {shapes}: a row for each class, a column for each feature."
            )
        weight, bias = (np.asarray(part, dtype=np.float64) for part in head)
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ValueError(
                "init_head contains NaN or infinity. Expected finite numbers."
            )
        return weight, bias

    def _corrects(self):
        return not np.allclose(self.target_prior_, self.effective_prior_)

    def _log_ratio(self):
        """Return log q(y) − log π(y), of shape (n_classes,)."""
        with np.errstate(divide="ignore"):  # a target of 0 excludes its class
            return np.log(self.target_prior_) - np.log(self.effective_prior_)

    def _features(self, X):
        check_is_fitted(self)
        if self.encoder_ is None:
            return self._named(X, validate_data(self, X, reset=False))
        return self.encoder_.transform(X)

    @available_if(_classifier_has("predict_proba"))
    def adapt(self, X: RowsOrImages) -> Self:
        """Estimate the class frequencies of unlabelled rows, and predict for them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what the encoder takes
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
        features = self._features(X)
        self.target_prior_ = estimate_prior(
            self.classifier_.predict_proba(features),
            self.effective_prior_,
            self.target_prior,
        )
        return self

    def predict(self, X: RowsOrImages) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what the encoder takes
            As in `fit`.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            The most probable class of every row under `target_prior_`.
        """
        features = self._features(X)
        if not self._corrects():
            return self.classifier_.predict(features)
        return self.classes_[self._corrected_proba(features).argmax(axis=1)]

    @available_if(_classifier_has("predict_proba"))
    def predict_proba(self, X: RowsOrImages) -> np.ndarray:
        """Predict class probabilities under `target_prior_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what the encoder takes
            As in `fit`.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        features = self._features(X)
        if not self._corrects():
            return self.classifier_.predict_proba(features)
        return self._corrected_proba(features)

    @available_if(_classifier_has("predict_proba"))
    def predict_log_proba(self, X: RowsOrImages) -> np.ndarray:
        """Predict the logarithm of class probabilities under `target_prior_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what the encoder takes
            As in `fit`.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    @available_if(_classifier_has("decision_function"))
    def decision_function(self, X: RowsOrImages) -> np.ndarray:
        """Return the classifier's scores plus log q(y) − log π(y).

        For scores that are logits, as those of the default head, these are the
        logits under `target_prior_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what the encoder takes
            As in `fit`.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes), or (n_samples,) if binary
            In the order of `classes_`; if binary, those of the second one.
        """
        features = self._features(X)
        scores = self.classifier_.decision_function(features)
        if not self._corrects():
            return scores
        shift = self._log_ratio()
        return scores + (shift if scores.ndim == 2 else shift[1] - shift[0])

    def _corrected_proba(self, features):
        proba = self.classifier_.predict_proba(features)
        return exchange_prior(proba, self.effective_prior_, self.target_prior_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.encoder is not None:
            tags.input_tags = get_tags(self.encoder).input_tags
        return tags


def _holds_images(X):
    """Tell whether X is images or paths: arrays of images, or a list of either."""
    n_dims = getattr(X, "ndim", 1)
    first = next(iter(X), None) if n_dims == 1 and hasattr(X, "__iter__") else None
    return n_dims > 2 or isinstance(first, str | PathLike) or hasattr(first, "getbands")
