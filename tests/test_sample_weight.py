# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What weights of rows do to training, and which weights new rows get."""

import numpy as np
import pytest
import torch
from imblearn.pipeline import make_pipeline
from sklearn import config_context
from sklearn.linear_model import LogisticRegression

from ldmlr_sklearn import LatentDiffusionOversampler
from ldmlr_sklearn._class_gaussians import class_gaussians
from ldmlr_sklearn._class_posterior import ClassPosterior
from ldmlr_sklearn.diffusion._training import draw_rows, weight_edges


def quick(**params):
    params = dict(max_steps=20, n_inference_steps=3, hidden_dim=16) | params
    return LatentDiffusionOversampler(random_state=0, **params)


def data(counts=(60, 20, 6), n_features=4):
    y = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).normal(size=(len(y), n_features)) + y[:, None], y


def test_rows_are_drawn_in_proportion_to_their_weight():
    sizes, weights = torch.tensor([3, 1, 4]), torch.tensor([1, 2, 3, 5, 1, 0.5, 8, 0.5])
    generator = torch.Generator().manual_seed(0)
    starts, probability = sizes.cumsum(0) - sizes, torch.tensor([2.0, 1.0, 1.0])
    edges = weight_edges(weights, sizes)
    rows, labels = draw_rows(starts, sizes, probability, 100_000, generator, edges)
    share = np.bincount(rows, minlength=8) / len(rows)
    expected = [1 / 12, 2 / 12, 3 / 12, 1 / 4, 1 / 40, 0.5 / 40, 8 / 40, 0.5 / 40]
    np.testing.assert_allclose(share, expected, atol=5e-3)
    np.testing.assert_array_equal(labels, np.repeat([0, 1, 2], sizes)[rows])


def test_equal_weights_change_nothing():
    X, y = data()
    plain = quick().fit(X, y)
    weighted = quick().fit(X, y, sample_weight=np.full(len(y), 3.0))
    np.testing.assert_allclose(weighted.loss_curve_, plain.loss_curve_, rtol=1e-5)
    np.testing.assert_allclose(
        weighted.sample([0, 1, 2], random_state=0),
        plain.sample([0, 1, 2], random_state=0),
        rtol=1e-4,
    )


@pytest.mark.parametrize("max_steps", [0, 20])
def test_weights_belong_to_their_rows_in_any_order(max_steps):
    X, y = data()
    weights = np.random.default_rng(1).uniform(0.1, 1, len(y))
    mixed = np.random.default_rng(2).permutation(y)
    order = np.empty(len(y), dtype=int)  # mixes the classes, not the rows of one
    order[np.argsort(mixed, kind="stable")] = np.arange(len(y))
    sampler, other = (quick(max_steps=max_steps) for _ in range(2))
    sampler.fit(X, y, sample_weight=weights)
    other.fit(X[order], y[order], sample_weight=weights[order])
    np.testing.assert_allclose(other.loss_curve_, sampler.loss_curve_, rtol=1e-4)
    np.testing.assert_allclose(
        other.sample(y, random_state=0), sampler.sample(y, random_state=0), rtol=1e-3
    )


def test_weights_count_in_all_that_is_told_of_the_classes():
    X, y = data()
    weights = np.random.default_rng(1).uniform(0.1, 1, len(y)) ** 2
    trained = quick(max_steps=0).fit(X, y, sample_weight=weights)._trained
    rows, rng = trained.columns.transform(X), np.random.RandomState(0)
    posterior = ClassPosterior(rows, y, rng, weights)
    np.testing.assert_allclose(trained.posterior.weight, posterior.weight, rtol=1e-4)
    mixture = class_gaussians(rows, y, rng, class_sampling=0.5, sample_weight=weights)
    torch.testing.assert_close(trained.mixture.means, mixture.means)
    torch.testing.assert_close(trained.mixture.log_prior, mixture.log_prior)
    even = class_gaussians(rows, y, rng, class_sampling=0.5)
    assert not torch.allclose(trained.mixture.means, even.means, atol=0.01)


