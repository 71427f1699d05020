# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Encode, over-sample, classify, correct: each against a second way to the result."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from imblearn.combine import SMOTEENN
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline as make_imblearn_pipeline
from imblearn.under_sampling import RandomUnderSampler
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils import get_tags

from ldmlr_sklearn import (
    HeadClassifier,
    LatentDiffusionOversampler,
    LDMLRClassifier,
)
from ldmlr_sklearn._heads import AnchoredHead
from ldmlr_sklearn.metrics import generation_report

LABELS = np.repeat(["a", "b", "c"], [80, 30, 8])
NOTHING = RandomOverSampler(sampling_strategy={})


def quick_sampler(**params):
    return LatentDiffusionOversampler(
        max_steps=30, n_inference_steps=3, hidden_dim=32, **params
    )


def quick(**params):
    return LDMLRClassifier(
        **{"oversampler": quick_sampler(), "random_state": 0, **params}
    )


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = LABELS
    centres = {"a": [0, 0, 0, 0], "b": [1, 1, 0, 0], "c": [0, 1, 1, 0]}
    X = np.stack([centres[label] for label in y]) + 0.6 * rng.normal(size=(118, 4))
    shuffled = rng.permutation(118)
    return X[shuffled], y[shuffled]


def test_default_head_is_pulled_to_that_of_the_real_rows_at_uniform_prior(data):
    X, y = data
    model = quick().fit(X, y)
    scaler, regression = make_pipeline(
        StandardScaler(), LogisticRegression(C=1 / (5e-3 * 118), max_iter=200)
    ).fit(X, y)
    weight = regression.coef_ / scaler.scale_
    bias = regression.intercept_ - weight @ scaler.mean_
    log_prior = np.log(np.array([80, 30, 8]) / 118)
    anchor = model.classifier_
    assert anchor.alpha == pytest.approx(100 / 118)
    np.testing.assert_allclose(anchor.weight, weight, atol=1e-8)
    np.testing.assert_allclose(anchor.bias, bias - log_prior + np.log(1 / 3))
    again = clone(anchor).fit(*clone(model.oversampler_).fit_resample(X, y))
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))
    np.testing.assert_allclose(model.effective_prior_, [1 / 3] * 3)
    assert model.classes_.tolist() == ["a", "b", "c"]


def test_default_head_of_two_classes_starts_from_logistic_regression(data):
    X, y = data
    X, y = X[y != "c"], y[y != "c"]
    scaler, regression = make_pipeline(
        StandardScaler(), LogisticRegression(C=1 / (5e-3 * 110), max_iter=200)
    ).fit(X, y)
    logit = regression.decision_function(scaler.transform(X)) - np.log(30 / 80)
    anchor = quick().fit(X, y).classifier_
    found = X @ (anchor.weight[1] - anchor.weight[0]) + anchor.bias[1] - anchor.bias[0]
    np.testing.assert_allclose(found, logit, atol=1e-6)


