# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE, RandomOverSampler
from sklearn.preprocessing import StandardScaler

from ldmlr_sklearn import LatentDiffusionOversampler
from ldmlr_sklearn.datasets import load_digits_lt
from ldmlr_sklearn.metrics import (
    authenticity,
    dcr_ratio_share,
    density_coverage,
    frechet_distance,
    generation_report,
)

SCORES = (
    *("frechet_distance", "density", "coverage"),
    *("authenticity", "dcr_ratio", "dcr_share"),
)


@pytest.fixture(scope="module")
def digits():
    return load_digits_lt(imbalance_factor=20)


def report_on(sampler, digits):
    X, y = digits.data, digits.target
    X_resampled, y_resampled = sampler.fit_resample(X, y)
    report = generation_report(
        *(X, y),
        *(X_resampled[len(X) :], y_resampled[len(X) :]),
        *(digits.data_test, digits.target_test),
    )
    return pd.DataFrame(report)


@pytest.fixture
def parts():
    """Arguments of a report on three classes of two features in different units."""
    rng = np.random.default_rng(0)

    def draw(names, counts):
        y = np.repeat(names, counts)
        X = rng.normal(size=(len(y), 2)) + (y == "b")[:, None]
        return X * [1, 1000], y

    X_train, y_train = draw(["a", "b", "c"], [30, 20, 10])
    X_generated, y_generated = draw(["c", "b"], [20, 15])
    X_held_out, y_held_out = draw(["a", "b", "c"], [12, 12, 12])
    return dict(
        X_train=X_train,
        y_train=y_train,
        X_generated=X_generated,
        y_generated=y_generated,
        X_held_out=X_held_out,
        y_held_out=y_held_out,
    )


def test_holds_the_scores_of_every_generated_class(parts):
    report = generation_report(**parts, n_neighbors=3)
    assert report.classes.tolist() == ["b", "c"]
    assert report.n_train.tolist() == [20, 10]
    assert report.n_generated.tolist() == [15, 20]
    assert report.n_held_out.tolist() == [12, 12]
    scaler = StandardScaler().fit(parts["X_train"])
    for position, class_ in enumerate(report.classes):
        train, generated, held_out = (
            scaler.transform(parts[f"X_{part}"][parts[f"y_{part}"] == class_])
            for part in ("train", "generated", "held_out")
        )
        expected = (
            frechet_distance(held_out, generated),
            *density_coverage(held_out, generated, n_neighbors=3),
            authenticity(train, generated),
            *dcr_ratio_share(train, generated, held_out),
        )
        found = tuple(report[name][position] for name in SCORES)
        assert found == pytest.approx(expected)


def test_units_do_not_matter(parts):
    report = pd.DataFrame(generation_report(**parts))
    for name in ("X_train", "X_generated", "X_held_out"):
        parts[name] = parts[name] * [50, 0.01] - [3, 4]
    pd.testing.assert_frame_equal(pd.DataFrame(generation_report(**parts)), report)


def test_takes_frames_and_series_and_makes_a_frame(parts):
    expected = pd.DataFrame(generation_report(**parts))
    assert expected.shape == (2, 10)
    assert list(expected)[:4] == ["classes", "n_train", "n_generated", "n_held_out"]
    assert tuple(expected)[4:] == SCORES
    frames = {
        name: pd.DataFrame(part) if name.startswith("X") else pd.Series(part)
        for name, part in parts.items()
    }
    pd.testing.assert_frame_equal(pd.DataFrame(generation_report(**frames)), expected)


def test_scores_that_a_class_has_too_few_rows_for_are_nan():
    rng = np.random.default_rng(0)
    X_train, X_generated, X_held_out = (rng.normal(size=(n, 3)) for n in (5, 4, 8))
    report = generation_report(
        *(X_train, [0, 0, 1, 1, 2]),
        *(X_generated, [0, 1, 1, 2]),
        *(X_held_out, [0] * 6 + [1] + [3]),
    )
    found = pd.DataFrame(report).set_index("classes")[list(SCORES)].notna()
    assert found.loc[0].all()
    assert found.columns[~found.loc[1]].tolist() == ["density", "coverage"]
    assert not found.loc[2].any()
    assert report.n_held_out.tolist() == [6, 1, 0]


@pytest.mark.parametrize(
    ("n_neighbors", "is_told"), [(2, True), (3, False), (8, False)]
)
def test_density_needs_more_held_out_rows_than_neighbors(n_neighbors, is_told):
    X_train, X_generated, X_held_out = np.random.default_rng(0).normal(size=(3, 3, 2))
    labels = [0] * 3
    report = generation_report(
        *(X_train, labels, X_generated, labels, X_held_out, labels),
        n_neighbors=n_neighbors,
    )
    assert np.isfinite(report.density[0]) == np.isfinite(report.coverage[0]) == is_told


def test_constant_columns_do_no_harm(parts):
    for name in ("X_train", "X_generated", "X_held_out"):
        parts[name] = np.hstack([parts[name], np.ones((len(parts[name]), 1))])
    with_constant = generation_report(**parts)
    for name in SCORES:
        assert np.isfinite(with_constant[name]).all()


def test_finds_copies_and_what_is_hardly_more(digits):
    copied = report_on(RandomOverSampler(random_state=0), digits)
    assert (copied.dcr_ratio == 0).all()
    assert (copied.dcr_share == 1).all()
    assert (copied.authenticity == 0).all()

    jittered = report_on(RandomOverSampler(shrinkage=0.02, random_state=0), digits)
    assert (jittered.dcr_ratio < 0.2).all()
    assert (jittered.dcr_share == 1).all()
    assert (jittered.authenticity < 0.1).all()

    interpolated = report_on(SMOTE(k_neighbors=3, random_state=0), digits)
    assert interpolated.dcr_ratio.between(0.2, 0.6).all()
    assert interpolated.dcr_share.between(0.9, 1).all()


def test_diffusion_generates_rows_of_its_own(digits):
    oversampler = LatentDiffusionOversampler(
        max_steps=300, hidden_dim=64, random_state=0
    )
    report = report_on(oversampler, digits)
    assert (report.dcr_ratio > 0.7).all()
    assert report.dcr_ratio.mean() == pytest.approx(1, abs=0.3)
    assert report.coverage.mean() > 0.6
    assert report.dcr_share.mean() < 0.8
    assert report.authenticity.mean() > 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"X_held_out": np.zeros((36, 3))},
            "same columns, but X_train has 2, X_generated has 2, X_held_out has 3",
        ),
        ({"X_generated": np.full((35, 2), np.nan)}, "Input X_generated contains NaN"),
        ({"y_train": ["a"]}, "inconsistent numbers of samples: .60, 1"),
        ({"y_generated": ["b"]}, "inconsistent numbers of samples: .35, 1"),
        ({"y_held_out": ["b"]}, "inconsistent numbers of samples: .36, 1"),
        ({"y_held_out": [1] * 36}, "Mix of label input types"),
        (
            {"y_generated": ["b"] * 20 + ["d"] * 15},
            r"Every class of y_generated must be in y_train. Got \['d'\], which",
        ),
        (
            {"y_held_out": ["a"] * 36},
            r"must be in y_held_out. Got \['b', 'c'\] and \['a'\]: hold out rows",
        ),
        ({"n_neighbors": 0}, "'n_neighbors' parameter of generation_report must be"),
        ({"y_train": None}, "'y_train' parameter of generation_report must be"),
    ],
)
def test_refuses(parts, changes, message):
    with pytest.raises(ValueError, match=message):
        generation_report(**{**parts, **changes})
