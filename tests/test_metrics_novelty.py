# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ldmlr_sklearn.metrics import authenticity, dcr_ratio_share


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def interpolated(rng, X, n_samples):
    """What SMOTE does: a row between a row and its nearest neighbour."""
    distances = cdist(X, X) + np.diag(np.full(len(X), np.inf))
    start = rng.integers(len(X), size=n_samples)
    end = distances.argmin(axis=1)[start]
    return X[start] + rng.random((n_samples, 1)) * (X[end] - X[start])


def copied(rng, X, n_samples, noise):
    start = rng.integers(len(X), size=n_samples)
    return X[start] + noise * rng.normal(size=(n_samples, X.shape[1]))


@pytest.mark.parametrize("n_features", [2, 20])  # below and above 15: tree, brute
def test_authenticity_agrees_with_the_definition(rng, n_features):
    X_train, X_generated = rng.normal(size=(2, 50, n_features))
    across, among = cdist(X_generated, X_train), cdist(X_train, X_train)
    authentic = [
        distances.min() > sorted(among[distances.argmin()])[1] for distances in across
    ]
    assert authenticity(X_train, X_generated) == np.mean(authentic)
    assert authenticity(X_train + 1e6, X_generated + 1e6) == np.mean(authentic)


def test_authenticity_of_one_distribution(rng):
    four = rng.normal(size=(2, 1000, 4))
    many = rng.normal(size=(2, 1000, 64))
    assert authenticity(*four) == pytest.approx(0.5, abs=0.1)
    assert authenticity(*many) == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("n_features", [2, 20])
def test_copies_are_not_authentic(rng, n_features):
    X_train = rng.normal(size=(100, n_features))
    assert authenticity(X_train, X_train) == 0
    assert authenticity(X_train, copied(rng, X_train, 500, 1e-6)) == 0
    # A row that occurs twice in training has a neighbour at no distance.
    assert authenticity(np.tile(X_train, (2, 1)), X_train) == 0


def test_any_copies_are_told_from_new_rows(rng):
    X_train, X_new, X_held_out = rng.normal(size=(3, 300, 8))
    generated = {
        "copied": copied(rng, X_train, 300, 0),
        "jittered": copied(rng, X_train, 300, 0.01),
        "interpolated": interpolated(rng, X_train, 300),
        "new": X_new,
    }
    scores = {
        name: (authenticity(X_train, X), *dcr_ratio_share(X_train, X, X_held_out))
        for name, X in generated.items()
    }
    authentic, ratio, share = (
        dict(zip(scores, column, strict=True))
        for column in zip(*scores.values(), strict=True)
    )
    assert authentic["copied"] == authentic["jittered"] == 0
    assert authentic["interpolated"] < 0.1 < 0.5 < authentic["new"]
    assert ratio["copied"] == 0
    assert 0 < ratio["jittered"] < 0.05
    assert 0.1 < ratio["interpolated"] < 0.7
    assert ratio["new"] == pytest.approx(1, abs=0.1)
    assert share["copied"] == share["jittered"] == 1
    assert 0.8 < share["interpolated"] < 1
    assert share["new"] == pytest.approx(0.5, abs=0.1)


def test_share_sees_through_noise_and_through_narrow_rows(rng):
    noisy, narrow = [], []
    for _ in range(20):
        X_train, X_new, X_held_out = rng.normal(size=(3, 100, 20))
        copies = copied(rng, X_train, 100, 0.8)
        noisy.append(dcr_ratio_share(X_train, copies, X_held_out))
        narrow.append(dcr_ratio_share(X_train, 0.5 * X_new, X_held_out))
    ratio, share = np.mean(noisy, axis=0)
    assert ratio > 0.8 and share > 0.9
    ratio, share = np.mean(narrow, axis=0)
    assert ratio < 0.8 and share == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("n_train", "n_held_out"), [(5, 50), (50, 50), (500, 20)])
def test_dcr_does_not_depend_on_the_numbers_of_rows(rng, n_train, n_held_out):
    scores = []
    for _ in range(100):
        X_train, X_new, X_held_out = (
            rng.normal(size=(n, 4)) for n in (n_train, 200, n_held_out)
        )
        scores.append(dcr_ratio_share(X_train, X_new, X_held_out))
        copies = X_train[rng.integers(n_train, size=200)]
        assert dcr_ratio_share(X_train, copies, X_held_out) == (0, 1)
    assert np.mean(scores, axis=0) == pytest.approx([1, 0.5], abs=0.08)


def test_share_is_that_of_the_literature_at_equal_numbers(rng):
    X_train, X_held_out = rng.normal(size=(2, 40, 3))
    X_generated = rng.normal(0.2, size=(60, 3))
    to_train = cdist(X_generated, X_train).min(axis=1)
    closer = to_train < cdist(X_generated, X_held_out).min(axis=1)
    ratio, share = dcr_ratio_share(X_train, X_generated, X_held_out)
    assert share == pytest.approx(closer.mean())
    expected = np.median(cdist(X_held_out, X_train).min(axis=1))
    assert ratio == pytest.approx(np.median(to_train) / expected)


def test_rows_at_equal_distances_speak_for_neither_side(rng):
    X = rng.integers(2, size=(30, 3)).astype(float)
    _, share = dcr_ratio_share(np.vstack([X, X]), X, X)
    assert share == pytest.approx(0.5)


def test_single_rows_and_unseen_rows_that_are_not_unseen():
    assert dcr_ratio_share([[0.0]], [[0.0]], [[1.0]]) == (0, 1)
    assert dcr_ratio_share([[0.0]], [[2.0]], [[1.0]]) == (2, 0)
    ratio, share = dcr_ratio_share([[0.0]], [[0.0]], [[0.0]])
    assert math.isnan(ratio) and share == 0.5
    assert dcr_ratio_share([[0.0]], [[1.0]], [[0.0]]) == (math.inf, 0.5)
    assert authenticity([[0.0], [1.0]], [[3.0]]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"X_train": np.zeros((4, 3))},
            "X_train has 3, X_generated has 2, X_held_out has 2: pass rows of one",
        ),
        ({"X_train": [[0, np.nan]]}, "Input X_train contains NaN"),
        ({"X_generated": [[0, np.nan]]}, "Input X_generated contains NaN"),
        ({"X_held_out": [[0, np.inf]]}, "Input X_held_out contains infinity"),
        ({"X_held_out": np.zeros((1, 2, 2))}, "encode images first"),
        ({"X_held_out": None}, "'X_held_out' parameter of dcr_ratio_share must be"),
    ],
)
def test_dcr_ratio_share_refuses(arguments, message):
    rows = {name: [[0.0, 1.0]] for name in ("X_train", "X_generated", "X_held_out")}
    with pytest.raises(ValueError, match=message):
        dcr_ratio_share(**{**rows, **arguments})


@pytest.mark.parametrize(
    ("X_train", "message"),
    [
        ([[0, 1]], "X_train must have at least 2 rows. Got 1: a single row has no"),
        ([[0], [1]], "X_train has 1, X_generated has 2"),
        ([[0, 1], [0, np.nan]], "Input X_train contains NaN"),
        ("rows", "'X_train' parameter of authenticity must be an array-like"),
    ],
)
def test_authenticity_refuses(X_train, message):
    with pytest.raises(ValueError, match=message):
        authenticity(X_train, [[0.0, 1.0]])
