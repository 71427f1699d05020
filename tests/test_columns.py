# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Columns of every kind: there and back, and through the over-sampler."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm, rankdata
from sklearn.datasets import load_digits

from ldmlr_sklearn import LatentDiffusionOversampler, _columns
from ldmlr_sklearn._columns import Columns

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def relu(z):
    return np.maximum(z, 0)


def saturated(z):
    return np.clip(0.3 + z / 2, 0, 1)


def with_outlier(z):
    return np.where(np.arange(len(z)) == len(z) // 2, 1e6, z)


def cauchy(z):
    return np.tan(np.pi * (np.argsort(np.argsort(z)) + 0.5) / len(z) - np.pi / 2)


# Every kind of column, made of normal numbers; which of them are ranked.
ORDINARY = {
    "normal": lambda z: z,
    "uniform": lambda z: np.argsort(np.argsort(z)) / len(z),
    "exponential": lambda z: -np.log1p(-(np.argsort(np.argsort(z)) + 0.5) / len(z)),
    "far": lambda z: 1e9 + 1e-3 * z,
    "below zero": lambda z: 5 * z - 50,
    "overflowing below zero": lambda z: np.where(
        z == z.max(), 1.0, 2.5e307 * (np.clip(z, -3, 3) - 3.5)
    ),
    "tiny": lambda z: 1e-30 * z,
    "huge": lambda z: 1e30 * z,
    "overflowing": lambda z: 5e307 * np.clip(z, -3, 3),
    "vanishing": lambda z: 1e-310 * z,
    "few zeros": lambda z: np.where(z < -1.7, 0, z),
    "bool": lambda z: z > 0.5,
    "rare one": lambda z: 1.0 * (z > 2),
    "ordinal": lambda z: np.rint(z),
    "levels": lambda z: np.clip(np.rint(4 * z) / 4, -1, 1),
    "tens": lambda z: 10 * np.rint(z),
    "age": lambda z: np.rint(40 + 15 * z),
    "counts": lambda z: np.floor(np.exp(z - 0.5)),
    "bytes": lambda z: np.clip(100 + 80 * z, 0, 255).astype(np.uint8),
    "half": lambda z: z.astype(np.float16),
    "identifiers": lambda z: 2**60 + np.rint(1e6 * z).astype(np.int64),
    "unsigned": lambda z: np.uint64(2**63) + np.rint(1e6 * abs(z)).astype(np.uint64),
}
RANKED = {
    "log-normal": lambda z: np.exp(3 * z),
    "log-normal over 200 decades": lambda z: np.exp(80 * z),
    "Cauchy": cauchy,
    "outlier": with_outlier,
    "many zeros": lambda z: relu(z),
    "mostly zeros": lambda z: relu(z - 1.5),
    "saturated": saturated,
    "zeros inside": lambda z: np.where(abs(z) < 0.5, 0, z),
    "heavy counts": lambda z: np.floor(np.exp(4 * z)),
    "zeros and an outlier": lambda z: relu(with_outlier(z)),
}
KINDS = {**ORDINARY, **RANKED}


def column(kind, n=500, seed=0):
    z = np.random.default_rng(seed).permutation(
        np.random.default_rng(seed + 1).normal(size=n)
    )
    return np.asarray(KINDS[kind](z))[:, None]


@pytest.mark.parametrize("kind", KINDS)
def test_kind_is_told(kind):
    columns = Columns(column(kind))
    assert columns.ranked.tolist() == [kind in RANKED]
    assert Columns(column(kind, seed=5)).ranked.tolist() == [kind in RANKED]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind, seed):
    X = column(kind, n=(500, 40, 3000)[seed], seed=seed)
    columns = Columns(X)
    Z = columns.transform(X)
    assert Z.dtype == np.float32
    np.testing.assert_allclose(Z.mean(), 0, atol=0.02)
    np.testing.assert_allclose(Z.std(), 1, atol=0.02)
    back = columns.inverse_transform(Z)
    assert back.dtype == X.dtype
    if columns.ranked[0] or columns._levels:
        values, counts = np.unique(X, return_counts=True)
        repeated = np.isin(X, values[counts > 1])
        np.testing.assert_array_equal(back[repeated], X[repeated])
    np.testing.assert_allclose(columns.transform(back), Z, atol=1e-5)
    assert (columns.low <= Z).all() and (Z <= columns.high).all()


