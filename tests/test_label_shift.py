# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Class frequencies on simulated shifts, where the truth is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from imblearn.ensemble import BalancedRandomForestClassifier
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_imblearn_pipeline
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils import get_tags

from ldmlr_sklearn import (
    HeadClassifier,
    LabelShiftClassifier,
    LatentDiffusionOversampler,
    LDMLRClassifier,
)
from ldmlr_sklearn._label_shift import estimate_prior, exchange_prior, own_prior

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TRAIN = np.array([0.8, 0.15, 0.05])
CENTRES = np.array([[0, 0], [2, 0], [0, 2]])


def rows(prior, n_rows, seed):
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n_rows, p=prior)
    return CENTRES[y] + rng.normal(size=(n_rows, 2)), y


def exact_proba(X, prior):
    """p(y | x) of unit Gaussians around the centres."""
    distance = ((X[:, None] - CENTRES) ** 2).sum(axis=2)
    return softmax(np.log(prior) - distance / 2, axis=1)


def test_exchange_is_bayes_rule():
    X, _ = rows(TRAIN, 200, 0)
    target = np.array([0.1, 0.3, 0.6])
    np.testing.assert_allclose(
        exchange_prior(exact_proba(X, TRAIN), TRAIN, target), exact_proba(X, target)
    )


@pytest.mark.parametrize("target", [[0.1, 0.3, 0.6], [1 / 3] * 3, [0.98, 0.01, 0.01]])
def test_em_finds_the_truth_and_the_most_likely_frequencies(target):
    X, y = rows(target, 20_000, 1)
    proba = exact_proba(X, TRAIN)
    found = estimate_prior(proba, TRAIN, "em")
    np.testing.assert_allclose(found, np.bincount(y) / len(y), atol=0.02)

    def negative_log_likelihood(logits):
        return -np.log((proba / TRAIN) @ softmax(logits)).mean()

    best = minimize(negative_log_likelihood, np.zeros(3), tol=1e-10)
    np.testing.assert_allclose(found, softmax(best.x), atol=1e-4)


def test_mapls_is_the_fixed_point_between_em_and_uniform():
    X, _ = rows([0.1, 0.3, 0.6], 2000, 1)
    proba = exact_proba(X, TRAIN)
    found = estimate_prior(proba, TRAIN, "mapls", 0.25)
    mean = exact_proba(X, found).mean(axis=0)
    np.testing.assert_allclose(found, 0.75 * mean + 0.25 / 3, atol=1e-6)
    ends = [estimate_prior(proba, TRAIN, "mapls", end) for end in (0.0, 1.0)]
    np.testing.assert_allclose(ends[0], estimate_prior(proba, TRAIN, "em"))
    np.testing.assert_allclose(ends[1], [1 / 3] * 3)


def test_mapls_is_nearer_to_a_mild_truth_where_rows_are_few():
    target = np.array([0.4, 0.35, 0.25])
    errors = {"em": 0.0, "mapls": 0.0}
    for seed in range(20):
        X, _ = rows(target, 15, seed)
        for method in errors:
            found = estimate_prior(exact_proba(X, TRAIN), TRAIN, method, 0.3)
            errors[method] += np.abs(found - target).sum()
    assert errors["mapls"] < 0.8 * errors["em"]


@pytest.mark.parametrize("shrinkage", [0.0, 0.4, 1.0])
def test_shrinkage_of_the_classifier_is_that_of_the_estimate(shrinkage):
    X, y = rows(TRAIN, 300, 0)
    X_test, _ = rows([0.1, 0.2, 0.7], 300, 1)
    model = LabelShiftClassifier(GaussianNB(), "mapls", shrinkage=shrinkage).fit(X, y)
    proba = model.estimator_.predict_proba(X_test)
    expected = estimate_prior(proba, model.train_prior_, "mapls", shrinkage)
    np.testing.assert_allclose(model.adapt(X_test).target_prior_, expected)


def test_takes_the_rows_that_its_classifier_takes():
    for classifier in (LogisticRegression(), GaussianNB(), DummyClassifier()):
        tags = get_tags(LabelShiftClassifier(classifier)).input_tags
        assert tags == get_tags(classifier).input_tags


