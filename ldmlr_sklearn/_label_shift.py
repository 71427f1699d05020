# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Class frequencies: given, estimated from unlabelled rows, and exchanged.

References
----------
.. [1] Saerens, Latinne, Decaestecker. Adjusting the outputs of a classifier to new a
   priori probabilities. Neural Computation 2002.
.. [2] Ye et al. Label shift estimation for class-imbalance problem: a Bayesian
   approach. WACV 2024.
"""

from collections.abc import Mapping

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, NuSVC

ESTIMATED_PRIORS = ("em", "mapls")
# 1 − λ of MAPLS.
SHRINKAGE = 0.1
_MAX_ITERATIONS = 10_000
_TOLERANCE = 1e-8  # largest change of a frequency in one step


def resolve_prior(prior, classes, train_prior):
    """Return class frequencies in the order of the classes.

    Parameters
    ----------
    prior : {"uniform", "train", "em", "mapls"}, array-like or mapping
        Frequencies that are still to be estimated start as those of training.

    classes : ndarray of shape (n_classes,)

    train_prior : ndarray of shape (n_classes,)

    Returns
    -------
    ndarray of shape (n_classes,)
        Sums to 1.
    """
    if isinstance(prior, str):
        prior = np.ones(len(classes)) if prior == "uniform" else train_prior
    elif isinstance(prior, Mapping) or hasattr(prior, "to_dict"):
        prior = dict(prior.items())  # a pandas Series is one too, whatever its order
        classes = classes.tolist()
        if set(prior) != set(classes):
            raise ValueError(
                f"target_prior has the classes {list(prior)}, expected one entry "
                f"for each of {classes}."
            )
        prior = [prior[label] for label in classes]
    prior = np.asarray(prior, dtype=np.float64)
    if prior.shape != (len(train_prior),):
        raise ValueError(
            f"target_prior has shape {prior.shape}, expected one number for each "
            f"of the {len(train_prior)} classes."
        )
    if not (np.isfinite(prior).all() and (prior >= 0).all() and prior.any()):
        raise ValueError(
            f"target_prior={prior.tolist()} is not a distribution. Expected finite "
            "numbers, none below 0, with a sum above 0."
        )
    prior = prior / prior.max()  # whose sum is finite
    return prior / prior.sum()


def own_prior(classifier, default):
    """Return the class frequencies that a fitted classifier's probabilities are for.

    Parameters
    ----------
    classifier : classifier
        Looked at for `target_prior_`, `class_prior_`, `priors_`, which is what
        discriminant analysis calls it, `class_log_prior_` of naive Bayes, and
        `class_weight`, through pipelines, searches and frozen estimators.

    default : ndarray of shape (n_classes,)
        The frequencies in the rows that it was fitted to.

    Returns
    -------
    ndarray of shape (n_classes,)
        See `check_known_prior` for what they cannot be told of.
    """
    *_, classifier = _layers(classifier)
    for name in ("target_prior_", "class_prior_", "priors_"):
        prior = getattr(classifier, name, None)
        if np.shape(prior) == np.shape(default):
            return prior
    log_prior = getattr(classifier, "class_log_prior_", None)
    if np.shape(log_prior) == np.shape(default):
        return np.exp(log_prior)
    if _is_calibrated(classifier):
        return default
    class_weight = getattr(classifier, "class_weight", None)
    if isinstance(class_weight, str):  # "balanced", or balanced in every tree
        return np.full(len(default), 1 / len(default))
    if isinstance(class_weight, Mapping):
        labels = classifier.classes_.tolist()
        weighted = default * [class_weight.get(label, 1) for label in labels]
        return weighted / weighted.sum()
    return default


def _is_calibrated(classifier):
    """Tell whether probabilities were fitted to the rows whatever the class weights."""
    if isinstance(classifier, CalibratedClassifierCV):
        return classifier.method in ("sigmoid", "isotonic")
    return isinstance(classifier, SVC | NuSVC)


def _layers(classifier):
    """Yield a classifier, what it wraps, and what that wraps in turn."""
    yield classifier
    inner = None
    if isinstance(classifier, Pipeline):
        yield from (step for _, step in classifier.steps[:-1])
        inner = classifier.steps[-1][1]
    elif isinstance(classifier, FrozenEstimator):
        inner = classifier.estimator
    elif isinstance(classifier, FixedThresholdClassifier | TunedThresholdClassifierCV):
        inner = classifier.estimator_
    elif isinstance(classifier, StackingClassifier):
        inner = classifier.final_estimator_
    elif hasattr(classifier, "best_estimator_"):
        inner = classifier.best_estimator_
    if inner is not None:
        yield from _layers(inner)


def check_known_prior(classifier, prior, classes, *, is_weighted):
    """Refuse to exchange a prior that is not known, or that lacks a class.

    Parameters
    ----------
    classifier : classifier
        Fitted.

    prior : ndarray of shape (n_classes,)
        That of its probabilities, as far as `own_prior` can tell.

    classes : ndarray of shape (n_classes,)

    is_weighted : bool
        Whether weights of rows changed the class frequencies.

    Raises
    ------
    ValueError
        If a part of the classifier resamples its rows, or has a `class_weight` of
        unknown effect, or if an entry of `prior` is 0.
    """
    for part in [*_layers(classifier), *_parts_within(classifier)]:
        resamples = hasattr(part, "fit_resample") or hasattr(part, "sampling_strategy")
        if resamples:
            raise ValueError(
                f"{type(part).__name__} resamples the rows that the classifier learns "
                "from, so that its class frequencies are not known and cannot be "
                "exchanged. Correct the classifier alone, as in make_pipeline(sampler, "
                "LabelShiftClassifier(classifier)), or leave the correction out."
            )
    _check_class_weights(classifier, is_weighted)
    if (prior == 0).any():
        absent = classes[prior == 0].tolist()
        raise ValueError(
            f"The classes {absent} have the frequency 0 in training, which no "
            "exchange can raise. Leave their rows out, or give them a weight "
            "above 0."
        )


def _parts_within(classifier):
    """Return the parameters of what a classifier ends in, such as a bagged pipeline."""
    *_, classifier = _layers(classifier)
    if _is_calibrated(classifier) or not hasattr(classifier, "get_params"):
        return []
    return classifier.get_params().values()


def _check_class_weights(classifier, is_weighted):
    """Refuse weights of classes of which `own_prior` does not know what they do."""
    *_, classifier = _layers(classifier)
    if _is_calibrated(classifier) or not hasattr(classifier, "get_params"):
        return
    for name, value in classifier.get_params().items():
        within = name.endswith("__class_weight") and value is not None
        balanced = name == "class_weight" and isinstance(value, str)
        if within or (balanced and is_weighted):
            beside = "" if within else ", beside weights of rows"
            raise ValueError(
                f"{type(classifier).__name__} has {name}={value!r}{beside}: for which "
                "class frequencies its probabilities are is not known, so that these "
                f"cannot be exchanged. Set {name}=None, or leave the correction out."
            )


def exchange_prior(proba, prior, target_prior):
    """Return p(y | x) q(y) / π(y), normalised [1]_.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        p(y | x).

    prior, target_prior : ndarray of shape (n_classes,)
        π and q; no π is 0.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        A row whose classes are all excluded by q gets q.
    """
    weighted = proba * (target_prior / prior)
    total = weighted.sum(axis=1, keepdims=True)
    safe = np.where(total == 0, 1, total)
    return np.where(total == 0, target_prior, weighted / safe)


def estimate_prior(proba, prior, method, shrinkage=SHRINKAGE):
    """Estimate the class frequencies of unlabelled rows from predictions for them.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        p(y | x) at the frequencies `prior`.

    prior : ndarray of shape (n_classes,)
        π.

    method : {"em", "mapls"}
        "em" iterates q ← mean_i p_q(y | x_i) to the maximum of the likelihood [1]_;
        "mapls" iterates q ← λ mean_i p_q(y | x_i) + (1 − λ) / K [2]_.

    shrinkage : float, default=0.1
        1 − λ.

    Returns
    -------
    ndarray of shape (n_classes,)

    Raises
    ------
    ValueError
        If the method is neither of the two, but frequencies that are given.
    """
    if not (isinstance(method, str) and method in ESTIMATED_PRIORS):
        raise ValueError(
            f"adapt estimates the class frequencies, but target_prior={method!r} gives "
            "them. Set it to 'em' or 'mapls'."
        )
    kept = 1.0 if method == "em" else 1.0 - shrinkage
    ratio = proba / prior  # proportional to p(x | y), row by row
    found = prior
    for _ in range(_MAX_ITERATIONS):
        joint = ratio * found  # (n, K)
        mean = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
        updated = kept * mean + (1 - kept) / len(prior)
        change = np.abs(updated - found).max()
        found = updated
        if change < _TOLERANCE:
            break
    return found / found.sum()
