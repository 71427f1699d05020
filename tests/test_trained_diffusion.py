# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Drawing in shards, training further, and storing what was trained."""

import pickle

import cloudpickle
import joblib
import numpy as np
import pytest
import torch
from imblearn.pipeline import make_pipeline
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import HalvingGridSearchCV

from ldmlr_sklearn import LatentDiffusionOversampler, LDMLRClassifier
from ldmlr_sklearn import _diffusion_training as training
from ldmlr_sklearn import _trained_diffusion as module
from ldmlr_sklearn._diffusion_parameters import TrainingParameters
from ldmlr_sklearn._persistence import read, write
from ldmlr_sklearn.sampling_strategies import TemperedStrategy

QUICK = dict(max_steps=20, n_inference_steps=3, hidden_dim=16, random_state=0)


def quick(**params):
    return LatentDiffusionOversampler(**{**QUICK, **params})


def data(counts=(60, 20, 6), n_features=4, seed=0):
    y = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(seed)
    return rng.normal(size=(len(y), n_features)) + 2 * y[:, None], y


def test_rows_too_many_to_keep_are_standardised_batch_by_batch(monkeypatch):
    X, y = data()
    kept = quick().fit(X, y)
    monkeypatch.setattr(training, "MAX_RESIDENT", 0)
    passing = quick().fit(X, y)
    np.testing.assert_array_equal(passing.loss_curve_, kept.loss_curve_)
    np.testing.assert_array_equal(
        passing.sample(y, random_state=0), kept.sample(y, random_state=0)
    )


def test_memory_maps_that_are_read_only_are_used_as_they_are(tmp_path):
    X, y = data()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    resampled, _ = quick().fit_resample(mapped, y)
    np.testing.assert_array_equal(resampled, quick().fit_resample(X, y)[0])


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "expected"),
    [
        (32, "auto", (32, 300, 2e-3)),
        (128, "auto", (128, 300, 4e-3)),
        (2_000, "auto", (512, 390, 8e-3)),
        (5_000, "auto", (512, 976, 8e-3)),
        (5_001, "auto", (1024, 488, 8e-3)),
        (10_000, "auto", (1024, 500, 8e-3)),
        (10**6, "auto", (1024, 500, 8e-3)),
        (10**6, 128, (128, 1000, 4e-3)),
        (10**6, 4096, (4096, 300, 8e-3)),
    ],
)
def test_training_follows_from_the_rows(n_rows, batch_size, expected):
    sampler = quick(max_steps="auto", batch_size=batch_size)
    found = sampler._parameters(TrainingParameters).resolved(n_rows)
    assert (found.batch_size, found.max_steps, found.learning_rate) == expected
    given = sampler.set_params(learning_rate=0.1)._parameters(TrainingParameters)
    assert given.resolved(n_rows).learning_rate == 0.1


def test_parameters_reach_the_training(monkeypatch):
    given = []

    def spy(network, schedule, x0, class_sizes, **parameters):
        given.append(parameters | {"schedule": schedule, "sizes": class_sizes})
        return train(network, schedule, x0, class_sizes, **parameters)

    train = training.train
    monkeypatch.setattr(training, "train", spy)
    named = dict(
        batch_size=30,
        learning_rate=1e-3,
        class_sampling=0.25,
        label_dropout=0.3,
        prediction_type="sample",
    )
    schedule = dict(noise_schedule="linear", n_train_timesteps=50)
    trained = quick(max_steps=4, **named, **schedule).fit(*data())._trained
    (parameters,) = given
    assert {name: parameters[name] for name in named} == named
    assert parameters["n_steps"] == 4
    assert parameters["sizes"].tolist() == [60, 20, 6]
    expected = module.NoiseSchedule.from_name("linear", 50)
    assert torch.equal(parameters["schedule"].signal, expected.signal)
    # The Gaussians know the same frequencies.
    prior = np.exp(trained.mixture.log_prior.numpy())
    np.testing.assert_allclose(prior, np.array([60, 20, 6]) ** 0.25, rtol=1e-5)