@pytest.mark.parametrize("method", ["em", "mapls"])
def test_adapting_gains_where_frequencies_shift(method):
    X, y = rows(TRAIN, 5000, 0)
    X_test, y_test = rows([0.1, 0.2, 0.7], 5000, 1)
    model = LabelShiftClassifier(LogisticRegression(), method).fit(X, y)
    np.testing.assert_allclose(model.target_prior_, np.bincount(y) / len(y))
    np.testing.assert_allclose(
        model.predict_proba(X_test), model.estimator_.predict_proba(X_test)
    )
    before = model.score(X_test, y_test)
    assert model.adapt(X_test) is model
    np.testing.assert_allclose(model.target_prior_, [0.1, 0.2, 0.7], atol=0.06)
    assert model.score(X_test, y_test) > before + 0.1
    exact = exact_proba(X_test, np.array([0.1, 0.2, 0.7])).argmax(axis=1)
    assert model.score(X_test, y_test) > (exact == y_test).mean() - 0.02


def test_uniform_raises_balanced_accuracy():
    X, y = rows(TRAIN, 5000, 0)
    X_test, y_test = rows([1 / 3] * 3, 3000, 1)
    model = LabelShiftClassifier(LogisticRegression()).fit(X, y)
    np.testing.assert_allclose(model.target_prior_, [1 / 3] * 3)
    scores = [
        balanced_accuracy_score(y_test, classifier.predict(X_test))
        for classifier in (model, model.estimator_)
    ]
    assert scores[0] > scores[1] + 0.05


@pytest.mark.parametrize(
    ("target_prior", "expected"),
    [
        ("train", TRAIN),
        ([1, 2, 1], [0.25, 0.5, 0.25]),
        ({"c": 0.7, "a": 0.1, "b": 0.2}, [0.1, 0.2, 0.7]),
    ],
)
def test_given_frequencies(target_prior, expected):
    X, _ = rows(TRAIN, 2000, 0)
    y = np.repeat(list("abc"), [1600, 300, 100])
    # Naive Bayes takes its prior apart from its likelihoods: the exact answer.
    model = LabelShiftClassifier(GaussianNB(), target_prior).fit(X, y)
    exact = GaussianNB(priors=expected).fit(X, y)
    np.testing.assert_allclose(model.target_prior_, expected)
    np.testing.assert_allclose(model.predict_proba(X), exact.predict_proba(X))
    np.testing.assert_array_equal(model.predict(X), exact.predict(X))


def test_weights_count_in_the_frequencies():
    X, y = rows(TRAIN, 500, 0)
    weights = np.where(y == 0, 0.1, 1.0)
    model = LabelShiftClassifier(LogisticRegression()).fit(X, y, weights)
    expected = np.bincount(y, weights) / weights.sum()
    np.testing.assert_allclose(model.train_prior_, expected)
    weighted = LogisticRegression().fit(X, y, weights)
    np.testing.assert_allclose(model.estimator_.coef_, weighted.coef_)


def test_starts_from_the_prior_that_the_classifier_predicts_for():
    X, y = rows(TRAIN, 500, 0)
    adjusted = HeadClassifier("logit_adjusted", max_epochs=5, random_state=0)
    for head in (adjusted, make_pipeline(StandardScaler(), adjusted)):
        model = LabelShiftClassifier(head).fit(X, y)
        np.testing.assert_allclose(model.train_prior_, [1 / 3] * 3)
        np.testing.assert_allclose(
            model.predict_proba(X), model.estimator_.predict_proba(X)
        )
    inner = LabelShiftClassifier(LogisticRegression(), [0.2, 0.3, 0.5]).fit(X, y)
    outer = LabelShiftClassifier(FrozenEstimator(inner), "uniform").fit(X, y)
    direct = clone(inner).set_params(target_prior="uniform").fit(X, y)
    np.testing.assert_allclose(outer.predict_proba(X), direct.predict_proba(X))
    assert own_prior(LogisticRegression(), TRAIN) is TRAIN
    of_others = LogisticRegression()
    of_others.class_prior_ = np.array([0.5, 0.5])  # not of these classes
    assert own_prior(of_others, TRAIN) is TRAIN


