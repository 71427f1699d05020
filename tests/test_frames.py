# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Tables and labels come back as what they were."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ldmlr_sklearn import LatentDiffusionOversampler, LDMLRClassifier

N_ROWS = np.array([30, 6])
LABELS = np.repeat(["common", "rare"], N_ROWS)


def quick():
    return LatentDiffusionOversampler(
        max_steps=20, n_inference_steps=2, hidden_dim=16, random_state=0
    )


def columns():
    rng = np.random.default_rng(0)
    n = N_ROWS.sum()
    return {
        "real": rng.normal(size=n),
        "single": rng.normal(size=n).astype(np.float32),
        "whole": rng.integers(0, 9, n),
        "byte": rng.integers(0, 9, n).astype(np.uint8),
        "flag": rng.integers(0, 2, n).astype(bool),
    }


EXPECTED, _ = quick().fit_resample(pd.DataFrame(columns()), LABELS)


@pytest.mark.parametrize(
    "label_type",
    [pl.String, pl.Categorical, pl.Enum(["rare", "common"]), None],
    ids=["string", "categorical", "enum", "integer"],
)
def test_polars_in_polars_out(label_type):
    frame = pl.DataFrame(columns())
    if label_type is None:
        labels = pl.Series("kind", (LABELS == "rare").astype(np.int16))
    else:
        labels = pl.Series("kind", LABELS, dtype=label_type)
    sampler = quick()
    X_resampled, y_resampled = sampler.fit_resample(frame, labels)
    assert isinstance(X_resampled, pl.DataFrame)
    assert X_resampled.schema == frame.schema
    assert_frame_equal(X_resampled[: len(frame)], frame)
    np.testing.assert_allclose(
        X_resampled.to_numpy(), EXPECTED.to_numpy(dtype=float), rtol=1e-6
    )
    assert y_resampled.dtype == labels.dtype and y_resampled.name == "kind"
    assert y_resampled.value_counts()["count"].to_list() == [30, 30]
    assert y_resampled[: len(labels)].equals(labels)
    assert len(labels) == 36  # the given ones are as they were
    assert sampler.feature_names_in_.tolist() == frame.columns


def test_polars_and_others_mix():
    frame = pl.DataFrame(columns())
    X_resampled, y_resampled = quick().fit_resample(frame, LABELS.tolist())
    assert isinstance(X_resampled, pl.DataFrame) and isinstance(y_resampled, list)
    X_resampled, y_resampled = quick().fit_resample(
        frame.to_numpy(), pl.Series("kind", LABELS)
    )
    assert isinstance(X_resampled, np.ndarray) and isinstance(y_resampled, pl.Series)
    one_hot = pl.DataFrame({"a": LABELS == "common", "b": LABELS == "rare"})
    X_resampled, y_resampled = quick().fit_resample(frame, one_hot.cast(pl.Int8))
    assert y_resampled.schema == {"a": pl.Int8, "b": pl.Int8}
    assert y_resampled.sum().row(0) == (30, 30)


def test_polars_fit_and_sample():
    frame = pl.DataFrame(columns())
    sampler = quick().fit(frame, pl.Series(LABELS))
    assert sampler.feature_names_in_.tolist() == frame.columns
    assert sampler.sample(pl.Series(["rare"] * 3), random_state=0).shape == (3, 5)


def test_nullable_columns_of_pandas():
    nullable = dict(
        real="Float64", single="Float32", whole="Int64", byte="UInt8", flag="boolean"
    )
    frame = pd.DataFrame(columns()).astype(nullable)
    X_resampled, _ = quick().fit_resample(frame, LABELS)
    pd.testing.assert_series_equal(X_resampled.dtypes, frame.dtypes)
    pd.testing.assert_frame_equal(X_resampled[: len(frame)], frame)
    np.testing.assert_allclose(
        X_resampled.to_numpy(dtype=float), EXPECTED.to_numpy(dtype=float), rtol=1e-6
    )


def test_categorical_labels_of_pandas():
    X = pd.DataFrame(columns())
    categories = pd.CategoricalDtype(["rare", "common", "unseen"], ordered=True)
    _, y_resampled = quick().fit_resample(X, pd.Series(LABELS, dtype=categories))
    assert y_resampled.dtype == categories
    _, y_resampled = quick().fit_resample(X, pd.Categorical(LABELS, dtype=categories))
    assert isinstance(y_resampled, pd.Categorical) and y_resampled.dtype == categories
    assert y_resampled.value_counts().tolist() == [30, 30, 0]