@pytest.mark.parametrize("ema_decay", [0.0, 0.4, 0.999])
def test_weights_are_averaged_from_step_to_step(monkeypatch, ema_decay):
    seen = []

    def weights_of(network):
        return torch.nn.utils.parameters_to_vector(network.parameters()).detach()

    def spy(network, *args, **parameters):
        seen.append(weights_of(network).clone())
        for loss in train(network, *args, **parameters):
            seen.append(weights_of(network).clone())
            yield loss

    train = training.train
    monkeypatch.setattr(training, "train", spy)
    sampler = quick(ema_decay=ema_decay).fit(*data())
    expected = seen[0]
    for step, now in enumerate(seen[1:], start=1):
        decay = min(ema_decay, (1 + step) / (10 + step))  # the first steps count less
        expected = decay * expected + (1 - decay) * now
    assert len(seen) == 21
    torch.testing.assert_close(weights_of(sampler.denoiser_), expected)
    assert torch.equal(expected, seen[-1]) == (ema_decay == 0)


# Drawing in shards


@pytest.mark.parametrize("n_candidates", [1, 3])
def test_rows_do_not_depend_on_the_workers(monkeypatch, n_candidates):
    monkeypatch.setattr(module, "CHUNK_ROWS", 100)
    sampler = quick(eta=0.5, n_candidates=n_candidates).fit(*data())
    labels = np.random.default_rng(0).integers(0, 3, 1000)
    expected = sampler.sample(labels, random_state=0)
    for n_jobs in (2, 3):
        with joblib.parallel_config(backend="threading"):
            rows = sampler.sample(labels, random_state=0, n_jobs=n_jobs)
        np.testing.assert_array_equal(rows, expected)


def test_rows_are_the_same_from_other_processes():
    sampler = quick(n_candidates=12_000).fit(*data())  # chunks of two rows
    labels = [0, 1, 2, 0, 1, 2]
    expected = sampler.sample(labels, random_state=0)
    rows = sampler.sample(labels, random_state=0, n_jobs=2)
    # Workers may run on fewer threads, which changes the last digits.
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-4)


def test_chunks_are_independent_and_alike(monkeypatch):
    sampler = quick(max_steps=300, guidance_scale=1.0).fit(*data())
    whole = sampler.sample(np.zeros(1000, int), random_state=0)
    monkeypatch.setattr(module, "CHUNK_ROWS", 100)
    parts = sampler.sample(np.zeros(1000, int), random_state=0)
    assert len(np.unique(parts, axis=0)) == 1000
    np.testing.assert_allclose(parts.mean(0), whole.mean(0), atol=0.2)
    # The rows of a chunk depend on its number and on nothing after it.
    some = sampler.sample(np.zeros(250, int), random_state=0)
    np.testing.assert_array_equal(some[:200], parts[:200])


@pytest.mark.parametrize("max_steps", [0, 20])
def test_every_seed_draws_rows_of_its_own(max_steps):
    X, y = data()
    sampler = quick(max_steps=max_steps).fit(X, y)
    drawn = [sampler.sample([0, 1, 2], random_state=seed) for seed in (0, 1, 0)]
    assert not np.isclose(drawn[0], drawn[1]).any()
    np.testing.assert_array_equal(drawn[0], drawn[2])
    new = []
    for seed in (0, 1, 0):
        sampler.set_params(sampling_random_state=seed)
        new.append(sampler.fit_resample(X, y)[0][len(X) :])
    assert np.isclose(new[0], new[1]).mean() < 0.05
    np.testing.assert_array_equal(new[0], new[2])


@pytest.mark.parametrize("prediction_type", ["v_prediction", "epsilon", "sample"])
def test_noise_alone_is_predicted_in_full_precision(monkeypatch, prediction_type):
    sampler = quick(prediction_type=prediction_type, n_candidates=1).fit(*data())
    drawn = []
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(module, "product_dtype", lambda _, dtype=dtype: dtype)
        drawn.append(sampler.sample([0, 1] * 20, random_state=0))
    assert np.array_equal(*drawn) == (prediction_type == "epsilon")
    np.testing.assert_allclose(*drawn, atol=0.2)