def test_discriminant_analysis_knows_its_prior():
    X, y = rows(TRAIN, 500, 0)
    even = LinearDiscriminantAnalysis(priors=[1 / 3] * 3)
    model = LabelShiftClassifier(even).fit(X, y)
    np.testing.assert_allclose(
        model.predict_proba(X), clone(even).fit(X, y).predict_proba(X)
    )
    nothing = RandomOverSampler(sampling_strategy={})
    whole = LDMLRClassifier(None, nothing, even).fit(X, y)
    np.testing.assert_allclose(whole.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("method", ["em", "mapls"])
def test_shifts_of_published_features(method):
    path = SHARED / "cifar10_lt_if100_transfer_features.npz"
    if not path.is_file():
        pytest.skip(f"the published features are not in {SHARED}")
    with np.load(path) as file:
        X, y, X_test, y_test = (
            file[key] for key in ("X_train", "y_train", "X_test", "y_test")
        )
    head = HeadClassifier(max_epochs=10, batch_size=512, random_state=0)
    model = LabelShiftClassifier(head, method).fit(X, y)
    # The rarest classes become the most frequent ones, ten to one.
    counts = (1000 * 10.0 ** (np.arange(10) / 9 - 1)).astype(int)
    kept = np.concatenate(
        [np.flatnonzero(y_test == c)[:count] for c, count in enumerate(counts)]
    )
    X_test, y_test = X_test[kept], y_test[kept]
    before = model.score(X_test, y_test)
    assert model.adapt(X_test).score(X_test, y_test) > before + 0.3
    truth = counts / counts.sum()
    error = np.abs(model.target_prior_ - truth).sum()
    assert error < 0.8 * np.abs(truth - 1 / 10).sum()


def test_rows_of_excluded_classes_alone_fall_back():
    X, y = rows(TRAIN, 500, 0)
    certain = DummyClassifier(strategy="constant", constant=0)
    model = LabelShiftClassifier(certain, [0, 1, 3]).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X[:2]), [[0, 0.25, 0.75]] * 2)


@pytest.mark.parametrize("method", ["em", "mapls"])
def test_the_whole_method_adapts_too(method):
    X, y = rows(TRAIN, 1500, 0)
    X_test, y_test = rows([0.1, 0.2, 0.7], 1500, 1)
    sampler = LatentDiffusionOversampler(
        sampling_strategy={2: 200}, max_steps=30, hidden_dim=16
    )
    model = LDMLRClassifier(None, sampler, target_prior=method, random_state=0)
    model.fit(X, y)
    np.testing.assert_allclose(model.target_prior_, np.bincount(y) / len(y))
    before = model.score(X_test, y_test)
    assert model.adapt(X_test) is model
    proba = model.classifier_.predict_proba(X_test)
    np.testing.assert_allclose(
        model.target_prior_, estimate_prior(proba, model.effective_prior_, method)
    )
    assert model.score(X_test, y_test) > before + 0.05
    fixed = clone(model).set_params(target_prior="uniform").fit(X, y)
    with pytest.raises(ValueError, match=r"adapt estimates .* target_prior='uniform'"):
        fixed.adapt(X_test)
    with pytest.raises(NotFittedError):
        clone(model).adapt(X_test)


