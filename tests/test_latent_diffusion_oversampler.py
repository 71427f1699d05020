# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What a user of SMOTE expects, and what only this over-sampler does."""

import pickle
import re
import subprocess
import sys
from collections import Counter
from copy import deepcopy
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import ldmlr_sklearn._diffusion_training as module
from ldmlr_sklearn import LatentDiffusionOversampler

QUICK = dict(max_steps=30, n_inference_steps=3, hidden_dim=32, random_state=0)


def quick(**params):
    return LatentDiffusionOversampler(**{**QUICK, **params})


def long_tailed(counts=(60, 20, 6), n_features=5, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    X = rng.normal(size=(len(y), n_features)) + 3 * y[:, None]
    shuffled = rng.permutation(len(y))
    return X[shuffled], y[shuffled]


@pytest.mark.parametrize(
    "strategy",
    [
        "auto",
        "minority",
        "not minority",
        "not majority",
        "all",
        {1: 30, 2: 10},
        {},
        lambda y: {2: 25},
    ],
)
def test_sampling_strategy_means_what_it_means_in_imbalanced_learn(strategy):
    X, y = long_tailed()
    ours, theirs = (
        quick(sampling_strategy=strategy),
        RandomOverSampler(sampling_strategy=strategy),
    )
    X_resampled, y_resampled = ours.fit_resample(X, y)
    assert Counter(y_resampled) == Counter(theirs.fit_resample(X, y)[1])
    assert ours.sampling_strategy_ == theirs.sampling_strategy_
    np.testing.assert_array_equal(X_resampled[: len(X)], X)
    np.testing.assert_array_equal(y_resampled[: len(y)], y)
    np.testing.assert_array_equal(
        ours.is_generated_, np.arange(len(X_resampled)) >= len(X)
    )


def test_binary_ratio():
    X, y = long_tailed((50, 10))
    _, y_resampled = quick(sampling_strategy=0.5).fit_resample(X, y)
    assert Counter(y_resampled) == {0: 50, 1: 25}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8, bool])
def test_dtype_is_kept_and_values_stay_in_range(dtype):
    X, y = long_tailed()
    X = (np.abs(X) > 2).astype(bool) if dtype is bool else np.abs(X).astype(dtype)
    X_resampled, y_resampled = quick().fit_resample(X, y)
    assert X_resampled.dtype == dtype and y_resampled.dtype == y.dtype
    assert (X_resampled.min(0) >= X.min(0)).all()
    assert (X_resampled.max(0) <= X.max(0)).all()


def test_frame_keeps_names_dtypes_and_whole_numbers():
    X, y = long_tailed()
    frame = pd.DataFrame(X, columns=list("abcde")).assign(
        count=np.arange(len(X)) % 7, constant=1.5, flag=np.arange(len(X)) % 2 == 0
    )
    labels = pd.Series(np.array(["x", "y", "z"])[y], name="label")
    sampler = quick()
    X_resampled, y_resampled = sampler.fit_resample(frame, labels)
    pd.testing.assert_series_equal(X_resampled.dtypes, frame.dtypes)
    assert y_resampled.name == "label" and set(y_resampled) == {"x", "y", "z"}
    assert sampler.feature_names_in_.tolist() == frame.columns.tolist()
    assert (X_resampled["constant"] == 1.5).all()
    assert X_resampled["flag"][sampler.is_generated_].nunique() == 2
    assert sampler.integer_columns_.tolist() == [False] * 5 + [True, False, True]


def test_float_columns_of_whole_numbers_stay_whole():
    X, y = long_tailed()
    X[:, 0] = np.rint(X[:, 0])
    X_resampled, _ = quick().fit_resample(X, y)
    np.testing.assert_array_equal(X_resampled[:, 0], np.rint(X_resampled[:, 0]))
    assert not np.array_equal(X_resampled[:, 1], np.rint(X_resampled[:, 1]))


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csc_matrix])
def test_sparse_in_sparse_out(make):
    X, y = long_tailed()
    dense, _ = quick().fit_resample(X, y)
    resampled, _ = quick().fit_resample(make(X), y)
    assert sparse.issparse(resampled) and resampled.format == make(X).format
    np.testing.assert_allclose(resampled.toarray(), dense)


