# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""How ``accuracy.py`` scores class probabilities, and intervals of differences."""

import numpy as np
from scipy.stats import t as student

from ldmlr_sklearn.metrics import SHOT_GROUPS, shot_accuracy

N_BINS = 15


def balanced_weights(y):
    """Weights of sum 1 by which every class counts alike."""
    counts = np.bincount(y)
    return 1 / (np.count_nonzero(counts) * counts[y])


def calibration_error(proba, y):
    """Expected calibration error of the most probable class, in 15 equal-width bins.

    The mean of |accuracy - confidence| over the bins of the confidence (Guo et al.,
    "On calibration of modern neural networks", ICML 2017), where rows have
    `balanced_weights`: predictions for a uniform prior are judged by one.
    """
    confidence = proba.max(axis=1)
    gap = balanced_weights(y) * ((proba.argmax(axis=1) == y) - confidence)
    # Bins are closed on the right, as in the paper.
    bins = np.clip(np.ceil(confidence * N_BINS).astype(int) - 1, 0, N_BINS - 1)
    return float(np.abs(np.bincount(bins, gap, N_BINS)).sum())


def score(proba, seconds, split):
    """Accuracies in %, log-loss and calibration error, all of them class-balanced."""
    y = split.y_test
    accuracy = shot_accuracy(y, proba.argmax(axis=1), split.y_train)
    own = np.maximum(proba[np.arange(len(y)), y], np.finfo(np.float64).eps)
    scores = {"balanced_accuracy": 100 * accuracy.all}
    scores |= {group: 100 * accuracy[group] for group in SHOT_GROUPS}
    scores["log_loss"] = float(-balanced_weights(y) @ np.log(own))
    scores["calibration_error"] = calibration_error(proba, y)
    scores["seconds"] = seconds
    # JSON has no nan: a group without a class is null.
    return {name: None if np.isnan(v) else round(v, 4) for name, v in scores.items()}


def corrected_interval(differences, test_ratio):
    """Mean and 95 % interval of paired differences over random splits of one data set.

    The splits share rows, so their scores vary together: the variance of the mean is
    (1 / J + n_test / n_train) s² rather than s² / J for J splits, with Student's t of
    J - 1 degrees of freedom (Nadeau, Bengio, "Inference for the generalization error",
    Machine Learning 52, 2003). `test_ratio` is n_test / n_train, with n_train before
    any thinning of the training half. No interval can be had from one split.
    """
    n_splits, mean = len(differences), float(np.mean(differences))
    if n_splits < 2:
        return mean, None, None
    variance = (1 / n_splits + test_ratio) * np.var(differences, ddof=1)
    half = float(student.ppf(0.975, n_splits - 1) * np.sqrt(variance))
    return mean, mean - half, mean + half


def bootstrap_interval(differences, y, n_draws=10_000, seed=0):
    """Mean and 95 % percentile interval of paired differences on one set of test rows.

    `differences` holds, for every row, how much more often one method was right than
    the other over the seeds. Rows are drawn with replacement, class by class (Efron,
    Tibshirani, "An introduction to the bootstrap", 1993, chapters 8 and 13). Drawing
    how often each value occurs is the same and takes less time.
    """
    rng = np.random.default_rng(seed)
    means = []
    for label in np.unique(y):
        values, counts = np.unique(differences[y == label], return_counts=True)
        n_rows = counts.sum()
        drawn = rng.multinomial(n_rows, counts / n_rows, n_draws)
        means.append(drawn @ values / n_rows)
    low, high = np.percentile(np.mean(means, axis=0), [2.5, 97.5])
    return float(balanced_weights(y) @ differences), float(low), float(high)
