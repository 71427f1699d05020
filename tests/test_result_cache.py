# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""One training for all sampling parameters, on one process and on many."""

import copy
import os
import pickle
import sys
from dataclasses import replace

import joblib
import numpy as np
import pytest
import torch
from imblearn.pipeline import make_pipeline
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from ldmlr_sklearn import LatentDiffusionOversampler, LDMLRClassifier
from ldmlr_sklearn import _cached_training as module
from ldmlr_sklearn._diffusion_parameters import TrainingParameters
from ldmlr_sklearn._diffusion_training import train_diffusion
from ldmlr_sklearn._persistence import read, write
from ldmlr_sklearn._result_cache import locked_entry

QUICK = dict(max_steps=10, n_inference_steps=2, hidden_dim=16, random_state=0)
SAMPLING = dict(
    sampling_strategy={0: 70, 1: 50, 2: 30},
    guidance_scale=0.5,
    n_candidates=3,
    n_inference_steps=4,
    eta=0.5,
    sampling_random_state=3,
)


@pytest.fixture
def quick(tmp_path):
    def make(**params):
        return LatentDiffusionOversampler(**{**QUICK, "memory": tmp_path, **params})

    return make


@pytest.fixture
def trainings(monkeypatch):
    """Count the trainings that are really done."""
    done = []

    def counted(*args, **kwargs):
        done.append(kwargs)
        return train_diffusion(*args, **kwargs)

    monkeypatch.setattr(module, "train_diffusion", counted)
    return done


def data(counts=(60, 20, 6), n_features=4):
    y = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).normal(size=(len(y), n_features)) + y[:, None], y


def entries(folder):
    return sorted(folder.rglob("*.safetensors"))


def test_rows_are_the_same_with_the_cache_and_without(quick, trainings, tmp_path):
    X, y = data()
    X[:, 0] = np.exp(5 * X[:, 0])  # a ranked column
    X[:, 1] = np.arange(len(X)) % 3  # one of levels
    weights = np.linspace(0, 1, len(X))
    for params in ({}, SAMPLING):
        expected = quick(memory=None, **params)
        rows, labels = expected.fit_resample(X, y, sample_weight=weights)
        for memory in (str(tmp_path), tmp_path, joblib.Memory(tmp_path, verbose=0)):
            sampler = quick(memory=memory, **params)
            got, got_labels = sampler.fit_resample(X, y, sample_weight=weights)
            np.testing.assert_array_equal(got, rows)
            np.testing.assert_array_equal(got_labels, labels)
            np.testing.assert_array_equal(sampler.loss_curve_, expected.loss_curve_)
            np.testing.assert_array_equal(sampler.ranked_columns_, [1, 0, 0, 0])
            assert sampler.expected_recall_ == expected.expected_recall_
    assert len(trainings) == 2 + 1
    (entry,) = entries(tmp_path)
    assert entry.parent == tmp_path / "ldmlr_sklearn" / "diffusion"


def test_networks_of_other_versions_are_trained_anew(quick, trainings, tmp_path):
    X, y = data()
    loss_curve = quick().fit(X, y).loss_curve_
    (entry,) = entries(tmp_path)
    arrays, values = read(entry, "diffusion")
    arrays["denoiser.blocks.0.expand.bias"] = np.zeros(16, np.float32)
    write(entry, "diffusion", arrays, values)
    np.testing.assert_array_equal(quick().fit(X, y).loss_curve_, loss_curve)
    quick().fit(X, y)
    assert len(trainings) == 2


def test_no_cache_without_a_location(quick, trainings):
    X, y = data()
    for memory in (None, joblib.Memory(None)):
        quick(memory=memory).fit(X, y)
    assert len(trainings) == 2


def test_names_of_the_classes_need_no_training(quick, trainings):
    X, y = data()
    quick().fit(X, y)
    named = quick().fit(X, np.array(["a", "b", "c"])[y])
    assert len(trainings) == 1
    assert named.classes_.tolist() == ["a", "b", "c"]