@pytest.mark.parametrize(
    ("counts", "n_features"),
    [
        ((40, 1), 3),
        ((40, 2, 1), 2),
        ((5, 1), 1),
        ((300, 3), 2048),
        (tuple(range(1, 4)) * 333 + (9,), 4),
        ((1000, 1), 6),
    ],
)
def test_any_shape_gives_finite_rows(counts, n_features):
    X, y = long_tailed(counts, n_features)
    X_resampled, y_resampled = quick().fit_resample(X, y)
    assert np.isfinite(X_resampled).all()
    assert set(Counter(y_resampled).values()) == {max(counts)}


def test_extreme_columns_are_not_ruined():
    X, y = long_tailed()
    X[:, 0] = 7.25  # constant
    X[:, 1] = 1e9 + 1e-3 * X[:, 1]  # small spread far from zero
    X[:, 2] = np.exp(5 * X[:, 2])  # heavy tail
    X[:, 3] *= 1e-30
    X[:, 4] = np.where(X[:, 4] > 4, X[:, 4], 0)  # mostly zero
    X_resampled, _ = quick().fit_resample(X, y)
    new = X_resampled[len(X) :]
    assert (new[:, 0] == 7.25).all()
    assert (new >= X.min(0)).all() and (new <= X.max(0)).all()
    assert len(np.unique(new[:, 1])) > 10 and len(np.unique(new[:, 3])) > 10


def test_read_only_memmap_is_left_alone(tmp_path):
    X, y = long_tailed()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected, _ = quick().fit_resample(X, y)
    np.testing.assert_array_equal(quick().fit_resample(mapped, y)[0], expected)
    np.testing.assert_array_equal(np.load(tmp_path / "X.npy"), X)


@pytest.mark.parametrize("prediction_type", ["v_prediction", "epsilon", "sample"])
@pytest.mark.parametrize("noise_schedule", ["cosine", "linear"])
def test_plain_guidance_gives_back_the_classes(prediction_type, noise_schedule):
    X, y = long_tailed((300, 150), n_features=2)
    sampler = LatentDiffusionOversampler(
        prediction_type=prediction_type,
        noise_schedule=noise_schedule,
        guidance_scale=1.0,
        n_inference_steps=20,
        hidden_dim=64,
        random_state=0,
    ).fit(X, y)
    for label in (0, 1):
        rows = sampler.sample(np.full(2000, label), random_state=1)
        np.testing.assert_allclose(rows.mean(0), X[y == label].mean(0), atol=0.25)
        np.testing.assert_allclose(rows.std(0), X[y == label].std(0), rtol=0.25)


def test_low_guidance_widens_a_rare_class():
    X, y = long_tailed((400, 12))
    sampler = LatentDiffusionOversampler(hidden_dim=64, random_state=0).fit(X, y)
    spread = []
    for scale in (1.0, 0.4):
        sampler.set_params(guidance_scale=scale)
        spread.append(sampler.sample(np.ones(500, int), random_state=0).std(0).mean())
    assert spread[1] > 1.1 * spread[0]


def test_more_candidates_make_rows_that_belong_to_their_class():
    X, y = long_tailed((300, 100, 12))
    sampler = LatentDiffusionOversampler(hidden_dim=64, random_state=0).fit(X, y)
    judge = LogisticRegression(class_weight="balanced").fit(X, y)
    recognised = []
    for n_candidates in (1, 2, 8):
        sampler.set_params(n_candidates=n_candidates)
        rows = sampler.sample(np.full(1000, 2), random_state=0)
        recognised.append((judge.predict(rows) == 2).mean())
    assert recognised[0] < recognised[1] < recognised[2] > recognised[0] + 0.08


def test_candidates_of_mixed_labels_come_back_in_order():
    X, y = long_tailed((300, 100, 60))
    sampler = quick(guidance_scale=1.0, max_steps=300).fit(X, y)
    wanted = np.random.default_rng(0).integers(0, 3, 3000)
    judge = LogisticRegression(class_weight="balanced").fit(X, y)
    for n_candidates in (1, 3, 9000):
        sampler.set_params(n_candidates=n_candidates, n_inference_steps=2)
        labels = wanted if n_candidates < 9000 else wanted[:2]
        predicted = judge.predict(sampler.sample(labels, random_state=0))
        assert (predicted == labels).mean() > 0.8