@pytest.mark.parametrize("kind", KINDS)
def test_any_row_comes_back_in_range_and_in_order(kind):
    X = column(kind)
    columns = Columns(X)
    Z = np.sort(np.random.default_rng(0).normal(scale=4, size=(2000, 1)), axis=0)
    Z[0], Z[-1] = -1e30, 1e30
    back = columns.inverse_transform(Z.astype(np.float32))
    assert back.min() == X.min() and back.max() == X.max()
    assert (back[1:] >= back[:-1]).all()
    if columns.integer[0]:
        np.testing.assert_array_equal(back, np.rint(back))


@pytest.mark.parametrize("kind", RANKED)
def test_normal_noise_gives_back_the_distribution(kind):
    """Whose quantiles are those of the rows, and whose atoms are as large."""
    X = column(kind)
    columns = Columns(X)
    Z = np.random.default_rng(0).normal(size=(20_000, 1))
    noise = (Z - columns._mean) / columns._scale  # normal before standardisation
    back = columns.inverse_transform(noise.astype(np.float32))
    for atom in (X.min(), 0, X.max()):
        assert (back == atom).mean() == pytest.approx((X == atom).mean(), abs=0.012)
    for share in (0.2, 0.5, 0.8):
        low, high = np.quantile(X, [share - 0.02, share + 0.02])
        assert low <= np.quantile(back, share) <= high


@pytest.mark.parametrize("kind", RANKED)
def test_normal_scores_are_those_of_the_mean_ranks(kind):
    X = column(kind)
    scores = norm.ppf((rankdata(X[:, 0]) - 0.5) / len(X))
    expected = (scores - scores.mean()) / scores.std()
    np.testing.assert_allclose(Columns(X).transform(X)[:, 0], expected, atol=1e-5)


def test_a_column_is_ranked_from_three_interquartile_ranges_on():
    z = norm.ppf((np.arange(1000) + 0.5) / 1000)
    told = []
    for factor in np.linspace(8, 20, 30):
        x = np.where(abs(z) > 2.5, factor * z, z)
        ratio = x.std() / np.subtract(*np.percentile(x, [75, 25]))
        told.append((ratio > 3, Columns(x[:, None]).ranked[0]))
    expected, found = zip(*told, strict=True)
    assert found == expected and len(set(expected)) == 2


@pytest.mark.parametrize(
    ("n_alone", "are_levels"), [(0, True), (40, True), (60, False)]
)
def test_levels_are_told_by_how_few_values_stand_alone(n_alone, are_levels):
    rng = np.random.default_rng(0)
    X = rng.permutation(np.arange(1000) % 20)[:, None] / 7
    X[:n_alone] = rng.uniform(0, 2, size=(n_alone, 1))
    Z = rng.normal(size=(500, 1)).astype(np.float32)
    back = Columns(X).inverse_transform(Z)
    inside = (back > X.min()) & (back < X.max())
    assert np.isin(back[inside], X).all() == are_levels


def test_a_column_that_is_constant_where_it_is_judged_keeps_its_values(monkeypatch):
    monkeypatch.setattr(_columns, "MAX_ROWS", 10)
    X = np.zeros((20, 1))
    X[1] = 5.5  # every other row is judged
    columns = Columns(X)
    np.testing.assert_array_equal(columns.inverse_transform(columns.transform(X)), X)
    noise = np.random.default_rng(0).normal(size=(1000, 1)).astype(np.float32)
    assert (columns.inverse_transform(noise) == 0).mean() > 0.8


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_levels_of_any_size_are_met_in_every_digit(scale):
    rng = np.random.default_rng(1)
    X = scale * rng.choice(rng.normal(size=15), size=(500, 1))
    Z = np.random.default_rng(0).normal(size=(2000, 1)).astype(np.float32)
    assert set(np.unique(Columns(X).inverse_transform(Z))) == set(np.unique(X))


