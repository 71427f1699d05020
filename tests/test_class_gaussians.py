# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian classes of rows: against the sample, scikit-learn and closed forms."""

import numpy as np
import pytest
from sklearn.covariance import OAS

from ldmlr_sklearn import _class_gaussians as module
from ldmlr_sklearn._class_gaussians import class_gaussians


def rows(counts, n_features=4, spread=3.0, seed=0):
    """Return float32 rows of Gaussian classes, sorted, and their codes."""
    rng = np.random.RandomState(seed)
    codes = np.repeat(np.arange(len(counts)), counts)
    centres = spread * rng.normal(size=(len(counts), n_features))
    mix = rng.normal(size=(n_features, n_features))
    X = centres[codes] + rng.normal(size=(len(codes), n_features)) @ mix
    return X.astype(np.float32), codes


def estimated(X, codes, **params):
    params = dict(class_sampling=0.5) | params
    mixture = class_gaussians(X, codes, np.random.RandomState(0), **params)
    return {name: part.numpy().astype(float) for name, part in vars(mixture).items()}


def full(parts):
    """Return the covariance (d, d) that axes and variances stand for."""
    rest = parts["rest"] * np.eye(len(parts["axes"]))
    along = parts["variances"] - parts["rest"]
    return (parts["axes"] * along) @ parts["axes"].T + rest


def test_covariance_is_that_of_scikit_learn_within_classes():
    X, codes = rows([300, 40, 7])
    parts = estimated(X, codes)
    means = np.stack([X[codes == c].mean(axis=0) for c in range(3)])
    residuals = (X - means[codes]) * np.sqrt(347 / 344)
    expected = OAS(assume_centered=True).fit(residuals).covariance_
    np.testing.assert_allclose(full(parts), expected, rtol=1e-3, atol=1e-3)


def test_priors_follow_the_frequencies_with_which_training_draws():
    X, codes = rows([300, 40, 7])
    for power in (0.0, 0.5, 1.0):
        prior = np.exp(estimated(X, codes, class_sampling=power)["log_prior"])
        np.testing.assert_allclose(prior, np.array([300, 40, 7]) ** power, rtol=1e-5)


def test_means_of_small_classes_move_most_towards_the_centre():
    X, codes = rows([300, 40, 1])
    found = estimated(X, codes)["means"]
    means = np.stack([X[codes == c].mean(axis=0) for c in range(3)])
    centre = means.mean(axis=0)
    kept = (found - centre) / (means - centre)  # the same share in every column
    np.testing.assert_allclose(kept, kept[:, :1].repeat(4, axis=1), rtol=1e-3)
    assert 1 > kept[0, 0] > kept[1, 0] > kept[2, 0] > 0
    # b / (b + s / n): the odds of what is kept are proportional to n.
    odds = kept[:, 0] / (1 - kept[:, 0])
    np.testing.assert_allclose(odds / odds[2], [300, 40, 1], rtol=1e-2)


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_what_is_kept_of_the_means_is_their_share_of_the_variance(n_classes):
    rng = np.random.RandomState(0)
    codes = np.repeat(np.arange(n_classes), 4)
    centres = 0.5 * rng.normal(size=(n_classes, 1000))  # 0.25 / (0.25 + 1 / 4)
    X = (centres[codes] + rng.normal(size=(len(codes), 1000))).astype(np.float32)
    found = estimated(X, codes)["means"]
    means = np.stack([X[codes == c].mean(axis=0) for c in range(n_classes)])
    kept = (found - means.mean(axis=0)).std() / (means - means.mean(axis=0)).std()
    assert kept == pytest.approx(0.5, abs=0.02)


def test_classes_that_do_not_differ_have_one_mean():
    X, codes = rows([3] * 40, n_features=2, spread=0.0)
    found = estimated(X, codes)["means"]
    raw = np.stack([X[codes == c].mean(axis=0) for c in range(40)])
    assert found.std(axis=0).max() < 0.5 * raw.std(axis=0).min()


def test_a_weight_counts_within_its_class_as_so_many_rows():
    X, codes = rows([400, 300])
    weights = np.random.RandomState(1).randint(1, 5, size=len(X)).astype(float)
    repeated = np.repeat(np.arange(len(X)), weights.astype(int))
    found = estimated(X, codes, sample_weight=weights)
    expected = estimated(X[repeated], codes[repeated])
    np.testing.assert_allclose(found["means"], expected["means"], atol=0.02)
    np.testing.assert_allclose(full(found), full(expected), rtol=0.02, atol=0.02)
    scaled = estimated(X, codes, sample_weight=weights * np.where(codes, 8.0, 0.5))
    np.testing.assert_allclose(scaled["means"], found["means"], rtol=1e-4)


def test_wide_rows_keep_their_largest_axes_and_all_of_their_variance(monkeypatch):
    X, codes = rows([200, 50], n_features=12)
    whole = estimated(X, codes)
    monkeypatch.setattr(module, "MAX_AXES", 3)
    parts = estimated(X, codes)
    assert parts["axes"].shape == (12, 3)
    np.testing.assert_allclose(parts["variances"], whole["variances"][:3], rtol=1e-4)
    np.testing.assert_allclose(np.trace(full(parts)), np.trace(full(whole)), rtol=1e-4)


def test_large_classes_are_told_from_some_of_their_rows(monkeypatch):
    X, codes = rows([5000, 20])
    monkeypatch.setattr(module, "MAX_ROWS", 1000)
    some = estimated(X, codes)
    np.testing.assert_allclose(
        np.exp(some["log_prior"]), np.sqrt([5000, 20]), rtol=1e-5
    )
    np.testing.assert_allclose(full(some), np.cov(X[:5000].T), rtol=0.3, atol=0.5)


@pytest.mark.parametrize("counts", [[1, 1], [2, 1], [1] * 5])
@pytest.mark.parametrize("n_features", [1, 6])
def test_few_rows_give_finite_parts(counts, n_features):
    parts = estimated(*rows(counts, n_features))
    assert all(np.isfinite(part).all() for part in parts.values())
    assert (parts["variances"] > 0).all() and parts["rest"] > 0


def test_columns_that_do_not_vary_within_classes_keep_a_variance():
    X, codes = rows([30, 5])
    X[:, 0] = codes
    X[:, 1] = 0
    assert np.linalg.eigvalsh(full(estimated(X, codes))).min() >= 0.9e-3
