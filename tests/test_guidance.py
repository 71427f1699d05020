# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The recall that guidance follows: against closed forms and counted rows."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import NearestCentroid

from ldmlr_sklearn import LatentDiffusionOversampler
from ldmlr_sklearn import _guidance as module
from ldmlr_sklearn._guidance import cross_validated_recall, guidance_from_recall


def recall_of(X, counts, seed=0):
    codes = np.repeat(np.arange(len(counts)), counts)
    X = np.asarray(X, dtype=np.float32)
    return cross_validated_recall(
        X, codes, np.array(counts), np.random.RandomState(seed)
    )


def places(counts, strayed=(), seed=0):
    """Return rows in one place a class, but for some that lie where class 0 lies."""
    centres = np.array([[0, 0], [10, 0], [0, 10], [50, 50]], dtype=float)
    X = centres[np.repeat(np.arange(len(counts)), counts)]
    starts = np.cumsum(counts) - counts
    for code, n_rows in strayed:
        X[starts[code] : starts[code] + n_rows] = centres[0]
    return X + 1e-3 * np.random.RandomState(seed).normal(size=X.shape)


@pytest.mark.parametrize("distance", [1.0, 2.0, 3.0])
def test_recall_of_two_gaussians_is_that_of_their_mahalanobis_distance(distance):
    counts = (6000, 4000)
    covariance = np.array([[1, 0.95, 0], [0.95, 1, 0], [0, 0, 9]])
    shift = np.array([1.0, 0.5, 0.5])
    shift *= distance / np.sqrt(shift @ np.linalg.solve(covariance, shift))
    rng = np.random.RandomState(0)
    X = rng.normal(size=(sum(counts), 3)) @ np.linalg.cholesky(covariance).T
    X[counts[0] :] += shift
    expected = norm.cdf(distance / 2)
    # Four standard errors; where the rows lie does not matter.
    assert recall_of(X, counts) == pytest.approx(expected, abs=0.03)
    assert recall_of(X + np.eye(3)[0] * 5, counts) == pytest.approx(expected, abs=0.03)


def test_recall_is_that_of_rows_that_were_held_out():
    rng = np.random.RandomState(0)
    # More columns than rows tell any rows apart that were learnt.
    found = np.mean([recall_of(rng.normal(size=(60, 200)), (30, 30)) for _ in range(9)])
    assert found == pytest.approx(0.5, abs=0.1)


def test_three_quarters_of_the_rows_learn_and_one_is_recognised():
    # With the same variance in all directions the metric is that of the nearest mean,
    # and means of six rows are much better than those of two.
    codes = np.repeat([0, 1], 8)
    rng, found, nearest_mean = np.random.RandomState(0), [], []
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    for seed in range(60):
        X = rng.normal(size=(16, 20))
        X[codes == 1, 0] += 3.0
        found.append(recall_of(X, (8, 8), seed))
        predicted = cross_val_predict(NearestCentroid(), X, codes, cv=folds)
        nearest_mean.append(np.mean(predicted == codes))
    assert np.mean(found) == pytest.approx(np.mean(nearest_mean), abs=0.03)


def test_recalls_count_by_the_rows_that_a_class_lacks():
    X = places((100, 60, 40), strayed=[(2, 10)])
    # Recalls 1, 1 and 30 / 40; 0, 40 and 60 rows are lacking.
    assert recall_of(X, (100, 60, 40)) == pytest.approx((40 + 0.75 * 60) / 100)
    # A class of one row cannot be tested.
    X = places((100, 60, 40, 1), strayed=[(2, 10)])
    assert recall_of(X, (100, 60, 40, 1)) == pytest.approx((40 + 0.75 * 60) / 100)


def test_recalls_of_equal_classes_count_alike():
    X = places((40, 40, 40), strayed=[(2, 10)])
    assert recall_of(X, (40, 40, 40)) == pytest.approx((1 + 1 + 0.75) / 3)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((4, 3), 0.5), ((4, 4), 1.0), ((6, 2), 1.0), ((7, 1), 1.0)],
)
def test_less_than_eight_rows_tell_nothing(counts, expected):
    assert recall_of(places(counts), counts) == expected


def test_only_classes_of_one_row_tell_nothing():
    X = np.random.RandomState(0).normal(size=(20, 3))
    assert recall_of(X, (1,) * 20) == 0.5


def test_random_state_deals_the_rows():
    X = np.random.RandomState(0).normal(size=(300, 3))
    found = {seed: recall_of(X, (200, 100), seed) for seed in range(6)}
    assert len(set(found.values())) > 2
    assert recall_of(X, (200, 100), 3) == found[3]


@pytest.mark.parametrize(("most", "expected"), [(100, 80), (40, 40), (10, 16)])
def test_large_classes_are_judged_by_some_of_their_rows(monkeypatch, most, expected):
    tested = []

    def nearest(X, codes, X_new):
        tested.append(len(X_new))
        return np.zeros(len(X_new), dtype=int)

    monkeypatch.setattr(module, "_nearest_class", nearest)
    monkeypatch.setattr(module, "MAX_ROWS", most)
    recall_of(np.zeros((80, 2)), (50, 30))
    assert sum(tested) == expected
    assert max(tested) - min(tested) <= 2  # one of each class


@pytest.mark.parametrize(
    ("recall", "scale"), [(1.0, 0.35), (0.8, 0.5), (0.5, 0.725), (2 / 15, 1), (0, 1)]
)
def test_guidance_falls_from_one_with_the_recall(recall, scale):
    assert guidance_from_recall(recall) == pytest.approx(scale)


@pytest.mark.parametrize("distance", [0.5, 6.0])
def test_the_oversampler_follows_its_recall(distance):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [60, 30])
    X = rng.normal(size=(90, 3)) + distance * y[:, None]
    sampler = LatentDiffusionOversampler(max_steps=0, random_state=0).fit(X, y)
    found = sampler.sample([0, 1] * 5, random_state=0)
    sampler.set_params(guidance_scale=guidance_from_recall(sampler.expected_recall_))
    np.testing.assert_array_equal(sampler.sample([0, 1] * 5, random_state=0), found)
    assert abs(sampler.expected_recall_ - norm.cdf(distance * 3**0.5 / 2)) < 0.15