def test_training_does_not_depend_on_sampling_parameters():
    X, y = long_tailed()
    one = quick().fit(X, y)
    other = quick(
        sampling_strategy={1: 25},
        guidance_scale=2.0,
        n_candidates=3,
        n_inference_steps=7,
        eta=1.0,
    ).fit(X, y)
    np.testing.assert_array_equal(one.loss_curve_, other.loss_curve_)
    other.set_params(
        guidance_scale="auto", n_candidates=2, n_inference_steps=3, eta=0.0
    )
    np.testing.assert_array_equal(
        one.sample([0, 1, 2], random_state=3), other.sample([0, 1, 2], random_state=3)
    )


def test_training_parameters_set_after_training_do_not_change_a_draw():
    X, y = long_tailed()
    sampler = quick().fit(X, y)
    expected = sampler.sample([0, 1], random_state=0)
    sampler.set_params(
        prediction_type="sample", noise_schedule="linear", n_train_timesteps=10
    )
    np.testing.assert_array_equal(sampler.sample([0, 1], random_state=0), expected)


def test_sample_follows_the_given_labels():
    X, y = long_tailed((300, 100, 60))
    names = np.array(["a", "b", "c"])
    sampler = LatentDiffusionOversampler(
        guidance_scale=1.0, hidden_dim=64, random_state=0
    ).fit(X, names[y])
    wanted = names[np.random.default_rng(0).integers(0, 3, 300)]
    rows = sampler.sample(wanted, random_state=0)
    assert rows.shape == (300, 5)
    predicted = LogisticRegression().fit(X, names[y]).predict(rows)
    assert (predicted == wanted).mean() > 0.8
    assert sampler.sample([], random_state=0).shape == (0, 5)


IN_A_PROCESS = """
import sys, numpy as np
sys.path.insert(0, {folder!r})
from test_latent_diffusion_oversampler import long_tailed, quick
print(repr(quick(eta=0.5).fit_resample(*long_tailed())[0].sum()))
"""