def test_columns_of_every_kind_come_back_from_arrays():
    kinds = [kind for kind in KINDS if column(kind).dtype == np.float64]
    X = np.hstack([column(kind, seed=seed) for seed, kind in enumerate(kinds)])
    columns = Columns(X)
    again = Columns.from_arrays(columns.to_arrays(), X.dtype)
    assert len(columns._levels) > 2 and len(columns._scores) > 2
    np.testing.assert_array_equal(again.transform(X), columns.transform(X))
    Z = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    np.testing.assert_array_equal(
        again.inverse_transform(Z), columns.inverse_transform(Z)
    )


@pytest.mark.parametrize("kind", ["levels", "tens", "bool", "ordinal", "rare one"])
def test_levels_are_met(kind):
    X = column(kind)
    Z = np.random.default_rng(0).normal(scale=3, size=(2000, 1)).astype(np.float32)
    assert set(np.unique(Columns(X).inverse_transform(Z))) == set(np.unique(X))


def test_an_outlier_changes_no_score_but_its_own():
    X = column("normal")
    spoiled = X.copy()
    spoiled[np.argmax(X)] = 1e200
    one, other = Columns(spoiled), Columns(with_outlier(X[:, 0])[:, None])
    assert one.ranked.all() and other.ranked.all()
    milder = spoiled.copy()
    milder[np.argmax(X)] = 1e6
    rest = np.arange(len(X)) != np.argmax(X)
    np.testing.assert_allclose(
        one.transform(spoiled)[rest], Columns(milder).transform(milder)[rest]
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8, bool])
@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (3, 4), (6, 2048)])
def test_few_rows_of_any_dtype(shape, dtype):
    X = (5 * np.random.default_rng(0).normal(size=shape)).astype(np.int64).astype(dtype)
    columns = Columns(X)
    np.testing.assert_array_equal(columns.inverse_transform(columns.transform(X)), X)


def test_constant_columns_stay_so():
    X = np.tile([7.25, 0.0, -1e300, 1e-300, 3.0], (9, 1))
    columns = Columns(X)
    np.testing.assert_array_equal(columns.transform(X), np.zeros(X.shape))
    noise = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    np.testing.assert_array_equal(columns.inverse_transform(noise), X)


def test_a_constant_column_with_a_rounded_mean_stays_so():
    X = np.full((7, 1), 0.1)
    assert X.std() > 0
    columns = Columns(X)
    np.testing.assert_allclose(columns.transform(X), 0, atol=1e-12)
    noise = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    np.testing.assert_array_equal(columns.inverse_transform(noise), X)


def test_rows_of_extended_precision_stay_in_range():
    if np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("here extended precision is double precision")
    thirds = np.longdouble([1, -1, 2, 7]) / 3
    X = np.stack([thirds, -thirds], axis=1)
    noise = np.linspace(-9, 9, 50, dtype=np.float32)[:, None].repeat(2, axis=1)
    back = Columns(X).inverse_transform(noise)
    assert (back >= X.min(axis=0)).all() and (back <= X.max(axis=0)).all()


def test_whole_numbers_beyond_float64_stay_in_range():
    info = np.iinfo(np.int64)
    X = np.array([[info.min, 2**62], [info.max, 2**62 + 1], [5, 2**62 + 2]])
    columns = Columns(X)
    noise = np.linspace(-9, 9, 50, dtype=np.float32)[:, None].repeat(2, axis=1)
    back = columns.inverse_transform(noise)
    np.testing.assert_array_equal(back[[0, -1]], [X.min(0), X.max(0)])
    assert set(back[:, 1]) == set(X[:, 1])