@pytest.mark.parametrize("method", ["fit", "fit_resample"])
@pytest.mark.parametrize(
    "labels",
    [
        pd.Series(LABELS, dtype="category").where(np.arange(36) != 4),
        pd.Series([1, 2] * 18, dtype="Int64").where(np.arange(36) != 4),
        pl.Series(LABELS).set(pl.Series(np.arange(36) == 4), None),
        [None if i == 4 else label for i, label in enumerate(LABELS.tolist())],
    ],
    ids=["pandas categorical", "pandas Int64", "polars", "list"],
)
def test_missing_labels_are_told(method, labels):
    with pytest.raises(ValueError, match="y has 1 missing labels, the first in row 4"):
        getattr(quick(), method)(pd.DataFrame(columns()), labels)


@pytest.mark.parametrize("name", list(columns()))
def test_missing_values_are_told(name):
    gap = np.arange(36) == 4
    of_polars = pl.DataFrame(columns()).with_columns(
        pl.when(pl.Series(gap)).then(None).otherwise(pl.col(name)).alias(name)
    )
    of_pandas = pd.DataFrame(columns()).convert_dtypes()
    of_pandas.loc[4, name] = pd.NA
    for frame in (of_polars, of_pandas):
        with pytest.raises(ValueError, match="Input X contains NaN"):
            quick().fit_resample(frame, LABELS)


@pytest.mark.parametrize("kind", ["text", "category", "object"])
def test_columns_of_text_are_told(kind):
    text = np.where(np.arange(len(LABELS)) % 3, "01", "02")
    frame = pd.DataFrame(columns() | {"code": text})
    frames = [frame.astype({"code": "str" if kind == "text" else kind})]
    if kind == "text":
        frames.append(pl.DataFrame(frame))
    if kind == "category":
        frames.append(pl.DataFrame(frame).cast({"code": pl.Categorical}))
    for frame in frames:
        message = r"columns \['code'\] of X hold text or categories.* OneHotEncoder"
        with pytest.raises(ValueError, match=message):
            quick().fit_resample(frame, LABELS)
    # Numbers that are stored as objects are numbers.
    numbers = pd.DataFrame(columns()).astype({"whole": object})
    resampled, _ = quick().fit_resample(numbers, LABELS)
    assert resampled.shape == EXPECTED.shape


@pytest.mark.parametrize(
    "kind", ["datetime64[s]", "datetime64[s, UTC]", "timedelta64[s]", "period[D]"]
)
def test_dates_are_told(kind):
    days = pd.Series(np.arange(len(LABELS)))
    if kind.startswith("period"):
        days = pd.to_datetime(days, unit="D").dt.to_period("D")
    frame = pd.DataFrame(columns()).assign(day=days.astype(kind))
    frames = [frame]
    if kind.startswith(("datetime", "timedelta")):
        frames.append(pl.DataFrame(frame))
    for given in frames:
        for model in (quick(), LDMLRClassifier(oversampler=quick())):
            fit = getattr(model, "fit_resample", model.fit)
            with pytest.raises(
                ValueError, match=r"columns \['day'\] .* dates or durat"
            ):
                fit(given, LABELS)
    with pytest.raises(ValueError, match=r"X holds dates or durations.* days since"):
        quick().fit(np.zeros((36, 2), dtype="datetime64[D]"), LABELS)


def test_large_whole_numbers_beside_real_ones_stay_exact():
    ids = 2**60 + np.arange(len(LABELS))
    frame = pd.DataFrame({"real": columns()["real"], "id": ids}, index=ids)
    for given in (frame, frame.astype({"id": "Int64"})):
        resampled, labels = quick().fit_resample(given, pd.Series(LABELS))
        assert resampled["id"][: len(ids)].tolist() == ids.tolist()
        assert resampled.dtypes.tolist() == given.dtypes.tolist()
        assert resampled.index.equals(labels.index)
        assert resampled.index.tolist() == list(range(60))


def test_labels_in_a_polars_frame():
    frame, labels = pl.DataFrame(columns()), pl.DataFrame({"label": LABELS})
    resampled, new_labels = quick().fit_resample(frame, labels)
    assert new_labels.columns == ["label"] and len(new_labels) == len(resampled) == 60
    assert_frame_equal(new_labels[: len(labels)], labels)


def test_lazy_frames_are_told():
    frame = pl.DataFrame(columns())
    with pytest.raises(TypeError, match=r"polars LazyFrame.*`collect\(\)`"):
        quick().fit_resample(frame.lazy(), LABELS)