def test_refusals():
    X, y = rows(TRAIN, 500, 0)
    model = LabelShiftClassifier(LogisticRegression())
    with pytest.raises(NotFittedError):
        model.adapt(X)
    model.fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match=r"adapt estimates .* target_prior='uniform'"):
        model.adapt(X)
    for target_prior, message in (
        ([1, 2], r"target_prior has shape \(2,\), expected one number for each of the"),
        ({0: 1, 1: 1}, r"target_prior has the classes \[0, 1\], expected one entry"),
        ([1, 2, -1], "is not a distribution"),
        ([0, 0, 0], "is not a distribution"),
        ([1, np.inf, 1], "is not a distribution"),
        ([1, np.nan, 1], "is not a distribution"),
    ):
        model.set_params(target_prior=target_prior)
        with pytest.raises(ValueError, match=message):
            model.fit(X, y)
    frozen = LabelShiftClassifier(FrozenEstimator(model.estimator_))
    with pytest.raises(ValueError, match=r"y has the classes \[0, 1\], but the class"):
        frozen.fit(X[y < 2], y[y < 2])
    with pytest.raises(ValueError, match=r"The classes \[2\] have the frequency 0"):
        LabelShiftClassifier(LogisticRegression()).fit(X, y, (y < 2).astype(float))
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_a_series_gives_the_prior_by_class():
    X, y = rows(TRAIN, 400, 0)
    names = np.array(["ill", "acute", "well"])[y]
    target = pd.Series({"well": 0.7, "ill": 0.2, "acute": 0.1})
    for model in (
        LabelShiftClassifier(GaussianNB(), target),
        LDMLRClassifier(
            classifier=GaussianNB(),
            oversampler=RandomOverSampler(random_state=0),
            target_prior=target,
        ),
    ):
        np.testing.assert_allclose(model.fit(X, names).target_prior_, [0.1, 0.2, 0.7])
    wrong = LabelShiftClassifier(GaussianNB(), pd.Series([0.7, 0.2, 0.1]))
    with pytest.raises(ValueError, match=r"has the classes \[0, 1, 2\], expected one"):
        wrong.fit(X, names)


def test_weights_of_classes_are_not_corrected_twice():
    X, y = rows(TRAIN, 2000, 0)
    balanced = LogisticRegression(class_weight="balanced").fit(X, y)
    by_hand = dict(enumerate(1 / np.bincount(y)))
    for model in (
        balanced,
        LogisticRegression(class_weight=by_hand, C=1e9),
        make_pipeline(StandardScaler(), balanced),
        GridSearchCV(balanced, {"C": [1.0]}),
        FrozenEstimator(balanced),
    ):
        shifted = LabelShiftClassifier(model).fit(X, y)
        np.testing.assert_allclose(shifted.train_prior_, 1 / 3, rtol=1e-6)
        expected = balanced.predict_proba(X)
        np.testing.assert_allclose(shifted.predict_proba(X), expected, atol=0.02)
    partly = LogisticRegression(class_weight={0: 0.5})
    prior = LabelShiftClassifier(partly).fit(X, y).train_prior_
    counts = np.bincount(y) * [0.5, 1, 1]
    np.testing.assert_allclose(prior, counts / counts.sum())


BALANCED = LogisticRegression(class_weight="balanced")


@pytest.mark.parametrize(
    ("classifier", "plain"),
    [
        (FixedThresholdClassifier(BALANCED), LogisticRegression()),
        (TunedThresholdClassifierCV(BALANCED), LogisticRegression()),
        (
            StackingClassifier([("first", LogisticRegression())], BALANCED),
            StackingClassifier([("first", LogisticRegression())], LogisticRegression()),
        ),
        (CalibratedClassifierCV(BALANCED), LogisticRegression()),
        (BernoulliNB(fit_prior=False, binarize=0.7), BernoulliNB(binarize=0.7)),
        (BernoulliNB(class_prior=[0.3, 0.7], binarize=0.7), BernoulliNB(binarize=0.7)),
    ],
)
def test_no_prior_is_corrected_twice(classifier, plain):
    X, y = rows([0.9, 0.1, 0.0], 3000, 0)
    balanced, _ = rows([0.5, 0.5, 0.0], 3000, 1)
    shares = [
        LabelShiftClassifier(model).fit(X, y).predict(balanced).mean()
        for model in (classifier, plain)
    ]
    assert shares[0] == pytest.approx(shares[1], abs=0.06)
    assert shares[1] == pytest.approx(0.5, abs=0.15)


