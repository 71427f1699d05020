# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What the displays draw is what was computed another way."""

import builtins

import matplotlib.pyplot as plt
import numpy as np
import pytest
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import recall_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import Bunch

from ldmlr_sklearn import HeadClassifier, LatentDiffusionOversampler, LDMLRClassifier
from ldmlr_sklearn.inspection import (
    ClassCountsDisplay,
    ClassRecallDisplay,
    FeaturePlaneDisplay,
    GenerationQualityDisplay,
    GenerationRatioDisplay,
    LossCurveDisplay,
)
from ldmlr_sklearn.metrics import generation_report
from ldmlr_sklearn.sampling_strategies import RatioStrategy


def tailed(counts=(40, 20, 8), seed=0):
    y = np.repeat(np.array(["ant", "bee", "cat", "dog", "eel"])[: len(counts)], counts)
    shift = np.repeat(np.arange(len(counts)), counts)[:, None]
    X = np.random.default_rng(seed).normal(size=(len(y), 4)) + shift
    return X, y


@pytest.fixture(scope="module")
def sampler():
    return LatentDiffusionOversampler(max_steps=60, hidden_dim=16, random_state=0).fit(
        *tailed()
    )


def many_classes(n_classes=1000):
    """Classes in an order unlike that of their rows, 1 to n_classes of them."""
    counts = np.random.default_rng(0).permutation(np.arange(1, n_classes + 1))
    return np.arange(n_classes), counts


def counts_display(classes, counts):
    return ClassCountsDisplay(
        classes=classes, counts=counts, counts_resampled=np.full_like(counts, 2000)
    )


def recall_display(classes, counts):
    recalls = {"a": counts / counts.max(), "b": np.zeros(len(counts))}
    return ClassRecallDisplay(classes=classes, counts=counts, recalls=recalls)


def quality_display(classes, counts):
    report = Bunch(
        classes=classes, n_train=counts, coverage=counts / 1e3, authenticity=counts / 1
    )
    return GenerationQualityDisplay(report=report)


PER_CLASS = [counts_display, recall_display, quality_display]


@pytest.mark.parametrize("make", PER_CLASS)
def test_two_classes_are_named_most_frequent_first(make):
    display = make(np.array(["rare", "common"]), np.array([5, 90])).plot()
    labels = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert labels == ["common\n(90)", "rare\n(5)"]


@pytest.mark.parametrize("make", PER_CLASS)
def test_a_thousand_classes_stay_few_artists(make):
    display = make(*many_classes()).plot()
    assert len(display.ax_.patches) == 0
    assert len(display.ax_.lines) == 2
    assert "rank of the class" in display.ax_.get_xlabel()
    display.figure_.canvas.draw()


@pytest.mark.parametrize("make", PER_CLASS)
def test_plot_draws_on_given_axes(make):
    _, ax = plt.subplots()
    display = make(np.array([0, 1]), np.array([5, 90]))
    assert display.plot(ax) is display
    assert display.ax_ is ax and display.figure_ is ax.figure


def test_many_names_are_turned_and_many_classes_averaged():
    classes, counts = many_classes(30)
    display = recall_display(classes, counts).plot()
    assert {t.get_rotation() for t in display.ax_.get_xticklabels()} == {90}
    assert len(display.lines_[0].get_xdata()) == 30

    classes, counts = many_classes(1000)
    line = recall_display(classes, counts).plot().lines_[0]
    descending = np.arange(1000, 0, -1).reshape(20, 50)
    assert_allclose(line.get_ydata(), descending.mean(axis=1) / 1000)
    assert_allclose(line.get_xdata(), np.arange(1, 1001).reshape(20, 50).mean(axis=1))


def test_long_names_keep_both_ends():
    names = np.array([f"class of animals number {number}" for number in range(3)])
    ax = recall_display(names, np.array([9, 7, 5])).plot().ax_
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == [f"class of …s number {n} ({9 - 2 * n})" for n in range(3)]


