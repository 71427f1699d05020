# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from ldmlr_sklearn._class_posterior import ClassPosterior, choose, rows_of_every_class
from ldmlr_sklearn._heads import AnchoredHead


def gaussians(counts, means, seed=0):
    rng = np.random.RandomState(seed)
    codes = np.repeat(np.arange(len(counts)), counts)
    rows = rng.normal(size=(len(codes), 2)) + np.asarray(means, dtype=float)[codes]
    return rows.astype(np.float32), codes


@pytest.mark.parametrize("n_classes", [2, 3])
def test_equals_bayes_rule_for_equally_frequent_classes(n_classes):
    counts = (20_000, 4_000, 1_000)[:n_classes]
    means = [(0, 0), (1.5, 0), (0, 1.5)][:n_classes]
    X, codes = gaussians(counts, means)
    posterior = ClassPosterior(X, codes, np.random.RandomState(0))
    density = np.column_stack([multivariate_normal(m).pdf(X[:2000]) for m in means])
    exact = density / density.sum(axis=1, keepdims=True)
    for code in range(n_classes):
        got = np.exp(posterior.log_proba(X[:2000], np.full(2000, code)))
        # The penalty shrinks the slopes of the rarest class a little.
        np.testing.assert_allclose(got, exact[:, code], atol=0.12)


def test_probabilities_sum_to_one():
    X, codes = gaussians((60, 10, 1), [(0, 0), (2, 0), (0, 2)])
    posterior = ClassPosterior(X, codes, np.random.RandomState(0))
    total = sum(np.exp(posterior.log_proba(X, np.full(71, c))) for c in range(3))
    np.testing.assert_allclose(total, 1, rtol=1e-5)
    # The one row of the last class is its own although the first has sixty.
    own = [posterior.log_proba(X[-1:], np.array([c]))[0] for c in range(3)]
    assert np.argmax(own) == 2


def test_weights_count_within_a_class_alone():
    X, codes = gaussians((60, 30, 20), [(-1, 0.5), (1, 0), (0, 1)])
    weights = np.random.default_rng(0).random(len(codes)) + 0.1
    found, scaled, plain = (
        ClassPosterior(X, codes, np.random.RandomState(0), given)
        for given in (weights, weights * np.array([1, 10, 0.1])[codes], None)
    )
    np.testing.assert_allclose(scaled.weight, found.weight, atol=1e-3)
    np.testing.assert_allclose(scaled.bias, found.bias, atol=1e-3)
    assert np.abs(plain.weight - found.weight).max() > 0.01


@pytest.mark.parametrize("n_classes", [2, 3])
def test_penalty_is_that_of_a_head_pulled_to_zero(n_classes):
    counts = (60, 30, 20)[:n_classes]
    X, codes = gaussians(counts, [(-1, 0.5), (1, 0), (0, 1)][:n_classes])
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    # Of two classes scikit-learn penalises the difference: twice as much.
    alpha = 1e-2 if n_classes == 2 else 5e-3
    head = AnchoredHead(np.zeros((n_classes, 2)), np.zeros(n_classes), alpha=alpha)
    head.fit(X.astype(float), codes)
    bias = head.intercept_ - np.log(np.array(counts) / sum(counts))
    for times in (1, 5):  # it means the same for any number of rows
        posterior = ClassPosterior(
            np.repeat(X, times, axis=0),
            np.repeat(codes, times),
            np.random.RandomState(0),
        )
        np.testing.assert_allclose(posterior.weight, head.coef_, atol=0.02)
        found = posterior.bias - posterior.bias.mean()
        np.testing.assert_allclose(found, bias - bias.mean(), atol=0.02)


def test_rows_of_large_classes_are_left_to_chance():
    counts = np.array([50, 3, 1, 20])
    rng = np.random.RandomState(0)
    drawn = [rows_of_every_class(counts, 40, rng) for _ in range(400)]
    codes = np.repeat(np.arange(4), counts)
    for rows in drawn:
        assert len(np.unique(rows)) == len(rows)
        assert codes[rows].tolist() == [0] * 10 + [1] * 3 + [2] + [3] * 10
    share = np.bincount(np.concatenate(drawn)) / 400
    expected = np.repeat([10 / 50, 1, 1, 10 / 20], counts)
    np.testing.assert_allclose(share, expected, atol=0.1)


def test_two_rows_of_a_class_are_used_however_many_classes_there_are():
    rows = rows_of_every_class(np.array([5] * 30), 40, np.random.RandomState(0))
    assert np.bincount(rows // 5).tolist() == [2] * 30


def test_choice_is_exact_in_number_and_without_replacement():
    rng = np.random.RandomState(0)
    codes = rng.randint(0, 3, 300)
    chosen = choose(rng.normal(size=300), codes, np.array([5, 0, 60]), rng)
    assert len(np.unique(chosen)) == len(chosen) == 65
    assert codes[chosen].tolist() == [0] * 5 + [2] * 60
    few = choose(np.zeros(4), np.array([0, 0, 1, 1]), np.array([1, 2, 0, 0]), rng)
    assert few[1:].tolist() == [2, 3]  # the last classes have no rows at all


def test_where_a_chosen_row_stands_tells_nothing_of_its_weight():
    rng = np.random.RandomState(0)
    codes, weights = np.repeat([0, 1], 4000), rng.normal(size=8000)
    chosen = choose(weights, codes, np.array([2000, 2000]), rng).reshape(2, 2, 1000)
    halves = weights[chosen].mean(axis=2)
    np.testing.assert_allclose(halves[:, 0], halves[:, 1], atol=0.1)


def test_choice_of_one_is_proportional_to_the_weights():
    rng = np.random.RandomState(0)
    weights = np.array([0.6, 0.3, 0.1])
    codes, one = np.zeros(3, dtype=int), np.array([1])
    drawn = [choose(np.log(weights), codes, one, rng)[0] for _ in range(4000)]
    share = np.bincount(drawn, minlength=3) / 4000
    np.testing.assert_allclose(share, weights, atol=0.03)