# Training further


def test_warm_start_goes_on_from_the_fitted_weights():
    X, y = data()
    sampler = quick(warm_start=True, max_steps=200).fit(X, y)
    first = sampler.loss_curve_
    weights = sampler.denoiser_.state_dict()
    sampler.set_params(max_steps=3, learning_rate=1e-12).fit(X, y)
    assert sampler.loss_curve_.shape == (203,)
    np.testing.assert_array_equal(sampler.loss_curve_[:200], first)
    for name, weight in sampler.denoiser_.state_dict().items():
        np.testing.assert_allclose(weight, weights[name], atol=1e-6)
    assert sampler.loss_curve_[200:].max() < 0.8 * first[:3].min()
    assert not np.allclose(sampler.loss_curve_[200:], first[:3])

    again = quick(warm_start=True, max_steps=200).fit(X, y)
    again.set_params(max_steps=3, learning_rate=1e-12).fit_resample(X, y)
    np.testing.assert_array_equal(again.loss_curve_, sampler.loss_curve_)
    anew = sampler.set_params(warm_start=False).fit(X, y)
    assert anew.loss_curve_.shape == (3,)


def test_training_further_shows_other_batches():
    sampler = quick(warm_start=True, max_steps=3, learning_rate=1e-12)
    X, y = data()
    first, second = np.split(sampler.fit(X, y).fit(X, y).loss_curve_, 2)
    assert not np.isclose(first, second, rtol=1e-4).any()  # at the same weights
    whole = quick(max_steps=3, learning_rate=1e-12).fit(X, y).loss_curve_
    np.testing.assert_array_equal(first, whole)


@pytest.mark.parametrize("backend", ["multiprocessing", "loky", "threading"])
def test_rows_are_the_same_on_every_backend_of_joblib(backend):
    sampler = quick().fit(*data())
    y = np.repeat([0, 1, 2], 700)
    expected = sampler.sample(y, random_state=0)
    with joblib.parallel_config(backend, n_jobs=2):
        found = sampler.sample(y, random_state=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_warm_start_takes_new_rows_and_their_range():
    X, y = data()
    sampler = quick(warm_start=True).fit(X, y)
    sampler.fit(*data((80, 30, 9), seed=1))
    assert sampler.class_counts_.tolist() == [80, 30, 9]
    sampler.fit(X + 100, y)
    rows = sampler.sample(np.repeat([0, 1, 2], 50), random_state=0)
    assert (rows >= X.min(0) + 100).all() and (rows <= X.max(0) + 100).all()


def test_warm_start_is_part_of_the_key(tmp_path):
    X, y = data()
    plain = quick(warm_start=True).fit(X, y).fit(X, y)
    for _ in range(2):
        cached = quick(warm_start=True, memory=tmp_path).fit(X, y).fit(X, y)
        np.testing.assert_array_equal(cached.loss_curve_, plain.loss_curve_)
        np.testing.assert_array_equal(
            cached.sample([0, 1], random_state=0), plain.sample([0, 1], random_state=0)
        )
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_warm_start_needs_the_same_columns_classes_and_network():
    X, y = data()
    sampler = quick(warm_start=True).fit(X, y)
    before = vars(sampler).copy()
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4"):
        sampler.fit(X[:, :3], y)
    with pytest.raises(ValueError, match=r"classes \[0, 1\].* a network for \[0, 1, 2"):
        sampler.fit_resample(X[y < 2], y[y < 2])
    assert vars(sampler) == before
    for name, value in dict(
        hidden_dim=8, n_blocks=1, n_train_timesteps=9, prediction_type="epsilon"
    ).items():
        sampler = quick(warm_start=True).fit(X, y).set_params(**{name: value})
        with pytest.raises(ValueError, match=f"{name}={value!r}, but warm_start=True"):
            sampler.fit(X, y)


def test_halving_over_training_steps():
    X, y = data((60, 40, 30))
    steps = "latentdiffusionoversampler__max_steps"
    models = {
        steps: make_pipeline(quick(), LogisticRegression()),
        "oversampler__max_steps": LDMLRClassifier(oversampler=quick(), random_state=0),
        f"ldmlrclassifier__oversampler__{steps.split('__')[1]}": make_pipeline(
            LDMLRClassifier(oversampler=quick(), random_state=0)
        ),
    }
    for resource, model in models.items():
        prefix = resource.removesuffix("max_steps")
        search = HalvingGridSearchCV(
            model,
            {f"{prefix}learning_rate": [1e-3, 2e-3, 4e-3]},
            resource=resource,
            min_resources=4,
            max_resources=12,
            cv=2,
        ).fit(X, y)
        assert search.n_resources_ == [4, 12]
        assert search.best_estimator_.get_params()[resource] == 12


# Storing


def same_rows(one, other):
    labels = one.classes_[[0, -1, 0]]
    np.testing.assert_array_equal(
        one.sample(labels, random_state=5), other.sample(labels, random_state=5)
    )


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", "bb", "ü"]),
        np.array(["a", "bb", "ü"], dtype=object),
        np.array([-3, 0, 7], dtype=np.int16),
        np.array([0.0, 1.0, 2.0]),
        np.array([False, True, True]),
    ],
    ids=["text", "object", "int", "float", "bool"],
)
def test_labels_survive_a_file(tmp_path, labels):
    X, y = data()
    sampler = quick()
    sampler.fit_resample(X, labels[y])
    sampler.save(tmp_path / "sampler.safetensors")
    loaded = LatentDiffusionOversampler.load(tmp_path / "sampler.safetensors")
    assert loaded.classes_.dtype == labels.dtype
    assert loaded.sampling_strategy_ == sampler.sampling_strategy_
    same_rows(loaded, sampler)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, bool])