def test_the_pull_is_as_strong_as_columns_over_rows(data):
    X, y = data
    for times, n_columns, alpha in [
        (1, 4, 100 / 118),
        (10, 4, 100 / 1180),
        (10, 400, 400 / 1180),
        (200, 4, 0.005),  # the ridge of the head on the real rows
    ]:
        many = np.tile(X, (times, n_columns // 4)), np.tile(y, times)
        model = LDMLRClassifier(oversampler=NOTHING).fit(*many)
        assert model.classifier_.alpha == alpha


@pytest.mark.parametrize(
    ("target_prior", "expected"),
    [
        ("uniform", [1 / 3] * 3),
        ("train", [80 / 118, 30 / 118, 8 / 118]),
        ([1, 2, 1], [0.25, 0.5, 0.25]),
        ({"c": 0.7, "a": 0.1, "b": 0.2}, [0.1, 0.2, 0.7]),
        (None, [80 / 118, 30 / 118, 8 / 118]),
    ],
)
def test_prior_correction_is_the_formula(data, target_prior, expected):
    X, y = data
    model = quick(
        oversampler=NOTHING, classifier=GaussianNB(), target_prior=target_prior
    ).fit(X, y)
    # Naive Bayes takes its prior apart from its likelihoods: the exact answer.
    exact = GaussianNB(priors=expected).fit(X, y)
    np.testing.assert_allclose(model.target_prior_, expected)
    np.testing.assert_allclose(
        model.predict_proba(X), exact.predict_proba(X), atol=1e-8
    )
    np.testing.assert_allclose(
        np.exp(model.predict_log_proba(X)), model.predict_proba(X)
    )
    np.testing.assert_array_equal(model.predict(X), exact.predict(X))


def test_correction_starts_from_the_prior_that_was_seen(data):
    X, y = data
    strategy = {"b": 50, "c": 50}
    sampler = RandomOverSampler(sampling_strategy=strategy, random_state=0)
    regression = make_pipeline(StandardScaler(), LogisticRegression())
    model = quick(oversampler=sampler, classifier=regression, generated_weight=0.5)
    model.fit(X, y)
    seen = np.array([80, 30 + 0.5 * 20, 8 + 0.5 * 42])
    np.testing.assert_allclose(model.effective_prior_, seen / seen.sum())
    weights = np.r_[np.ones(118), np.full(62, 0.5)]
    head = clone(regression).fit(
        *sampler.fit_resample(X, y), logisticregression__sample_weight=weights
    )
    logits = head.decision_function(X) - np.log(seen / seen.sum())
    np.testing.assert_allclose(
        model.decision_function(X) - model.decision_function(X).mean(1, keepdims=True),
        logits - logits.mean(1, keepdims=True),
        atol=1e-6,
    )
    proba = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), proba, atol=1e-6)


def test_binary_scores_agree_with_probabilities(data):
    X, y = data
    binary = y != "c"
    model = quick(oversampler=NOTHING).fit(X[binary], y[binary])
    scores, proba = model.decision_function(X), model.predict_proba(X)
    assert scores.shape == (118,)
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), proba[:, 1], atol=1e-9)
    np.testing.assert_array_equal(model.predict(X) == "b", scores > 0)


def test_a_class_with_target_zero_is_never_predicted(data):
    X, y = data
    model = quick(classifier=KNeighborsClassifier(1), target_prior=[1, 1, 0]).fit(X, y)
    proba = model.predict_proba(X)
    assert (proba[:, 2] == 0).all() and "c" not in model.predict(X)
    np.testing.assert_allclose(proba.sum(1), 1)


class Recorder(ClassifierMixin, BaseEstimator):
    """Keep what `fit` is given."""

    def fit(self, X, y, sample_weight=None):
        self.X_, self.y_, self.sample_weight_ = X, y, sample_weight
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])

    def predict_proba(self, X):
        return np.tile(np.arange(1.0, 4) / 6, (len(X), 1))


def test_generated_rows_carry_their_weight(data):
    X, y = data
    model = quick(classifier=Recorder(), generated_weight=0.25).fit(X, y)
    weights = model.classifier_.sample_weight_
    np.testing.assert_array_equal(weights[:118], 1.0)
    np.testing.assert_array_equal(weights[118:], 0.25)
    assert len(weights) == 240
    np.testing.assert_array_equal(model.classifier_.X_[:118], X)
    assert quick(classifier=Recorder()).fit(X, y).classifier_.sample_weight_ is None


def test_anchored_head_pulled_to_zero_is_logistic_regression(data):
    X, y = data
    weights = np.random.default_rng(0).uniform(0.5, 2, len(y))
    Z = StandardScaler().fit_transform(X)
    exact = LogisticRegression(C=1 / (0.1 * weights.sum()), tol=1e-8, max_iter=1000)
    exact.fit(Z, y, sample_weight=weights)
    head = AnchoredHead(np.zeros((3, 4)), np.zeros(3), alpha=0.1).fit(X, y, weights)
    np.testing.assert_allclose(head.predict_proba(X), exact.predict_proba(Z), atol=1e-4)
    np.testing.assert_array_equal(head.predict(X), exact.predict(Z))


def test_anchored_head_pulled_hard_keeps_the_given_weights(data):
    X, y = data
    weight = np.random.default_rng(0).normal(size=(3, 4))
    head = AnchoredHead(weight, np.zeros(3), alpha=1e6).fit(X, y)
    np.testing.assert_allclose(head.coef_, weight, atol=1e-4)
    assert np.abs(head.intercept_).max() > 0.1  # free to follow the data