def test_whatever_changes_training_is_in_the_key(quick, trainings, monkeypatch):
    X, y = data()
    other_labels = y.copy()
    other_labels[0] = 1
    other_value = X.copy()
    other_value[5, 2] += 1e-12
    fits = [
        (quick(), X, y, None),
        (quick(), other_value, y, None),
        (quick(), X.astype(np.float32), y, None),
        (quick(), np.rint(X).astype(np.int64), y, None),
        (quick(), np.rint(X), y, None),
        (quick(), X, other_labels, None),
        (quick(), X, y, np.linspace(1, 2, len(X))),
        (quick(random_state=1), X, y, None),
        *(
            (quick(**{name: value}), X, y, None)
            for name, value in dict(
                n_train_timesteps=900,
                noise_schedule="linear",
                prediction_type="sample",
                hidden_dim=17,
                n_blocks=2,
                max_steps=11,
                batch_size=20,
                learning_rate=1e-3,
                ema_decay=0.9,
                class_sampling=0.6,
                label_dropout=0.2,
            ).items()
        ),
    ]
    for number, (sampler, rows, labels, weights) in enumerate(fits, start=1):
        for _ in range(2):
            sampler.fit(rows, labels, sample_weight=weights)
            assert len(trainings) == number
    monkeypatch.setattr(module, "library_version", lambda: "9.9.9")
    quick().fit(X, y)
    assert len(trainings) == len(fits) + 1


@pytest.mark.parametrize("name", ["torch", "np", "scipy", "sklearn"])
def test_other_versions_of_what_computes_train_anew(
    quick, trainings, monkeypatch, name
):
    X, y = data()
    quick().fit(X, y)
    monkeypatch.setattr(getattr(module, name), "__version__", "99.0.1")
    quick().fit(X, y)
    assert len(trainings) == 2
    if name != "torch":  # a correction changes no results
        for version, n_trainings in (("99.0.2", 2), ("99.1.0", 3)):
            monkeypatch.setattr(getattr(module, name), "__version__", version)
            quick().fit(X, y)
            assert len(trainings) == n_trainings


def test_the_device_and_its_products_are_in_the_key(quick, monkeypatch):
    X, y = data()
    keys = set()
    for device in ("cpu", "mps"):
        for dtype in (torch.float32, torch.bfloat16):
            monkeypatch.setattr(module, "product_dtype", lambda _, dtype=dtype: dtype)
            parameters = quick()._parameters(TrainingParameters).resolved(len(X))
            key = module.training_key(
                X, y, parameters, seeds=[0, 1], device=torch.device(device)
            )
            keys.add(key)
    assert len(keys) == 4


def test_weights_and_steps_of_the_start_are_in_the_key(quick):
    X, y = data()
    start = quick().fit(X, y)._trained
    parameters, other = start.parameters, copy.deepcopy(start.denoiser)
    other.outlet.bias[0] += 1e-6
    starts = (
        None,
        start,
        replace(start, denoiser=other),
        replace(start, loss_curve=start.loss_curve[:-1]),
    )
    common = dict(seeds=[0, 1], device=torch.device("cpu"))
    keys = {
        module.training_key(X, y, parameters, start=one, **common) for one in starts
    }
    assert len(keys) == 4


def test_damaged_entries_are_gone_at_once(tmp_path):
    with locked_entry(tmp_path, "thing", "key") as entry:
        entry.write({"x": np.zeros(2)}, {"a": 1})
        (path,) = entries(tmp_path)
        assert entry.read()[1] == {"a": 1}
        path.write_bytes(b"half")
        with pytest.warns(UserWarning, match="A cached result is removed"):
            assert entry.read() is None
        assert not path.exists()
        assert entry.read() is None


@pytest.mark.parametrize("damage", [b"", b"half", pickle.dumps(print), None])
def test_damaged_entries_are_made_anew(quick, trainings, tmp_path, damage):
    X, y = data()
    expected = quick().fit_resample(X, y)[0]
    (entry,) = entries(tmp_path)
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.warns(UserWarning, match="A cached result is removed .* damaged"):
        got = quick().fit_resample(X, y)[0]
    np.testing.assert_array_equal(got, expected)
    assert len(trainings) == 2
    assert entry.read_bytes() == whole
    quick().fit(X, y)
    assert len(trainings) == 2


def test_a_full_disk_costs_the_entry_alone(quick, tmp_path, monkeypatch):
    X, y = data()

    def full(*args):
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.warns(UserWarning, match="could not be cached: No space left"):
            sampler = quick().fit(X, y)
    assert sampler.sample([0, 1]).shape == (2, 4)
    assert not entries(tmp_path)