def test_columns_survive_a_file(tmp_path, dtype):
    X, y = data()
    X[:, 0] = np.exp(5 * X[:, 0]).clip(max=6e4)  # ranked
    X[:, 1] = np.arange(len(X)) % 3  # levels
    X = (X > 2) if dtype is bool else X.astype(dtype)
    if dtype is np.int64:
        X[:, 2] += 2**60  # beyond what float64 holds
    sampler = quick(guidance_scale=0.5, memory=tmp_path).fit(X, y)
    sampler.save(str(tmp_path / "sampler.safetensors"))
    loaded = LatentDiffusionOversampler.load(str(tmp_path / "sampler.safetensors"))
    assert loaded.get_params() == {**sampler.get_params(), "memory": None}
    assert loaded.sample([0]).dtype == dtype
    same_rows(loaded, sampler)
    for name, value in vars(sampler).items():
        if name.endswith("_") and name != "denoiser_":
            np.testing.assert_equal(vars(loaded)[name], value)


def test_everything_fitted_survives_a_file(tmp_path):
    pd = pytest.importorskip("pandas")
    X, y = data()
    sampler = quick(sampling_strategy={0: 60, 2: 10}, warm_start=True)
    frame = pd.DataFrame(X, columns=list("abcd"))
    sampler.fit_resample(frame, y, sample_weight=np.linspace(0, 1, len(y)))
    sampler.save(tmp_path / "sampler")
    loaded = LatentDiffusionOversampler.load(tmp_path / "sampler")
    assert loaded.sampling_strategy == {0: 60, 2: 10}
    np.testing.assert_array_equal(loaded.feature_names_in_, list("abcd"))
    np.testing.assert_array_equal(loaded.sample_weight_, sampler.sample_weight_)
    np.testing.assert_array_equal(loaded.is_generated_, sampler.is_generated_)
    assert loaded.n_features_in_ == 4
    for one in (sampler, loaded):
        assert not any(w.requires_grad for w in one.denoiser_.parameters())
    for one in (sampler, loaded):
        one.fit(frame, y)
    np.testing.assert_array_equal(loaded.loss_curve_, sampler.loss_curve_)
    same_rows(loaded, sampler)