def test_anchored_head_takes_logits_whose_exponentials_overflow(data):
    X, y = data
    weight = 1000 * np.random.default_rng(0).normal(size=(3, 4))
    rows = X.astype(np.float32)
    head = AnchoredHead(weight, np.zeros(3), alpha=1e6).fit(rows, y)
    assert np.abs(head._logits(rows)).max() > 1000
    np.testing.assert_allclose(head.coef_, weight, atol=1e-3)


def test_classifier_starts_from_a_head_with_its_prior_exchanged(data):
    X, y = data
    trained = LogisticRegression().fit(X, y)  # at the frequencies of y
    init_head = trained.coef_, trained.intercept_
    model = quick(init_head=init_head).fit(X, y)
    anchor = model.classifier_
    counts = np.array([80, 30, 8])
    np.testing.assert_allclose(anchor.weight, trained.coef_)
    np.testing.assert_allclose(
        anchor.bias, trained.intercept_ - np.log(counts / 118) + np.log(1 / 3)
    )
    distance = np.abs(anchor.coef_ - trained.coef_).mean()
    fresh = quick().fit(X, y).classifier_.coef_
    assert distance < np.abs(fresh - trained.coef_).mean()
    assert model.decision_function(X).shape == (118, 3)
    pickle.loads(pickle.dumps(model)).predict(X)


def test_encoder_lends_its_head_where_the_classes_agree(data):
    X, y = data

    class Encoder(FunctionTransformer):
        def fit(self, X, y):
            self.classes_ = np.unique(y) if self.kw_args is None else np.arange(3)
            self.head_weight_, self.head_bias_ = np.ones((3, 4)), np.zeros(3)
            return super().fit(X, y)

    with_head = quick(encoder=Encoder()).fit(X, y)
    np.testing.assert_array_equal(with_head.classifier_.weight, np.ones((3, 4)))
    frozen = quick(encoder=FrozenEstimator(Encoder().fit(X, y))).fit(X, y)
    np.testing.assert_array_equal(frozen.predict(X), with_head.predict(X))
    other = quick(encoder=Encoder(kw_args={})).fit(X, y)
    assert not np.allclose(other.classifier_.weight, 1)


def test_init_head_on_whole_numbers_is_the_one_on_floats(data):
    X, y = data
    X = np.rint(10 * X).astype(int)
    rng = np.random.default_rng(0)
    head = 0.05 * rng.normal(size=(3, 4)), np.zeros(3)
    proba = [
        quick(init_head=head).fit(rows, y).predict_proba(rows)
        for rows in (X, X.astype(float))
    ]
    np.testing.assert_allclose(*proba, atol=1e-6)


def test_binary_anchored_head(data):
    X, y = data
    binary = y != "c"
    model = quick(init_head=(np.zeros((2, 4)), np.zeros(2))).fit(X[binary], y[binary])
    scores = model.decision_function(X)
    assert scores.shape == (118,)
    np.testing.assert_array_equal(model.predict(X) == "b", scores > 0)


def test_methods_follow_the_classifier(data):
    X, y = data
    for classifier, has in [
        (None, {"predict_proba", "predict_log_proba", "decision_function"}),
        (LinearSVC(), {"decision_function"}),
        (GaussianNB(), {"predict_proba", "predict_log_proba"}),
    ]:
        model = quick(classifier=classifier)
        for fitted in (model, clone(model).fit(X, y)):
            methods = ("predict_proba", "predict_log_proba", "decision_function")
            assert {name for name in methods if hasattr(fitted, name)} == has
    assert model.fit(X, y).score(X, y) > 0.6