def test_names_are_no_formulas():
    ax = recall_display(np.array(["$1-$5", "$a_$"]), np.array([9, 7])).plot().ax_
    ax.figure.canvas.draw()
    labels = ax.get_xticklabels()
    assert [label.get_text() for label in labels] == [
        "\\$1-\\$5\n(9)",  # which matplotlib shows as $1-$5
        "\\$a_\\$\n(7)",
    ]
    X, y = tailed()
    y = np.where(y == "cat", "$a_$", y)
    FeaturePlaneDisplay.from_resampled(X, y, X, y).figure_.canvas.draw()


@pytest.mark.parametrize("n_methods", [1, 8])
def test_legend_hides_nothing(n_methods):
    y = np.repeat(["a", "b"], 3)
    predictions = {f"method {number}" * 4: y for number in range(n_methods)}
    display = ClassRecallDisplay.from_predictions(y, predictions, y_train=y)
    display.figure_.draw_without_rendering()
    legend = display.ax_.get_legend().get_window_extent()
    axes, figure = display.ax_.get_window_extent(), display.figure_.bbox
    assert legend.y0 >= axes.y1
    assert legend.y1 <= figure.y1 and figure.x0 <= legend.x0


def test_lines_can_be_told_apart_without_colour():
    n_lines = 7
    recalls = {str(i): np.ones(2) for i in range(n_lines)}
    display = ClassRecallDisplay(
        classes=np.arange(2), counts=np.array([2, 1]), recalls=recalls
    ).plot()
    styles = {(line.get_marker(), line.get_linestyle()) for line in display.lines_}
    assert len(styles) == n_lines


def test_counts_of_an_oversampler(sampler):
    _, y = tailed()
    display = ClassCountsDisplay.from_estimator(sampler, y)
    assert display.counts.tolist() == [40, 20, 8]
    assert display.counts_resampled.tolist() == [40, 40, 40]
    before, after = display.ax_.containers
    assert [bar.get_height() for bar in before] == [40, 20, 8]
    assert [bar.get_height() for bar in after] == [40, 40, 40]
    assert display.ax_.get_yscale() == "log"


def test_counts_of_another_oversampler_agree_with_its_labels():
    X, y = tailed()
    smote = SMOTE(sampling_strategy={"cat": 30}, random_state=0)
    _, resampled = smote.fit_resample(X, y)
    estimated = ClassCountsDisplay.from_estimator(smote, y)
    counted = ClassCountsDisplay.from_labels(y, resampled)
    assert_array_equal(estimated.counts_resampled, counted.counts_resampled)
    assert_array_equal(estimated.classes, counted.classes)


def test_counts_need_a_fit_and_its_labels(sampler):
    with pytest.raises(NotFittedError):
        ClassCountsDisplay.from_estimator(RandomOverSampler(), [0, 0, 1])
    with pytest.raises(ValueError, match=r"adds rows to \['bee', 'cat'\], which are"):
        ClassCountsDisplay.from_estimator(sampler, ["ant", "dog"])


def test_recall_is_that_of_scikit_learn():
    X, y = tailed()
    X_test, y_test = tailed((10, 9, 8), seed=1)
    models = {
        "regression": LogisticRegression().fit(X, y),
        "constant": DummyClassifier().fit(X, y),
    }
    display = ClassRecallDisplay.from_estimator(models, X_test, y_test, y_train=y)
    for line, (name, model) in zip(display.lines_, models.items(), strict=True):
        expected = recall_score(y_test, model.predict(X_test), average=None)
        assert_allclose(display.recalls[name], expected)
        assert_allclose(line.get_ydata(), expected)  # sorted by frequency already
        assert line.get_label() == name


def test_recall_of_one_estimator_goes_by_its_class():
    X, y = tailed()
    model = LogisticRegression().fit(X, y)
    display = ClassRecallDisplay.from_estimator(model, X, y, y_train=y)
    assert list(display.recalls) == ["LogisticRegression"]