def test_a_wide_column_of_many_rows_keeps_few_values():
    X = np.exp(3 * np.random.default_rng(0).normal(size=(50_000, 1)))
    X[:20_000] = 0
    columns = Columns(X)
    ((values, shares),) = columns._scores.values()
    assert len(values) == len(shares) <= 1100
    back = columns.inverse_transform(columns.transform(X))
    np.testing.assert_array_equal(back == 0, X == 0)
    np.testing.assert_allclose(back, X, rtol=1e-3)
    assert len(pickle.dumps(columns)) < 50_000


@pytest.mark.parametrize(("n_values", "are_levels"), [(1000, True), (1001, False)])
def test_a_thousand_values_may_be_levels(n_values, are_levels):
    X = np.tile(np.random.default_rng(0).normal(size=(n_values, 1)), (3, 1))
    Z = np.random.default_rng(1).normal(size=(2000, 1)).astype(np.float32)
    back = Columns(X).inverse_transform(Z)
    inside = (back > X.min()) & (back < X.max())
    assert np.isin(back[inside], X).all() == are_levels


@pytest.mark.parametrize("scale", [1, 3.7, 1e40])
def test_ordinary_columns_are_only_standardised(scale):
    rng = np.random.default_rng(0)
    for X in (
        rng.normal(size=(300, 20)),
        rng.standard_t(5, size=(300, 20)),
        relu(rng.normal(size=(300, 20, 50))).mean(axis=2),  # pooled features
    ):
        expected = (X - X.mean(axis=0)) / X.std(axis=0)
        np.testing.assert_allclose(Columns(scale * X).transform(scale * X), expected)


def test_digits_are_only_standardised():
    X = load_digits().data
    columns = Columns(X)
    assert not columns.ranked.any()
    deviation = X.std(axis=0)
    expected = (X - X.mean(axis=0)) / np.where(deviation == 0, 1, deviation)
    np.testing.assert_array_equal(columns.transform(X), expected.astype(np.float32))
    np.testing.assert_array_equal(columns.inverse_transform(columns.transform(X)), X)


@pytest.mark.parametrize(
    "file",
    [
        "cifar10_lt_if100_resnet32_features.npz",
        "cifar10_lt_if100_transfer_features.npz",
        "cifar100_lt_if10_resnet32_features.npz",
    ],
)
def test_features_of_networks_are_only_standardised(file):
    if not (DATA / file).exists():
        pytest.skip(f"{file} is not on this machine")
    with np.load(DATA / file) as features:
        X = features["X_train"]
    columns = Columns(X)
    assert not columns.ranked.any() and not columns._levels
    expected = (X - X.mean(axis=0, dtype=float)) / X.std(axis=0, dtype=float)
    np.testing.assert_array_equal(columns.transform(X), expected.astype(np.float32))


# Through the over-sampler.


def table(seed=0):
    """Three classes that differ in every column; a column of each kind."""
    y = np.repeat([0, 1, 2], [300, 120, 60])
    z = np.random.default_rng(seed).normal(size=(len(y), 8)) + 0.5 * y[:, None]
    hot = np.eye(3)[np.clip(np.rint(z[:, 5]), 0, 2).astype(int)]
    ordinary = [z[:, 0], relu(z[:, 1] - 0.3), saturated(z[:, 2] - 0.2)]
    heavy = [with_outlier(z[:, 3]), np.exp(3 * z[:, 4]), np.floor(np.exp(z[:, 6]))]
    return np.column_stack([*ordinary, *heavy, hot, np.full(len(y), 7.25)]), y


@pytest.fixture(scope="module")
def drawn():
    """Rows, labels, and twice 1000 rows of every class."""
    X, y = table()
    sampler = LatentDiffusionOversampler(
        guidance_scale=1.0, max_steps=300, hidden_dim=64, random_state=0
    ).fit(X, y)
    labels = np.repeat([0, 1, 2], 1000)
    assert sampler.ranked_columns_.tolist() == [False, *[True] * 4, *[False] * 5]
    assert sampler.integer_columns_.tolist() == [False] * 5 + [True] * 4 + [False]
    return X, y, sampler.sample(labels, random_state=0), labels