def test_rows_of_weight_zero_are_as_if_absent():
    X, y = data()
    X[::3] = 1e6
    weights = np.ones(len(y))
    weights[::3] = 0
    there = quick().fit(X, y, sample_weight=weights)
    absent = quick().fit(X[weights > 0], y[weights > 0])
    np.testing.assert_allclose(there.loss_curve_, absent.loss_curve_, rtol=1e-5)
    rows = there.sample(np.repeat([0, 1, 2], 20), random_state=0)
    assert np.abs(rows).max() < 10


def test_new_rows_follow_the_heavy_rows():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [200, 100])
    X = rng.normal(size=(300, 2))
    left = np.arange(300) % 2 == 0
    X[:, 0] += np.where(left, -5, 5)
    sampler = quick(max_steps=600, guidance_scale=1.0, hidden_dim=64, n_candidates=1)
    sampler.fit(X, y, sample_weight=np.where(left, 9.0, 1.0))
    rows = sampler.sample(np.ones(1000, int), random_state=0)
    assert 0.8 < (rows[:, 0] < 0).mean() < 0.97


def test_weights_of_the_posterior_are_repetitions():
    X, y = data((40, 20), 2)
    X = X.astype(np.float32)
    times = np.random.default_rng(0).integers(1, 4, len(y))
    for label in (0, 1):  # the same total for weights and for repetitions
        times[y == label] = np.resize([1, 2, 3, 2], (y == label).sum())
    weighted = ClassPosterior(X, y, np.random.RandomState(0), times.astype(float))
    repeated = ClassPosterior(
        np.repeat(X, times, axis=0), np.repeat(y, times), np.random.RandomState(0)
    )
    np.testing.assert_allclose(weighted.weight, repeated.weight, rtol=0.01)
    np.testing.assert_allclose(weighted.bias, repeated.bias, atol=0.01)


def test_new_rows_weigh_as_the_mean_of_their_class():
    X, y = data()
    weights = np.random.default_rng(0).uniform(size=len(y))
    weights[::5] = 0
    sampler = quick()
    _, y_resampled = sampler.fit_resample(X, y, sample_weight=weights)
    assert sampler.sample_weight_.shape == y_resampled.shape
    np.testing.assert_array_equal(sampler.sample_weight_[: len(y)], weights)
    for label in (1, 2):
        new = sampler.is_generated_ & (y_resampled == label)
        mean = weights[(y == label) & (weights > 0)].mean()
        np.testing.assert_allclose(sampler.sample_weight_[new], mean)
    sampler.fit_resample(X, y)
    assert not hasattr(sampler, "sample_weight_")
    sampler.fit_resample(X, y, sample_weight=weights)
    sampler.fit(X, y, sample_weight=weights)
    assert not hasattr(sampler, "sample_weight_")
    assert not hasattr(sampler, "is_generated_")


def test_metadata_routing_through_a_pipeline():
    X, y = data()
    weights = np.linspace(0, 1, len(y))
    with config_context(enable_metadata_routing=True):
        # The pipeline of imbalanced-learn asks a sampler for both of its methods.
        sampler = quick().set_fit_request(sample_weight=True)
        sampler.set_fit_resample_request(sample_weight=True)
        head = LogisticRegression().set_fit_request(sample_weight=False)
        model = make_pipeline(sampler, head)
        model.fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(model[0].sample_weight_[: len(y)], weights)
    expected = quick().fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(model[0].loss_curve_, expected.loss_curve_)


@pytest.mark.parametrize("method", ["fit", "fit_resample"])
def test_bad_weights_are_told(method):
    X, y = data()
    for weights, message in (
        (np.ones(5), "sample_weight"),
        (np.full(len(y), -1.0), "[Nn]egative"),
        (np.full(len(y), np.nan), "contains NaN"),
        (np.ones((len(y), 2)), "[Ss]ample.weights? must be 1D"),
        ((y != 2).astype(float), r"0 for all rows of the classes \[2\]"),
    ):
        with pytest.raises(ValueError, match=message):
            getattr(quick(), method)(X, y, sample_weight=weights)
