# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause

import math

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from scipy.stats import ortho_group
from sklearn.covariance import oas

from ldmlr_sklearn.metrics import authenticity, density_coverage, frechet_distance
from ldmlr_sklearn.metrics._fidelity import _frechet_distance, _symmetric_root


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def random_covariance(rng, n_features, rank=None):
    factor = rng.normal(size=(n_features, rank or n_features))
    return factor @ factor.T


def between_gaussians(mean_a, covariance_a, mean_b, covariance_b):
    return _frechet_distance(
        mean_a, _symmetric_root(covariance_a), mean_b, _symmetric_root(covariance_b)
    )


def test_diagonal_gaussians(rng):
    means = rng.normal(size=(2, 6))
    scales = rng.uniform(0, 2, size=(2, 6))
    expected = np.sum((means[0] - means[1]) ** 2) + np.sum((scales[0] - scales[1]) ** 2)
    found = between_gaussians(
        means[0], np.diag(scales[0] ** 2), means[1], np.diag(scales[1] ** 2)
    )
    assert found == pytest.approx(expected)


def test_commuting_covariances(rng):
    axes = ortho_group.rvs(6, random_state=0)
    scales = rng.uniform(0, 2, size=(2, 6))
    first, second = (axes * scale**2 @ axes.T for scale in scales)
    found = between_gaussians(np.zeros(6), first, np.zeros(6), second)
    assert found == pytest.approx(np.sum((scales[0] - scales[1]) ** 2))


def test_equal_covariances_leave_the_means(rng):
    X = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6))
    shift = rng.normal(size=6)
    assert frechet_distance(X, X + shift) == pytest.approx(np.sum(shift**2))


def test_agrees_with_the_matrix_root_of_scipy(rng):
    X_real = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5))
    X_generated = rng.normal(1, size=(40, 5)) @ rng.normal(size=(5, 5))
    means = X_real.mean(axis=0), X_generated.mean(axis=0)
    first, second = oas(X_real)[0], oas(X_generated)[0]
    expected = np.sum((means[0] - means[1]) ** 2) + np.trace(
        first + second - 2 * sqrtm(first @ second).real
    )
    assert frechet_distance(X_real, X_generated) == pytest.approx(expected)


@pytest.mark.parametrize(("rank_a", "rank_b"), [(1, 1), (1, 6), (3, 2), (6, 0)])
def test_covariances_without_full_rank(rng, rank_a, rank_b):
    first = random_covariance(rng, 6, rank_a)
    second = random_covariance(rng, 6, rank_b) if rank_b else np.zeros((6, 6))
    zero = np.zeros(6)
    found = between_gaussians(zero, first, zero, second)
    # A second way: by the eigenvalues of the product, which are those of its root,
    # squared.
    eigenvalues = np.linalg.eigvals(first @ second).real.clip(min=0)
    expected = np.trace(first + second) - 2 * np.sqrt(eigenvalues).sum()
    assert found == pytest.approx(expected, abs=1e-5)
    assert between_gaussians(zero, first, zero, first) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_is_symmetric_and_invariant_under_rotation(rng):
    X_real = rng.normal(size=(30, 5)) * [1, 2, 3, 4, 5]
    X_generated = rng.normal(1, size=(4, 5))
    distance = frechet_distance(X_real, X_generated)
    assert frechet_distance(X_generated, X_real) == pytest.approx(distance)
    rotation = ortho_group.rvs(5, random_state=0)
    rotated = frechet_distance(X_real @ rotation + 7, X_generated @ rotation + 7)
    assert rotated == pytest.approx(distance)
    scaled = frechet_distance(3 * X_real, 3 * X_generated)
    assert scaled == pytest.approx(9 * distance)


def test_frechet_distance_of_the_same_rows_is_not_below_zero(rng):
    for X in rng.normal(size=(30, 40, 5)):
        assert 0 <= frechet_distance(X, X) < 1e-12