def test_encoder_is_fitted_and_used_once(data):
    X, y = data
    images = X.reshape(-1, 2, 2)

    class Encoder(BaseEstimator):
        transformed = 0

        def fit(self, X, y=None):
            self.labels_ = y
            return self

        def transform(self, X):
            type(self).transformed += 1
            return np.asarray(X).reshape(len(X), -1)

    model = quick(encoder=Encoder()).fit(images, y)
    assert Encoder.transformed == 1
    np.testing.assert_array_equal(model.encoder_.labels_, y)
    np.testing.assert_array_equal(model.predict(images), quick().fit(X, y).predict(X))
    assert model.encoder is not model.encoder_
    with pytest.raises(ValueError, match="is not a distribution"):
        quick(encoder=Encoder(), target_prior=[1, -1, 1]).fit(images, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        quick(encoder=Encoder()).fit(images, y[:-1])
    assert Encoder.transformed == 2, "nothing is encoded before the labels are checked"


def test_frozen_encoder_is_not_fitted_again(data):
    X, y = data
    pca = PCA(2).fit(X[:50])
    model = quick(encoder=FrozenEstimator(pca)).fit(X, y)
    np.testing.assert_array_equal(
        model.predict(X), quick().fit(pca.transform(X), y).predict(pca.transform(X))
    )


def test_goes_where_classifiers_go(data):
    X, y = data
    for pipeline in (
        make_pipeline(StandardScaler(), quick()),
        make_imblearn_pipeline(StandardScaler(), quick()),
    ):
        assert cross_validate(pipeline, X, y, cv=2)["test_score"].mean() > 0.5
    grid = {
        "oversampler__guidance_scale": [0.4, 1.0],
        "target_prior": ["uniform", "train"],
    }
    search = GridSearchCV(quick(), grid, cv=2, scoring="balanced_accuracy")
    assert len(search.fit(X, y).cv_results_["params"]) == 4
    calibrated = CalibratedClassifierCV(quick(), cv=2).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(1), 1)


def test_any_over_sampler_and_classifier(data):
    X, y = data
    model = quick(oversampler=SMOTE(), classifier=HistGradientBoostingClassifier())
    assert model.fit(X, y).score(X, y) > 0.8


def test_one_seed_reaches_every_part(data):
    X, y = data
    model = quick(classifier=make_pipeline(StandardScaler(), LogisticRegression()))
    numpy_state = np.random.mtrand._rand.get_state(legacy=False)["state"]
    torch_state = torch.get_rng_state()
    one, two = clone(model).fit(X, y), clone(model).fit(X, y)
    now = np.random.mtrand._rand.get_state(legacy=False)["state"]
    np.testing.assert_array_equal(now["key"], numpy_state["key"])
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    assert isinstance(one.oversampler_.random_state, int)
    kept = quick(oversampler=quick_sampler(random_state=7)).fit(X, y)
    assert kept.oversampler_.random_state == 7
    assert model.oversampler.random_state is None
    other = clone(model).set_params(random_state=1).fit(X, y)
    assert not np.allclose(one.predict_proba(X), other.predict_proba(X))


def test_seeds_of_all_parts_follow_from_one(data):
    X, y = data
    parts = dict(
        encoder=make_pipeline(PCA(3), FunctionTransformer()),
        oversampler=RandomOverSampler(),
        classifier=make_pipeline(StandardScaler(), LogisticRegression()),
    )
    seeds = []
    for random_state in (0, 0, 1):
        model = quick(**parts, random_state=random_state).fit(X, y)
        seeds += [
            (
                model.encoder_.get_params()["pca__random_state"],
                model.oversampler_.random_state,
                model.classifier_.get_params()["logisticregression__random_state"],
            )
        ]
    assert seeds[0] == seeds[1]
    assert len({*seeds[0], *seeds[2]}) == 6 and None not in seeds[0]
    given = make_pipeline(PCA(3, random_state=5), FunctionTransformer())
    model = quick(**parts | {"encoder": given}).fit(X, y)
    assert model.encoder_.get_params()["pca__random_state"] == 5


def test_the_default_oversampler_is_as_verbose(data, capsys):
    X, y = data
    model = LDMLRClassifier(verbose=1, random_state=0).fit(X[:20, :2], y[:20])
    assert "diffusion: 100%" in capsys.readouterr().err
    model.set_params(verbose=0).fit(X[:20, :2], y[:20])
    assert capsys.readouterr().err == ""