def test_every_kind_of_pickle(tmp_path):
    sampler = quick(memory=tmp_path).fit(*data())
    joblib.dump(sampler, tmp_path / "sampler.joblib")
    for other in (
        pickle.loads(pickle.dumps(sampler)),
        cloudpickle.loads(cloudpickle.dumps(sampler)),
        joblib.load(tmp_path / "sampler.joblib"),
    ):
        same_rows(other, sampler)
        assert {str(w.device) for w in other.denoiser_.state_dict().values()} == {"cpu"}
    assert not hasattr(clone(sampler), "denoiser_")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sampling_strategy", TemperedStrategy()),
        ("random_state", np.random.RandomState(0)),
        ("sampling_random_state", np.random.RandomState(0)),
    ],
)
def test_what_a_file_cannot_hold_is_told(tmp_path, name, value):
    path = tmp_path / "sampler"
    sampler = quick().fit(*data())
    sampler.save(path)
    sampler.set_params(**{name: value})
    with pytest.raises(TypeError, match=f"{name}=.* cannot be saved: a file that"):
        sampler.save(path)
    assert LatentDiffusionOversampler.load(path).get_params()[name] in ("auto", 0, None)
    sampler.set_params(**{name: "auto" if name == "sampling_strategy" else 0})
    sampler.save(path)


@pytest.mark.parametrize("change", ["another network", "no mixture", "no posterior"])
def test_models_of_other_versions_are_refused(tmp_path, change):
    X, y = data()
    path = tmp_path / "sampler.safetensors"
    quick().fit(X, y).save(path)
    arrays, values = read(path, "LatentDiffusionOversampler")
    if change == "another network":
        arrays["denoiser.blocks.0.expand.bias"] = np.zeros(16, np.float32)
    else:
        part = change.removeprefix("no ")
        arrays = {n: a for n, a in arrays.items() if not n.startswith(part)}
    write(path, "LatentDiffusionOversampler", arrays, values)
    with pytest.raises(ValueError, match="not built as this version"):
        LatentDiffusionOversampler.load(path)


def test_files_of_other_things_are_refused(tmp_path):
    path = tmp_path / "sampler"
    with pytest.raises(NotFittedError):
        quick().save(path)
    with pytest.raises(FileNotFoundError):
        LatentDiffusionOversampler.load(path)
    write(path, "FeatureEncoder", {}, {})
    with pytest.raises(ValueError, match="holds a FeatureEncoder, expected a Latent"):
        LatentDiffusionOversampler.load(path)
    write(path, "LatentDiffusionOversampler", {}, {"parameters": {"n_moons": 2}})
    with pytest.raises(ValueError, match=r"parameters \['n_moons'\], which this vers"):
        LatentDiffusionOversampler.load(path)


# Gaussians beside the network


def test_without_steps_rows_come_from_the_gaussians_alone():
    X, y = data()
    labels = np.repeat([0, 1], 50)
    untrained = quick(max_steps=0).fit(X, y)
    assert untrained.loss_curve_.shape == (0,)
    trained = quick(gaussian_share=1.0).fit(X, y)
    expected = trained.sample(labels, random_state=0)
    for share in (0.0, 0.5, 1.0):
        untrained.set_params(gaussian_share=share)
        found = untrained.sample(labels, random_state=0)
        np.testing.assert_array_equal(found, expected)


def test_rows_move_with_the_share_from_the_network_to_the_gaussians():
    X, y = data()
    sampler = quick(n_inference_steps=1, n_candidates=1).fit(X, y)
    rows = {}
    for share in (0.0, 0.25, 1.0):
        sampler.set_params(gaussian_share=share)
        rows[share] = sampler.sample([0, 1] * 20, random_state=0)
    assert (rows[0.0] != rows[1.0]).mean() > 0.9
    between = 0.75 * rows[0.0] + 0.25 * rows[1.0]  # of one step; a bound may bend it
    assert np.median(np.abs(rows[0.25] - between)) < 1e-4


def test_a_search_over_the_share_trains_once(tmp_path, monkeypatch):
    X, y = data()
    quick(memory=tmp_path).fit(X, y)
    monkeypatch.setattr(training, "train", None)  # no further training, or it fails
    quick(memory=tmp_path, gaussian_share=0.5).fit_resample(X, y)