def test_frechet_distance_falls_with_fidelity(rng):
    X_real, X_new = rng.normal(size=(2, 300, 8))
    distances = [
        frechet_distance(X_real, X_new * scale + shift)
        for scale, shift in [(1, 0), (0.7, 0), (0.2, 0), (0.2, 2)]
    ]
    assert distances == sorted(distances)
    assert distances[0] < 0.5


def test_shrinkage_takes_bias_where_rows_are_fewer_than_features(rng):
    X_real, X_generated = rng.normal(size=(2, 20, 64))
    roots = [_symmetric_root(np.cov(X, rowvar=False)) for X in (X_real, X_generated)]
    plain = _frechet_distance(
        X_real.mean(axis=0), roots[0], X_generated.mean(axis=0), roots[1]
    )
    assert frechet_distance(X_real, X_generated) < plain / 2


def test_few_rows_and_constant_columns(rng):
    one, other = rng.normal(size=(2, 1, 4))
    assert frechet_distance(one, other) == pytest.approx(np.sum((one - other) ** 2))
    assert frechet_distance(one, one) == 0
    assert frechet_distance(np.repeat(one, 5, axis=0), other) == pytest.approx(
        np.sum((one - other) ** 2)
    )
    assert math.isfinite(frechet_distance(rng.normal(size=(2, 4)), one))
    assert frechet_distance([[0.0], [2.0]], [[1.0], [1.0]]) == pytest.approx(1)


def brute_force(X_real, X_generated, k):
    """The definition of the paper, ball by ball."""
    among, across = cdist(X_real, X_real), cdist(X_real, X_generated)
    inside = np.array(
        [
            [distance <= sorted(row)[k] for distance in distances]
            for row, distances in zip(among, across, strict=True)
        ]
    )
    return inside.sum() / (k * len(X_generated)), inside.any(axis=1).mean()


@pytest.mark.parametrize("n_neighbors", [1, 3, 8])
@pytest.mark.parametrize("n_features", [2, 20])  # below and above 15: tree, brute
def test_density_coverage_agrees_with_the_definition(rng, n_neighbors, n_features):
    X_real = rng.normal(size=(40, n_features))
    X_generated = rng.normal(0.3, 0.8, size=(25, n_features))
    found = density_coverage(X_real, X_generated, n_neighbors=n_neighbors)
    assert found == pytest.approx(brute_force(X_real, X_generated, n_neighbors))
    far = density_coverage(X_real + 1e6, X_generated + 1e6, n_neighbors=n_neighbors)
    assert far == pytest.approx(found)


@pytest.mark.parametrize("n_features", [2, 20])
def test_rows_on_the_surface_of_a_ball_are_inside(rng, n_features):
    X_real = rng.integers(3, size=(40, n_features)).astype(float)
    X_generated = rng.integers(3, size=(40, n_features)).astype(float)
    expected = brute_force(X_real, X_generated, 3)
    # A power of two and an odd factor: squares of the second are rounded.
    for scale in (0.25, 0.1):
        found = density_coverage(scale * X_real, scale * X_generated, n_neighbors=3)
        assert found == pytest.approx(expected)


@pytest.mark.parametrize("size", [1e4, 1e6, 1e8, 1e10])
def test_a_row_far_out_changes_nothing_about_the_others(rng, size):
    X_real, X_generated = rng.normal(size=(2, 100, 3))
    X_real[0] = size
    expected = brute_force(X_real, X_generated, 5)
    assert density_coverage(X_real, X_generated) == pytest.approx(expected)
    assert authenticity(X_real, X_generated) == pytest.approx(
        authenticity(X_real[1:], X_generated)
    )


@pytest.mark.parametrize(("n", "m", "k"), [(100, 100, 5), (100, 40, 3), (20, 60, 2)])
def test_density_coverage_of_one_distribution(rng, n, m, k):
    found = np.mean(
        [
            density_coverage(
                rng.normal(size=(n, 3)), rng.normal(size=(m, 3)), n_neighbors=k
            )
            for _ in range(100)
        ],
        axis=0,
    )
    steps = np.arange(1, k + 1)
    coverage = 1 - np.prod((n - steps) / (n + m - steps))
    assert found == pytest.approx([1, coverage], abs=0.03)