def test_rows_are_those_that_the_encoder_takes(data):
    X, y = data
    for encoder in (PCA(2), FunctionTransformer(), FunctionTransformer(validate=True)):
        assert (
            get_tags(quick(encoder=encoder)).input_tags == get_tags(encoder).input_tags
        )
    model = quick().fit(X, y)
    assert model.n_features_in_ == 4
    images = X.reshape(-1, 2, 2)
    flatten = FunctionTransformer(lambda images: images.reshape(len(images), -1))
    model.set_params(encoder=flatten).fit(images, y)
    assert not hasattr(model, "n_features_in_")
    assert model.predict(images).shape == y.shape


def test_without_a_target_the_prior_of_the_classifier_stays(data):
    X, y = data
    even = GaussianNB(priors=[0.2, 0.3, 0.5])
    model = quick(oversampler=NOTHING, classifier=even, target_prior=None).fit(X, y)
    np.testing.assert_allclose(model.target_prior_, [0.2, 0.3, 0.5])
    exact = even.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(model.predict_proba(X), exact)


def test_pickle_round_trip(data):
    X, y = data
    model = quick().fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (dict(target_prior=[0.5, 0.5]), r"shape \(2,\), expected one number for each"),
        (dict(target_prior=[1, -1, 1]), "is not a distribution"),
        (dict(target_prior=[0, 0, 0]), "is not a distribution"),
        (dict(target_prior=[1, np.nan, 1]), "is not a distribution"),
        (dict(target_prior={"a": 1}), r"classes \['a'\], expected one entry"),
        (dict(target_prior="balanced"), "'target_prior' parameter"),
        (dict(generated_weight=-1), "'generated_weight' parameter"),
        (dict(oversampler=PCA()), "'oversampler' parameter"),
        (
            dict(init_head=(np.zeros((3, 2)), np.zeros(3))),
            r"shapes \(\(3, 2\), \(3,\)\)\. Expected",
        ),
        (dict(init_head=(np.zeros((3, 4)),)), "init_head has arrays of shapes"),
        (
            dict(init_head=(np.full((3, 4), np.nan), np.zeros(3))),
            "init_head contains NaN",
        ),
        (
            dict(init_head=(np.zeros((3, 4)), np.array([0, np.inf, 0]))),
            "init_head contains NaN",
        ),
        (
            dict(init_head=(np.zeros((3, 4)), np.zeros(3)), classifier=GaussianNB()),
            "init_head is for the default classifier",
        ),
        (
            dict(generated_weight=0.5, classifier=KNeighborsClassifier()),
            "KNeighborsClassifier does not",
        ),
        (
            dict(oversampler=NOTHING, classifier=LinearSVC()),
            "LinearSVC has no predict_proba",
        ),
        (
            dict(classifier=Ridge()),
            r"classifier=Ridge\(\) is a regressor. Expected a classifier",
        ),
    ],
)
def test_every_error_says_what_to_do(data, params, message):
    with pytest.raises(ValueError, match=message):
        quick(**params).fit(*data)


def test_a_classifier_may_choose_columns_by_name(data):
    X, y = data
    frame = pd.DataFrame(X, columns=list("abcd"), index=np.arange(118) + 7)
    head = LogisticRegression()
    chosen = make_column_transformer((StandardScaler(), ["b", "c"]))
    model = quick(classifier=make_pipeline(chosen, head)).fit(frame, y)
    by_number = make_column_transformer((StandardScaler(), [1, 2]))
    expected = quick(classifier=make_pipeline(by_number, head)).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(frame), expected.predict_proba(X))
    assert model.classifier_.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["b", "a", "c", "d"]])


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_output_containers_of_scikit_learn_change_nothing(data, output):
    X, y = data
    expected = quick().fit(X, y).predict_proba(X)
    report = generation_report(X, y, X, y, X, y)
    with config_context(transform_output=output):
        np.testing.assert_array_equal(quick().fit(X, y).predict_proba(X), expected)
        found = generation_report(X, y, X, y, X, y)
        np.testing.assert_array_equal(found.frechet_distance, report.frechet_distance)
        HeadClassifier(max_epochs=1).fit(X, y)


def test_encoders_may_return_sparse_features():
    words = ["cat", "dog", "owl"]
    texts = [f"{words[i % 3]} number {10 + i}" for i in range(30)]
    labels = np.arange(30) % 3
    model = quick(encoder=CountVectorizer()).fit(texts, labels)
    assert (model.predict(texts) == labels).mean() > 0.9