def test_same_seed_same_rows_in_any_process(tmp_path):
    X, y = long_tailed()
    numpy_state = np.random.mtrand._rand.get_state(legacy=False)["state"]
    torch_state = torch.get_rng_state()
    first, second = (quick(eta=0.5).fit_resample(X, y)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    now = np.random.mtrand._rand.get_state(legacy=False)["state"]
    np.testing.assert_array_equal(now["key"], numpy_state["key"])
    assert now["pos"] == numpy_state["pos"]
    assert torch.equal(torch.get_rng_state(), torch_state)
    other, _ = quick(eta=0.5, random_state=1).fit_resample(X, y)
    assert not np.allclose(first, other)
    parallel = joblib.Parallel(n_jobs=2)(
        joblib.delayed(quick(eta=0.5).fit_resample)(X, y) for _ in range(2)
    )
    for rows, _ in parallel:
        np.testing.assert_allclose(rows, first, rtol=1e-5, atol=1e-5)
    code = IN_A_PROCESS.format(folder=str(Path(__file__).parent))
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    number = float(re.search(r"\(([-\d.e+]+)\)", run.stdout)[1])
    assert number == pytest.approx(first.sum(), rel=1e-6)


def test_random_state_instance_moves_on():
    X, y = long_tailed()
    state = np.random.RandomState(0)
    sampler = quick(random_state=state)
    assert not np.allclose(sampler.fit_resample(X, y)[0], sampler.fit_resample(X, y)[0])


def test_round_trips_give_the_same_rows(tmp_path):
    X, y = long_tailed()
    sampler = quick().fit(X, y)
    expected = sampler.sample([0, 2], random_state=5)
    joblib.dump(sampler, tmp_path / "sampler.joblib")
    for copy in (
        pickle.loads(pickle.dumps(sampler)),
        joblib.load(tmp_path / "sampler.joblib"),
        clone(sampler).fit(X, y),
    ):
        np.testing.assert_array_equal(copy.sample([0, 2], random_state=5), expected)


def test_stands_where_smote_stands():
    X, y = long_tailed((80, 40, 20))
    model = make_pipeline(quick(), LogisticRegression())
    grid = {"latentdiffusionoversampler__guidance_scale": [0.4, 1.0]}
    search = GridSearchCV(model, grid, cv=2, scoring="balanced_accuracy")
    assert search.fit(X, y).best_score_ > 0.9


def test_verbose_shows_progress(capsys):
    quick(verbose=1).fit(*long_tailed())
    assert "diffusion: 100%" in capsys.readouterr().err
    quick().fit(*long_tailed())
    assert capsys.readouterr().err == ""


def test_images_are_sent_to_the_encoder():
    images, y = np.zeros((8, 4, 4, 3)), np.repeat([0, 1], 4)
    for method in ("fit", "fit_resample"):
        with pytest.raises(ValueError, match=r"\(8, 4, 4, 3\)\. Encode images first"):
            getattr(quick(), method)(images, y)


def test_sample_needs_a_fit_and_known_labels():
    with pytest.raises(NotFittedError):
        quick().sample([0])
    with pytest.raises(ValueError, match=r"labels \[7\].*among \[0, 1, 2\]"):
        quick().fit(*long_tailed()).sample([0, 7])


def test_bad_parameters_are_named():
    X, y = long_tailed()
    for params in (
        dict(guidance_scale=-1),
        dict(guidance_scale=1e39),
        dict(guidance_scale=np.inf),
        dict(guidance_scale="high"),
        dict(n_candidates=0),
        dict(n_inference_steps=0),
        dict(eta=1.5),
        dict(noise_schedule="quadratic"),
        dict(prediction_type="x0"),
        dict(max_steps=-1),
        dict(gaussian_share=1.5),
        dict(gaussian_share="auto"),
        dict(label_dropout=1.0),
        dict(learning_rate=0.0),
        dict(sampling_random_state="x"),
        dict(warm_start="yes"),
        dict(memory=3),
    ):
        for method in ("fit", "fit_resample"):
            with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter"):
                getattr(quick(**params), method)(X, y)
    fitted = quick().fit(X, y)
    for params in (dict(n_candidates=0), dict(n_inference_steps=0), dict(eta=3)):
        with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter"):
            deepcopy(fitted).set_params(**params).sample([0])
    with pytest.raises(ValueError, match="not a device name of torch"):
        quick(device="gpu").fit(X, y)
    with pytest.raises(ValueError, match="not available on this machine"):
        quick(device="cuda:99").fit(X, y)


def test_failure_leaves_nothing_in_an_estimator_that_was_not_fitted():
    X, y = long_tailed()
    sampler = quick(learning_rate=1e30)
    before = vars(sampler).copy()
    with pytest.raises(ValueError, match="loss is nan"):
        sampler.fit(X, y)
    assert vars(sampler) == before


def test_labels_must_be_classes():
    X, y = long_tailed()
    for method in ("fit", "fit_resample"):
        with pytest.raises(ValueError, match="Unknown label type: continuous"):
            getattr(quick(), method)(X, y + 0.5 * X[:, 0])


def test_random_state_seeds_weights_batches_and_new_rows():
    X, y = long_tailed()
    new, weights, losses = [], [], []
    for random_state in (0, 1):
        sampler = quick(max_steps=0, random_state=random_state)
        new.append(sampler.fit_resample(X, y)[0][len(X) :])
        weights.append(sampler.denoiser_.inlet.weight.numpy())
        losses.append(quick(random_state=random_state).fit(X, y).loss_curve_)
    for one, other in (new, weights, losses):
        assert not np.isclose(one, other).all(axis=-1).any()


def test_failure_leaves_a_fitted_estimator_as_it_was(monkeypatch):
    X, y = long_tailed()
    sampler = quick().fit(X, y)
    before = vars(sampler).copy()
    expected = sampler.sample([0, 1], random_state=0)
    with pytest.raises(ValueError, match="NaN"):
        sampler.fit(np.full((4, 2), np.nan), [0, 0, 0, 1])
    with pytest.raises(ValueError, match=r"loss is nan.*Lower the learning_rate"):
        sampler.set_params(learning_rate=1e30).fit_resample(X[:, :2], y)
    sampler.set_params(learning_rate=before["learning_rate"])

    def interrupted(*args, **kwargs):
        yield torch.tensor(1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sampler.fit(X[:, :2], y)
    assert vars(sampler) == before
    np.testing.assert_array_equal(sampler.sample([0, 1], random_state=0), expected)