def test_density_coverage_tells_fidelity_from_diversity(rng):
    X_real, X_new = rng.normal(size=(2, 300, 3))
    density, coverage = density_coverage(X_real, 0.1 * X_new)
    assert density > 0.7 and coverage < 0.1
    # Half of the rows fail, the others still are everywhere.
    half = np.where(np.arange(300)[:, None] % 2, X_new, X_new + 50)
    density, coverage = density_coverage(X_real, half)
    assert density == pytest.approx(0.5, abs=0.1) and coverage > 0.8
    # In many dimensions the balls of most rows share the middle.
    density, _ = density_coverage(*(rng.normal(size=(2, 300, 20)) * [[[1]], [[0.5]]]))
    assert density > 1.5
    assert density_coverage(X_real, X_new + 50) == (0, 0)


def test_density_coverage_of_chunks(rng):
    # More than one chunk of 64 MiB: 2 ** 23 distances of 8 bytes fill one.
    X_real, X_generated = rng.normal(size=(3000, 2)), rng.normal(size=(5000, 2))
    density, coverage = density_coverage(X_real, X_generated)
    assert density == pytest.approx(1, abs=0.05)
    assert coverage == pytest.approx(1, abs=0.01)
    halves = [density_coverage(X_real, half)[0] for half in np.split(X_generated, 2)]
    assert np.mean(halves) == pytest.approx(density)


@pytest.mark.parametrize("function", [frechet_distance, density_coverage])
def test_takes_lists_frames_and_integers_and_leaves_them_alone(rng, function):
    X_real, X_generated = rng.integers(5, size=(2, 30, 4))
    X_real.flags.writeable = X_generated.flags.writeable = False
    expected = function(X_real, X_generated)
    assert function(X_real.tolist(), X_generated.tolist()) == expected
    assert function(*map(pd.DataFrame, (X_real, X_generated))) == expected
    floats = X_real.astype(np.float32), X_generated.astype(np.float32)
    assert function(*floats) == expected


@pytest.mark.parametrize("function", [frechet_distance, density_coverage])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"X_generated": np.zeros((9, 3))},
            "same columns, but X_real has 2, X_generated has 3: pass rows of one",
        ),
        ({"X_real": [[0.0, np.nan]] * 9}, "Input X_real contains NaN"),
        ({"X_generated": [[0.0, np.inf]]}, "Input X_generated contains infinity"),
        (
            {"X_real": [[0.0, -1e200]] * 9},
            r"X_real holds numbers up to 1e\+200, ",
        ),
        ({"X_generated": np.zeros((0, 2))}, "Found array with 0 sample"),
        ({"X_real": np.zeros(9)}, "Expected 2D array, got 1D array instead"),
        (
            {"X_real": np.zeros((9, 8, 8))},
            r"X_real must be of shape \(n_samples, n_features\). Got shape "
            r"\(9, 8, 8\): encode images first",
        ),
        ({"X_real": None}, "'X_real' parameter of .* must be an array-like"),
    ],
)
def test_refuses(function, arguments, message):
    arguments = {"X_real": np.zeros((9, 2)), "X_generated": [[0, 0]], **arguments}
    with pytest.raises(ValueError, match=message):
        function(**arguments)


def test_density_coverage_refuses_numbers_of_neighbors():
    X = np.zeros((5, 2))
    with pytest.raises(
        ValueError,
        match=r"more rows than n_neighbors. Got 5 row\(s\) and n_neighbors=5: pass",
    ):
        density_coverage(X, X)
    assert density_coverage(X, X, n_neighbors=4) == (1.25, 1)
    with pytest.raises(ValueError, match="'n_neighbors' parameter of density_cov"):
        density_coverage(X, X, n_neighbors=0)