def test_features_too_large_for_the_default_head_are_told(data):
    X, y = data
    with pytest.raises(ValueError, match=r"numbers up to .*, squares of which over"):
        quick().fit(1e200 * X, y)


@pytest.mark.parametrize("sampler", [RandomUnderSampler(), SMOTEENN()])
def test_rows_that_are_left_out_are_told(data, sampler):
    model = quick(oversampler=sampler, classifier=GaussianNB())
    with pytest.raises(ValueError, match="left out rows or changed their order"):
        model.fit(*data)


def test_images_without_an_encoder_are_told():
    images = np.zeros((6, 8, 8, 3), dtype=np.uint8)
    for X in (images, images[..., 0], ["a.png"] * 6, np.array(["a.png"] * 6)):
        with pytest.raises(ValueError, match=r"LDMLRClassifier\(encoder=FeatureEnc"):
            quick().fit(X, [0, 0, 0, 0, 1, 1])


def test_weights_reach_a_classifier_through_a_search(data):
    X, y = data
    search = GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2)
    model = quick(classifier=search, generated_weight=0.5).fit(X, y)
    whole = quick(classifier=LogisticRegression(), generated_weight=0.5).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), whole.predict_proba(X))


def test_one_class_and_unfitted(data):
    X, _ = data
    with pytest.raises(ValueError, match="one class only, 'a'"):
        quick().fit(X, np.full(118, "a"))
    with pytest.raises(NotFittedError):
        quick().predict(X)


def test_failed_refit_leaves_the_model_as_it_was(data):
    X, y = data
    model = quick().fit(X, y)
    expected = model.predict_proba(X)
    with pytest.raises(ValueError, match="is not a distribution"):
        model.set_params(target_prior=[-1, 1, 1]).fit(X[:, :2], y)
    np.testing.assert_array_equal(model.predict_proba(X), expected)


class Spy(RandomOverSampler):
    """Writes down the weights that it gets."""

    def fit_resample(self, X, y, *, sample_weight=None):
        self.got_ = sample_weight
        return super().fit_resample(X, y)


class SpyEncoder(FunctionTransformer):
    """Writes down the weights that it gets."""

    def fit(self, X, y=None, sample_weight=None):
        self.got_ = sample_weight
        return super().fit(X, y)


def weights_of(y):
    return np.linspace(0.5, 2, len(y)) * np.where(y == "c", 3.0, 1.0)


def test_weights_reach_every_part_and_generated_rows_weigh_as_their_class(data):
    X, y = data
    weight = weights_of(y)
    weight[::5] = 0
    assert {*y[::5]} == {*"abc"}
    model = quick(
        encoder=SpyEncoder(),
        oversampler=Spy(random_state=0),
        classifier=GaussianNB(),
        generated_weight=0.5,
        target_prior=None,
    ).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(model.encoder_.got_, weight)
    np.testing.assert_array_equal(model.oversampler_.got_, weight)
    rows, labels = RandomOverSampler(random_state=0).fit_resample(X, y)
    means = {label: weight[(y == label) & (weight > 0)].mean() for label in "abc"}
    generated = [0.5 * means[label] for label in labels[len(y) :]]
    expected = GaussianNB().fit(rows, labels, np.r_[weight, generated])
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(X))
    np.testing.assert_allclose(model.effective_prior_, expected.class_prior_)


def test_equal_weights_change_nothing(data):
    X, y = data
    model = quick(oversampler=RandomOverSampler())
    plain, weighted = model.fit(X, y), clone(model).fit(X, y, np.full(118, 3.0))
    np.testing.assert_allclose(
        weighted.predict_proba(X), plain.predict_proba(X), atol=1e-5
    )


def test_default_parts_take_weights(data):
    X, y = data
    weight = np.where(X[:, 0] > 0, 1.0, 1e-6)
    kept = X[:, 0] > 0
    weighted = quick(oversampler=NOTHING, target_prior="train").fit(X, y, weight)
    expected = quick(oversampler=NOTHING, target_prior="train").fit(X[kept], y[kept])
    np.testing.assert_allclose(
        weighted.target_prior_, expected.target_prior_, atol=1e-4
    )
    # Columns are standardised by all rows, so that the penalty differs a little.
    gap = np.abs(weighted.predict_proba(X) - expected.predict_proba(X)).mean()
    unweighted = quick(oversampler=NOTHING, target_prior="train").fit(X, y)
    far = np.abs(unweighted.predict_proba(X) - expected.predict_proba(X)).mean()
    assert gap < 0.2 * far


