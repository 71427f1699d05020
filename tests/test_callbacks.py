# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks of scikit-learn see every step of training, and may end it."""

import importlib.util
import sys

import numpy as np
import pytest
from imblearn.pipeline import make_pipeline
from sklearn.linear_model import LogisticRegression

from ldmlr_sklearn import LatentDiffusionOversampler

pytest.importorskip("sklearn.callback")

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.repeat([0, 1], [30, 10])


def quick(**params):
    return LatentDiffusionOversampler(
        max_steps=6, n_inference_steps=2, hidden_dim=16, random_state=0, **params
    )


class Recorder:
    """Writes down what it is told; asks to stop after some steps."""

    def __init__(self, stop_after=None, raises=None):
        self.stop_after, self.raises = stop_after, raises
        self.events, self.shapes, self.losses = [], [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X, y, metadata):
        self.events.append(f"{context.task_name} begins")
        self.shapes.append((X.shape, y.shape, metadata))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.events.append(f"{context.task_name} ends")
        if context.task_name != "step":
            return False
        if self.raises:
            raise self.raises
        self.losses.append(fitted_estimator.loss_curve_[-1])
        assert fitted_estimator.sample([0, 1], random_state=0).shape == (2, 3)
        return len(self.losses) == self.stop_after


def test_without_steps_the_fit_alone_is_told():
    recorder = Recorder()
    quick().set_params(max_steps=0).set_callbacks(recorder).fit(X, Y)
    assert recorder.events == ["setup", "fit begins", "fit ends", "teardown"]


def test_every_step_is_told():
    for method in ("fit", "fit_resample"):
        recorder = Recorder()
        sampler = quick().set_callbacks(recorder)
        getattr(sampler, method)(X, Y)
        assert recorder.events == [
            *("setup", "fit begins"),
            *(["step begins", "step ends"] * 6),
            *("fit ends", "teardown"),
        ]
        assert set(recorder.shapes) == {((40, 3), (40,), None)}
        np.testing.assert_array_equal(recorder.losses, sampler.loss_curve_)
        alone = quick().fit(X, Y)
        np.testing.assert_array_equal(alone.loss_curve_, sampler.loss_curve_)


def test_callbacks_stop_training(tmp_path):
    stopped = quick(learning_rate=1e-3, memory=tmp_path).set_callbacks(Recorder(2))
    assert stopped.fit(X, Y).loss_curve_.shape == (2,)
    assert stopped.sample([0, 1]).shape == (2, 3)
    # What was stopped does not stand for the whole.
    whole = quick(learning_rate=1e-3, memory=tmp_path).fit(X, Y)
    assert whole.loss_curve_.shape == (6,)


def test_a_model_from_the_cache_is_told_as_one_task(tmp_path):
    quick(memory=tmp_path).fit(X, Y)
    recorder = Recorder()
    quick(memory=tmp_path).set_callbacks(recorder).fit(X, Y)
    assert recorder.events == ["setup", "fit begins", "fit ends", "teardown"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken")])
def test_what_a_callback_raises_leaves_the_estimator_as_it_was(error):
    sampler = quick().fit(X, Y)
    recorder = Recorder(raises=error)
    sampler.set_callbacks(recorder)
    before = vars(sampler).copy()
    with pytest.raises(type(error)):
        sampler.fit(X[:, :2], Y)
    assert vars(sampler) == before
    assert recorder.events[-1] == "teardown"


def test_callbacks_of_a_step_work_in_a_pipeline():
    recorder = Recorder()
    model = make_pipeline(quick().set_callbacks(recorder), LogisticRegression())
    model.fit(X, Y)
    assert recorder.events.count("step ends") == 6


def test_older_versions_of_scikit_learn_have_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    spec = importlib.util.find_spec("ldmlr_sklearn._callbacks")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Estimator(module.CallbackSupportMixin):
        @module.with_callbacks
        def fit(self):
            task = module.FitTask(self, 3, {})
            return list(task.watch(iter("abc"), dict)), task.end()

    assert not hasattr(Estimator, "set_callbacks")
    assert Estimator().fit() == (["a", "b", "c"], None)