def test_layout_in_memory_changes_nothing(quick, trainings):
    X, y = data((300, 20, 6))
    rows = quick(memory=None).fit_resample(X, y)[0]
    turned = quick(memory=None).fit_resample(np.asfortranarray(X), y)[0]
    np.testing.assert_array_equal(turned, rows)
    quick().fit(X, y)
    quick().fit(np.asfortranarray(X), y)
    assert len(trainings) == 3


def test_rows_of_extended_precision_are_not_cached(quick, tmp_path):
    if np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("here extended precision is double precision")
    X, y = data()
    with pytest.warns(UserWarning, match=r"could not be cached: .* dtype float"):
        sampler = quick().fit(X.astype(np.longdouble), y)
    assert sampler.sample([0]).dtype == np.longdouble
    assert not entries(tmp_path)


def test_interrupted_training_leaves_no_entry(quick, tmp_path, monkeypatch):
    X, y = data()

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "train_diffusion", interrupted)
        with pytest.raises(KeyboardInterrupt):
            quick().fit(X, y)
    assert not entries(tmp_path)
    quick().fit(X, y)  # the lock is free
    assert len(entries(tmp_path)) == 1


def test_memory_without_a_seed_is_told(quick, tmp_path):
    X, y = data()
    with pytest.warns(UserWarning, match="of no use with random_state=None"):
        quick(random_state=None).fit(X, y)
    assert not entries(tmp_path)


def search(sampler, n_jobs=None):
    """A search over sampling parameters alone: 12 candidates in 2 folds."""
    grid = {
        "latentdiffusionoversampler__guidance_scale": [0.4, 1.0],
        "latentdiffusionoversampler__eta": [0.0, 1.0],
        "latentdiffusionoversampler__sampling_random_state": [0, 1, 2],
    }
    model = make_pipeline(sampler, LogisticRegression())
    return GridSearchCV(
        model, grid, cv=2, scoring="neg_log_loss", refit=False, n_jobs=n_jobs
    )


def test_a_search_trains_once_per_fold(quick, trainings):
    X, y = data()
    cached = search(quick()).fit(X, y).cv_results_
    assert len(trainings) == 2
    plain = search(quick(memory=None)).fit(X, y).cv_results_
    assert len(trainings) == 2 + 24
    np.testing.assert_array_equal(cached["mean_test_score"], plain["mean_test_score"])
    assert len(set(cached["mean_test_score"])) == 12


def test_a_search_within_the_classifier(quick, trainings):
    X, y = data()
    model = LDMLRClassifier(oversampler=quick(random_state=None), random_state=0)
    grid = {"oversampler__guidance_scale": [0.4, 1.0], "oversampler__eta": [0.0, 1.0]}
    GridSearchCV(model, grid, cv=2, refit=False).fit(X, y)
    assert len(trainings) == 2


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_share_the_trainings(quick, tmp_path, backend):
    X, y = data()
    with joblib.parallel_config(backend=backend, n_jobs=2):
        shared = search(quick()).fit(X, y).cv_results_
    assert len(entries(tmp_path)) == 2
    # Workers may run on fewer threads, which changes the last digits.
    alone = search(quick(memory=None)).fit(X, y).cv_results_
    np.testing.assert_allclose(
        shared["mean_test_score"], alone["mean_test_score"], rtol=1e-4
    )


@pytest.mark.skipif(sys.platform == "win32", reason="dask's cluster forks badly there")
def test_a_dask_cluster_shares_the_trainings(quick, tmp_path):
    distributed = pytest.importorskip("distributed")
    X, y = data()
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        shared = search(quick()).fit(X, y).cv_results_
    assert len(entries(tmp_path)) == 2
    alone = search(quick(memory=None)).fit(X, y).cv_results_
    np.testing.assert_allclose(
        shared["mean_test_score"], alone["mean_test_score"], rtol=1e-4
    )


def test_one_of_many_workers_trains(quick, trainings):
    X, y = data()
    fit = joblib.delayed(lambda: clone(quick()).fit(X, y).loss_curve_)
    curves = joblib.Parallel(n_jobs=4, backend="threading")(fit() for _ in range(4))
    assert len(trainings) == 1
    for curve in curves:
        np.testing.assert_array_equal(curve, curves[0])