@pytest.mark.parametrize("make", [make_pipeline, make_imblearn_pipeline])
def test_weights_through_pipelines(data, make):
    X, y = data
    weight = weights_of(y)
    sampler = Spy(random_state=0)
    expected = quick(oversampler=sampler).fit(
        StandardScaler().fit_transform(X), y, weight
    )
    old = make(StandardScaler(), quick(oversampler=sampler))
    old.fit(X, y, ldmlrclassifier__sample_weight=weight)
    np.testing.assert_allclose(
        old[-1].predict_proba(X), expected.predict_proba(X), atol=1e-6
    )
    with config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        unset = make(
            scaler, quick(oversampler=Spy()).set_fit_request(sample_weight=True)
        )
        with pytest.raises(UnsetMetadataPassedError, match="fit_resample"):
            unset.fit(X, y, sample_weight=weight)
        for requested in (True, False):
            part = Spy(random_state=0).set_fit_resample_request(sample_weight=requested)
            model = quick(oversampler=part).set_fit_request(sample_weight=True)
            routed = make(scaler, model).fit(X, y, sample_weight=weight)[-1]
            assert (routed.oversampler_.got_ is not None) == requested
            np.testing.assert_allclose(
                routed.predict_proba(X), expected.predict_proba(X), atol=1e-6
            )
        unasked = LogisticRegression().set_fit_request(sample_weight=False)
        model = quick(oversampler=NOTHING, classifier=unasked).set_fit_request(
            sample_weight=True
        )
        routed = make(scaler, model).fit(X, y, sample_weight=weight)[-1]
        np.testing.assert_allclose(routed.effective_prior_ * 118, [80, 30, 8])


@pytest.mark.parametrize(
    ("weight", "params", "message"),
    [
        (np.where(LABELS == "b", 0, 1.0), {}, r"0 for all rows of the classes \['b'\]"),
        (np.full(118, -1.0), {}, "Negative values"),
        (np.ones(7), {}, r"sample_weight.shape == \(7,\)"),
        (
            np.arange(118.0),
            {"classifier": KNeighborsClassifier()},
            "KNeighborsClassifier does not",
        ),
    ],
)
def test_errors_of_weights(data, weight, params, message):
    X, y = data
    order = np.argsort(np.argsort(y, kind="stable"), kind="stable")
    weight = weight[order] if len(weight) == len(y) else weight
    with pytest.raises(ValueError, match=message):
        quick(**params).fit(X, y, weight)


@pytest.mark.parametrize("kind", ["pandas", "nullable", "categorical", "polars"])
def test_frames_and_labels_of_every_kind(data, kind):
    X, y = data
    names = list("pqrs")
    expected = quick().fit(X, y).predict_proba(X)
    if kind == "polars":
        frame, labels = pl.DataFrame(X, schema=names), pl.Series(y)
    else:
        frame, labels = pd.DataFrame(X, columns=names), pd.Series(y)
        if kind == "nullable":
            frame, labels = frame.convert_dtypes(), labels.astype("string")
        if kind == "categorical":
            labels = labels.astype("category")
    model = quick().fit(frame, labels)
    np.testing.assert_allclose(model.predict_proba(frame), expected, atol=1e-6)
    assert model.feature_names_in_.tolist() == names
    assert set(model.predict(frame)) <= {"a", "b", "c"}
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[names[::-1]])


def test_nullable_whole_numbers_as_labels(data):
    X, y = data
    codes = np.searchsorted(["a", "b", "c"], y)
    model = quick().fit(X, pd.Series(codes, dtype="Int64"))
    np.testing.assert_array_equal(model.predict(X), quick().fit(X, codes).predict(X))
    with pytest.raises(ValueError, match=r"NaN|missing"):
        quick().fit(X, pd.Series([None, *codes[1:]], dtype="Int64"))