# Its probabilities are due to be removed from scikit-learn, which says so.
@pytest.mark.filterwarnings("ignore:.*probability:FutureWarning")
def test_support_vectors_are_calibrated_without_their_class_weights():
    X, y = rows([0.85, 0.15, 0.0], 800, 0)
    balanced, _ = rows([0.5, 0.5, 0.0], 800, 1)
    machine = SVC(probability=True, class_weight="balanced", random_state=0)
    shifted = LabelShiftClassifier(machine).fit(X, y)
    np.testing.assert_allclose(shifted.train_prior_, np.bincount(y) / len(y))
    assert shifted.predict(balanced).mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    "classifier",
    [
        BaggingClassifier(BALANCED),
        VotingClassifier([("one", BALANCED)], voting="soft"),
        OneVsRestClassifier(BALANCED),
        GridSearchCV(BaggingClassifier(BALANCED), {"n_estimators": [2]}),
    ],
)
def test_weights_of_classes_within_an_ensemble_are_refused(classifier):
    X, y = rows(TRAIN, 200, 0)
    message = "has .*__class_weight='balanced': .* Set .*__class_weight=None"
    model = LDMLRClassifier(
        oversampler=RandomOverSampler(random_state=0), classifier=classifier
    )
    for refusing in (LabelShiftClassifier(classifier), model):
        with pytest.raises(ValueError, match=message):
            refusing.fit(X, y)
    model.set_params(target_prior=None).fit(X, y)


def test_balanced_classes_beside_weights_of_rows_are_refused():
    X, y = rows(TRAIN, 200, 0)
    model = LabelShiftClassifier(BALANCED)
    with pytest.raises(ValueError, match="class_weight='balanced', beside weights"):
        model.fit(X, y, np.where(y == 0, 0.1, 1.0))
    model.fit(X, y, np.full(len(y), 3.0))


def test_weights_reach_the_last_step_of_a_pipeline():
    X, y = rows(TRAIN, 300, 0)
    weights = np.where(y == 0, 0.1, 1.0)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    shifted = LabelShiftClassifier(model).fit(X, y, weights)
    model.fit(X, y, logisticregression__sample_weight=weights)
    np.testing.assert_allclose(
        shifted.estimator_.predict_proba(X), model.predict_proba(X)
    )
    with pytest.raises(ValueError, match="KNeighborsClassifier does not"):
        LabelShiftClassifier(KNeighborsClassifier()).fit(X, y, weights)


def test_frequencies_whose_sum_overflows():
    X, y = rows(TRAIN, 200, 0)
    model = LabelShiftClassifier(GaussianNB(), [1e308, 1e308, 1]).fit(X, y)
    np.testing.assert_allclose(model.target_prior_, [0.5, 0.5, 0.0], atol=1e-9)


FOREST = BalancedRandomForestClassifier(n_estimators=2, random_state=0)


@pytest.mark.parametrize(
    "classifier",
    [
        make_imblearn_pipeline(RandomOverSampler(), GaussianNB()),
        FOREST,
        GridSearchCV(FOREST, {"max_depth": [2]}),
        BaggingClassifier(make_imblearn_pipeline(RandomOverSampler(), GaussianNB())),
        VotingClassifier([("one", FOREST)], voting="soft"),
    ],
)
def test_resampled_rows_have_no_known_prior(classifier):
    X, y = rows(TRAIN, 200, 0)
    message = "resamples the rows .* cannot be exchanged"
    with pytest.raises(ValueError, match=message):
        LabelShiftClassifier(classifier).fit(X, y)
    model = LDMLRClassifier(
        oversampler=RandomOverSampler(random_state=0), classifier=classifier
    )
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    model.set_params(target_prior=None).fit(X, y)
    assert model.predict(X).shape == y.shape


def test_a_class_that_the_classifier_excludes_cannot_be_raised():
    X, y = rows(TRAIN, 200, 0)
    classifier = GaussianNB(priors=[0.5, 0.5, 0])
    for model in (
        LabelShiftClassifier(classifier),
        LDMLRClassifier(
            classifier=classifier, oversampler=RandomOverSampler(random_state=0)
        ),
    ):
        with pytest.raises(ValueError, match=r"classes \[2\] have the frequency 0"):
            model.fit(X, y)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
@pytest.mark.parametrize(
    "model", [LabelShiftClassifier(GaussianNB()), LDMLRClassifier(), HeadClassifier()]
)
def test_missing_labels_are_counted(model, missing):
    X, y = rows(TRAIN, 30, 0)
    names = np.array(["ill", "acute", "well"], dtype=object)[y]
    names[[7, 9]] = missing
    with pytest.raises(ValueError, match="y has 2 missing labels, the first in row 7"):
        model.fit(X, names)