def test_training_may_follow_on_none(tmp_path):
    X, y = data()
    sampler = quick(max_steps=0, warm_start=True).fit(X, y)
    sampler.save(tmp_path / "sampler.safetensors")
    loaded = LatentDiffusionOversampler.load(tmp_path / "sampler.safetensors")
    np.testing.assert_array_equal(
        loaded.sample([0, 1], random_state=0), sampler.sample([0, 1], random_state=0)
    )
    assert loaded.set_params(max_steps=4).fit(X, y).loss_curve_.shape == (4,)
    assert loaded.set_params(max_steps=0).fit(X, y).loss_curve_.shape == (4,)


def test_gaussians_alone_draw_rows_with_the_moments_of_their_class():
    rng = np.random.RandomState(0)
    mix = rng.normal(size=(3, 3))
    X = rng.normal(size=(3500, 3)) @ mix
    y = np.repeat([0, 1], [3000, 500])
    X[y == 1] += [4.0, -3.0, 2.0]
    sampler = LatentDiffusionOversampler(
        max_steps=0,
        guidance_scale=1.0,
        n_candidates=1,
        n_inference_steps=100,
        random_state=0,
    )
    drawn = sampler.fit(X, y).sample(np.ones(4000, int), random_state=0)
    real, scale = X[y == 1], X[y == 1].std(axis=0)
    shift = (drawn.mean(axis=0) - real.mean(axis=0)) / scale
    np.testing.assert_allclose(shift, 0, atol=0.1)
    difference = (np.cov(drawn.T) - np.cov(real.T)) / np.outer(scale, scale)
    np.testing.assert_allclose(difference, 0, atol=0.1)


def test_eta_renews_the_noise_and_keeps_the_distribution():
    X, y = data((300, 200))
    sampler = quick(max_steps=0, n_candidates=1, n_inference_steps=50).fit(X, y)
    labels, rows = np.repeat([0, 1], 1500), []
    for eta in (0.0, 1.0):
        sampler.set_params(eta=eta, guidance_scale=1.0)
        rows.append(sampler.sample(labels, random_state=0))
    for label in (0, 1):
        one, other = (part[labels == label] for part in rows)
        # Both start from the same noise, of which nothing is left at eta=1.
        kept = [
            np.corrcoef(*columns)[0, 1] for columns in zip(one.T, other.T, strict=True)
        ]
        np.testing.assert_allclose(kept, 0, atol=0.15)
        np.testing.assert_allclose(other.mean(axis=0), one.mean(axis=0), atol=0.15)
        np.testing.assert_allclose(other.std(axis=0), one.std(axis=0), rtol=0.1)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_without_guidance_rows_are_those_of_any_class(share):
    sampler = quick(n_candidates=1, gaussian_share=share).fit(*data())
    drawn = {}
    for scale in (0.0, 0.5, 1.0):
        sampler.set_params(guidance_scale=scale)
        drawn[scale] = [
            sampler.sample(np.full(40, label), random_state=0) for label in (0, 2)
        ]
    np.testing.assert_allclose(*drawn[0.0], atol=1e-5)
    apart = [np.abs(np.subtract(*drawn[scale])).mean() for scale in (0.0, 0.5, 1.0)]
    assert apart[0] < 1e-5 < 0.01 < apart[1] < apart[2]


@pytest.mark.parametrize("n_train_timesteps", [2, 20, 2500])
def test_rows_are_drawn_at_the_times_of_training(n_train_timesteps):
    X, y = data((200, 100))
    sampler = quick(
        n_train_timesteps=n_train_timesteps, n_inference_steps=100, max_steps=2
    ).fit(X, y)
    seen, network = [], sampler.denoiser_
    forward = type(network).forward

    def spy(self, xt, t, labels):
        seen.append(t.item())
        return forward(self, xt, t, labels)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(network), "forward", spy)
        rows = sampler.sample([0, 1] * 10, random_state=0)
    assert np.isfinite(rows).all()
    assert max(seen) == n_train_timesteps - 1
    assert len(set(seen)) == min(100, n_train_timesteps)