def test_recall_of_a_class_without_test_rows_is_a_gap():
    display = ClassRecallDisplay.from_predictions(
        ["a", "b"], ["a", "a"], y_train=["a", "a", "b", "b", "c"]
    )
    assert_array_equal(display.recalls["classifier"], [1, 0, np.nan])
    assert display.counts.tolist() == [2, 2, 1]


def test_recall_refuses_nothing_and_mixed_labels():
    with pytest.raises(ValueError, match="There is no prediction to show"):
        ClassRecallDisplay.from_predictions([0, 1], {}, y_train=[0, 1])
    with pytest.raises(ValueError, match="Mix of label input types"):
        ClassRecallDisplay.from_predictions([0, 1], ["a", "b"], y_train=[0, 1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ClassRecallDisplay.from_predictions([0, 1], [0], y_train=[0, 1])


def test_loss_and_its_running_mean(sampler):
    display = LossCurveDisplay.from_estimator(sampler)
    assert len(display.lines_) == 1  # too few steps to average
    assert_array_equal(display.lines_[0].get_ydata(), sampler.loss_curve_)

    losses = np.random.default_rng(0).uniform(size=500)
    raw, mean = LossCurveDisplay(losses=losses).plot().lines_
    assert_array_equal(raw.get_ydata(), losses)
    oracle = [losses[end - 10 : end].mean() for end in range(10, 501)]
    assert_allclose(mean.get_ydata(), oracle)
    assert mean.get_xdata()[[0, -1]].tolist() == [10, 500]


def test_loss_of_a_classifier_is_that_of_its_oversampler(sampler):
    model = LDMLRClassifier(oversampler=clone(sampler), random_state=0).fit(*tailed())
    display = LossCurveDisplay.from_estimator(model)
    assert_array_equal(display.losses, model.oversampler_.loss_curve_)


def test_displays_take_a_classifier_for_its_oversampler(sampler):
    X, y = tailed()
    model = LDMLRClassifier(oversampler=clone(sampler), random_state=0).fit(X, y)
    own = ClassCountsDisplay.from_estimator(model.oversampler_, y)
    display = ClassCountsDisplay.from_estimator(model, y)
    assert_array_equal(display.counts_resampled, own.counts_resampled)
    FeaturePlaneDisplay.from_estimator(model, X, y, random_state=0)
    GenerationQualityDisplay.from_estimator(model, X, y, *tailed(seed=1), n_rows=20)
    for display in (
        lambda: FeaturePlaneDisplay.from_estimator(SMOTE(), X, y),
        lambda: GenerationQualityDisplay.from_estimator(SMOTE(), X, y, X, y),
    ):
        with pytest.raises(AttributeError, match="SMOTE has no method 'sample'"):
            display()


def test_loss_of_epochs_says_so(sampler):
    head = HeadClassifier(max_epochs=3, random_state=0).fit(*tailed())
    labels = [
        LossCurveDisplay.from_estimator(fitted).ax_.get_xlabel()
        for fitted in (sampler, head)
    ]
    assert labels == ["training step", "training epoch"]


def test_loss_refuses_what_has_none():
    with pytest.raises(AttributeError, match="This SMOTE has no loss_curve_"):
        LossCurveDisplay.from_estimator(SMOTE())
    untrained = LatentDiffusionOversampler(max_steps=0, random_state=0)
    untrained.fit(np.arange(12.0).reshape(6, 2), [0, 0, 0, 0, 1, 1])
    with pytest.raises(
        AttributeError, match=r"is empty: its fit took no step\. Fit wi"
    ):
        LossCurveDisplay.from_estimator(untrained)


def test_quality_is_the_report(sampler):
    X, y = tailed()
    X_held_out, y_held_out = tailed((10, 10, 10), seed=1)
    display = GenerationQualityDisplay.from_estimator(
        sampler, X, y, X_held_out, y_held_out, n_rows=30, random_state=3
    )
    labels = np.repeat(["ant", "bee", "cat"], 30)
    generated = sampler.sample(labels, random_state=3)
    report = generation_report(X, y, generated, labels, X_held_out, y_held_out)
    coverage, authenticity = display.lines_
    assert_array_equal(coverage.get_ydata(), report.coverage)
    assert_array_equal(authenticity.get_ydata(), report.authenticity)
    ratio = display.plot(scores=["dcr_ratio"]).lines_[0]
    assert_array_equal(ratio.get_ydata(), report.dcr_ratio)
    assert ratio.get_label() == "dcr ratio"


@pytest.mark.parametrize("scores", [["accuracy"], []])
def test_quality_refuses_scores_it_has_not(scores):
    with pytest.raises(ValueError, match="scores must name one or more of coverage"):
        GenerationQualityDisplay.from_report(Bunch(), scores=scores)


def test_ratio_is_cross_validated(sampler):
    X, y = tailed((40, 20, 12))
    pipeline = make_pipeline(RandomOverSampler(random_state=0), LogisticRegression())
    name = "randomoversampler__sampling_strategy"
    display = GenerationRatioDisplay.from_estimator(
        pipeline, X, y, ratios=[0.5, 1.0], param_name=name, cv=3
    )
    for strategy, scores in (
        ({}, display.baseline),
        (RatioStrategy(0.5), display.scores[0]),
        (RatioStrategy(1.0), display.scores[1]),
    ):
        oracle = clone(pipeline).set_params(**{name: strategy})
        expected = cross_val_score(
            oracle, X, y, cv=StratifiedKFold(3), scoring="balanced_accuracy"
        )
        assert_allclose(scores, expected)
    assert_allclose(display.line_.get_ydata(), np.mean(display.scores, axis=1))
    assert_allclose(display.correction, 0.5, atol=0.05)
    assert pipeline.get_params()[name] == "auto"  # what was given is left alone


def test_interval_of_independent_runs_is_students():
    scores = np.array([[0.7, 0.8, 0.9], [0.5, 0.5, 0.8]])
    display = GenerationRatioDisplay.from_scores([0.2, 1.0], scores)
    segments = display.errorbar_.lines[2][0].get_segments()
    for row, segment in zip(scores, segments, strict=True):
        oracle = stats.t.interval(0.95, 2, row.mean(), stats.sem(row))
        assert_allclose(segment[:, 1], oracle)
    corrected = GenerationRatioDisplay.from_scores([0.2, 1.0], scores, correction=0.5)
    wider = corrected.errorbar_.lines[2][0].get_segments()
    width = np.ptp(segments[0][:, 1])
    assert_allclose(np.ptp(wider[0][:, 1]), width * np.sqrt((1 / 3 + 0.5) * 3))


def test_a_single_run_has_no_interval():
    display = GenerationRatioDisplay.from_scores([0.2, 1.0], [[0.7], [0.8]])
    assert display.errorbar_.lines[2] == ()


def test_ratio_refuses_other_shapes_and_parameters():
    with pytest.raises(ValueError, match=r"scores has shape \(2,\). Expected \(2, n_"):
        GenerationRatioDisplay.from_scores([0.2, 1.0], [0.7, 0.8])
    model = LDMLRClassifier(oversampler=RandomOverSampler())
    with pytest.raises(ValueError, match=r"such as \['oversampler__sampling_strategy'"):
        GenerationRatioDisplay.from_estimator(model, *tailed())


def test_plane_is_that_of_principal_components(sampler):
    X, y = tailed()
    X_unseen, y_unseen = tailed((5, 5, 5), seed=1)
    display = FeaturePlaneDisplay.from_estimator(
        sampler,
        X,
        y,
        X_unseen=X_unseen,
        y_unseen=y_unseen,
        classes=["cat", "bee"],
        n_rows=10,
        random_state=0,
    )
    plane = make_pipeline(StandardScaler(), PCA(2)).fit(X)
    expected = plane.transform(X[np.isin(y, ["cat", "ant"])])
    found = display.points["training"][np.isin(display.labels["training"], "cat")]
    assert len(found) == 8
    for place in found:
        assert np.isclose(expected, place).all(axis=1).any()
    assert np.isin(display.labels["generated"], "cat").sum() == 10
    assert np.isin(display.labels["training"], "bee").sum() == 10
    assert np.isin(display.labels["training"], "ant").sum() == 40  # the background
    assert np.isin(display.labels["unseen"], ["bee", "cat"]).all()

    drawn = {c.get_label(): c.get_offsets() for c in display.ax_.collections}
    assert len(drawn) == 7
    kept = display.labels["generated"] == "cat"
    assert_array_equal(drawn["cat, generated"], display.points["generated"][kept])
    assert len(drawn["other classes, training"]) == 40


def test_plane_of_a_resampled_set_shows_the_new_rows():
    X, y = tailed()
    X_resampled, y_resampled = SMOTE(random_state=0).fit_resample(X, y)
    display = FeaturePlaneDisplay.from_resampled(
        X, y, X_resampled, y_resampled, n_rows=1000
    )
    assert display.classes.tolist() == ["cat", "bee", "ant"]  # the rarest first
    assert len(display.points["generated"]) == len(y_resampled) - len(y)
    assert "unseen" not in display.points


def test_plane_without_new_rows():
    X, y = tailed()
    display = FeaturePlaneDisplay.from_resampled(X, y, X, y)
    assert list(display.points) == ["training"]


@pytest.mark.parametrize(
    "transformer",
    [
        LinearDiscriminantAnalysis(n_components=2),
        FrozenEstimator(PCA(2).fit(tailed(seed=5)[0])),
        TSNE(perplexity=5, random_state=0, max_iter=250),
    ],
    ids=["supervised", "frozen", "without transform"],
)
def test_plane_takes_any_transformer(sampler, transformer):
    X, y = tailed()
    display = FeaturePlaneDisplay.from_estimator(
        sampler, X, y, transformer=transformer, n_rows=50, random_state=0
    )
    assert display.points["generated"].shape == (150, 2)
    assert display.points["training"].shape == (68, 2)
    if isinstance(transformer, FrozenEstimator):
        rows = sampler.sample(display.labels["generated"], random_state=0)
        assert rows.shape == (150, 4)
        training = transformer.transform(X)
        for place in display.points["training"]:
            assert np.isclose(training, place).all(axis=1).any()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"classes": ["cow"]}, r"classes has \['cow'\], which are not in y"),
        ({"classes": list("abcdefgh")}, "Between 1 and 7 classes can be told .* Got 8"),
        ({"classes": []}, "Between 1 and 7 classes can be told apart .* Got 0"),
        ({"X_unseen": np.ones((1, 4))}, "X_unseen and y_unseen belong together"),
        ({"transformer": PCA(3)}, r"The transformer PCA returned .* Expected two col"),
        ({"transformer": FunctionTransformer()}, "FunctionTransformer returned an"),
        ({"n_rows": 0}, "The 'n_rows' parameter of .* must be an int"),
    ],
)
def test_plane_refuses(sampler, params, message):
    X, y = tailed()
    with pytest.raises(ValueError, match=message):
        FeaturePlaneDisplay.from_estimator(sampler, X, y, **params)


def test_plane_refuses_fewer_rows_than_given():
    X, y = tailed()
    with pytest.raises(ValueError, match="y_resampled has 3 labels, fewer than the 68"):
        FeaturePlaneDisplay.from_resampled(X, y, X[:3], y[:3])


@pytest.mark.parametrize(
    "display",
    [
        make(np.arange(2), np.array([2, 1]))
        for make in (counts_display, recall_display, quality_display)
    ]
    + [
        LossCurveDisplay(losses=[1.0]),
        GenerationRatioDisplay(ratios=[1], scores=[[1]]),
        FeaturePlaneDisplay(points={}, labels={}, classes=[]),
    ],
    ids=lambda display: type(display).__name__,
)
def test_without_matplotlib_the_extra_is_named(display, monkeypatch):
    real_import = builtins.__import__

    def no_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    name = type(display).__name__
    with pytest.raises(
        ImportError, match=rf'{name}\.plot needs .* "ldmlr_sklearn\[plot\]"'
    ):
        display.plot()