def test_generated_rows_stay_in_range(drawn):
    X, _, rows, _ = drawn
    assert (rows >= X.min(axis=0)).all() and (rows <= X.max(axis=0)).all()
    assert (rows[:, 9] == 7.25).all()
    np.testing.assert_array_equal(rows[:, 5:9], np.rint(rows[:, 5:9]))
    assert set(np.unique(rows[:, 6:9])) == {0, 1}
    assert (rows[:, 6:9].sum(axis=1) == 1).mean() > 0.9


@pytest.mark.parametrize(
    ("place", "atom"), [(1, 0), (2, 0), (2, 1), (5, 0), (6, 1), (7, 1), (8, 1)]
)
def test_shares_of_atoms_are_kept_in_every_class(drawn, place, atom):
    X, y, rows, labels = drawn
    for label in (0, 1, 2):
        real = (X[y == label, place] == atom).mean()
        new = (rows[labels == label, place] == atom).mean()
        assert new == pytest.approx(real, abs=0.12), label


@pytest.mark.parametrize("place", [0, 3, 4])
def test_tails_do_not_ruin_the_middle(drawn, place):
    X, y, rows, labels = drawn
    for label in (0, 1, 2):
        real, new = X[y == label, place], rows[labels == label, place]
        if place == 4:
            real, new = np.log(real) / 3, np.log(new) / 3
        quartiles = np.quantile(real, [0.25, 0.5, 0.75])
        np.testing.assert_allclose(
            np.quantile(new, [0.25, 0.5, 0.75]), quartiles, atol=0.35
        )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64, np.uint64])
def test_dtypes_at_their_limits(dtype):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [60, 8])
    X = rng.normal(size=(68, 6)).clip(-3, 3)
    if dtype in (np.int64, np.uint64):
        info = np.iinfo(dtype)
        X = (info.max // 2 + (info.max // 8 * X).astype(np.int64)).astype(dtype)
        X[:, 0] = info.max - np.arange(68).astype(dtype)
    else:
        X = (X * np.finfo(dtype).max / 1000).astype(dtype)
    X_resampled, _ = LatentDiffusionOversampler(
        max_steps=20, n_inference_steps=3, hidden_dim=32, random_state=0
    ).fit_resample(X, y)
    assert X_resampled.dtype == dtype
    new = X_resampled[len(X) :]
    assert (new >= X.min(axis=0)).all() and (new <= X.max(axis=0)).all()
    assert all(len(np.unique(column)) > 3 for column in new.T)


@pytest.mark.parametrize(
    ("counts", "max_steps"),
    [((200, 5, 2, 1), 30), ((1000, 1), 30), ((3,) * 999 + (4,), 30)],
)
def test_classes_of_few_rows(counts, max_steps):
    y = np.repeat(np.arange(len(counts)), counts)
    X = np.tile(table()[0], (8, 1))[: len(y)]
    X_resampled, y_resampled = LatentDiffusionOversampler(
        max_steps=max_steps, hidden_dim=32, random_state=0
    ).fit_resample(X, y)
    assert np.unique(y_resampled, return_counts=True)[1].tolist() == [
        max(counts)
    ] * len(counts)
    new = X_resampled[len(X) :]
    assert (new >= X.min(axis=0)).all() and (new <= X.max(axis=0)).all()
    spread, spread_new = np.ptp(np.quantile(X, [0.1, 0.9], axis=0), axis=0), new.std(0)
    assert (spread_new[spread > 0] > 0).all()


def test_blocks_of_columns_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 7)) * 10.0 ** np.arange(7)
    X[:, 1], X[:, 2] = cauchy(X[:, 1]), np.rint(X[:, 2])
    X[:, 3] = relu(X[:, 3])
    whole = Columns(X)
    monkeypatch.setattr(_columns, "MAX_NUMBERS", 400)
    parts = Columns(X)
    np.testing.assert_array_equal(parts.transform(X), whole.transform(X))
    np.testing.assert_array_equal(parts.integer, whole.integer)
    np.testing.assert_array_equal(parts.ranked, whole.ranked)
