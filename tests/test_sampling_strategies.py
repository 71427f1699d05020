# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause

import pickle

import numpy as np
import pytest
from imblearn.over_sampling import (
    ADASYN,
    SMOTE,
    BorderlineSMOTE,
    RandomOverSampler,
)
from imblearn.pipeline import make_pipeline
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from ldmlr_sklearn.sampling_strategies import (
    RatioStrategy,
    ShotGroupStrategy,
    TemperedStrategy,
)

STRATEGIES = [
    RatioStrategy(ratio=0.3, floor=4),
    ShotGroupStrategy(groups=("few", "medium")),
    ShotGroupStrategy(groups=("few",), many=50, few=30, target=60),
    TemperedStrategy(exponent=0.25),
    TemperedStrategy(exponent=1),
]


@pytest.fixture
def long_tailed():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [120, 40, 12])
    return rng.normal(size=(len(y), 3)) + y[:, None], y


@pytest.mark.parametrize("labels", [[0, 1, 2], ["a", "b", "c"]], ids=["int", "str"])
@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
@pytest.mark.parametrize(
    "oversampler",
    [
        RandomOverSampler(random_state=0),
        SMOTE(random_state=0),
        BorderlineSMOTE(random_state=0),
    ],
    ids=lambda oversampler: type(oversampler).__name__,
)
def test_oversamplers_give_the_counts_asked(oversampler, strategy, labels, long_tailed):
    X, y = long_tailed
    y = np.array(labels)[y]
    oversampler = clone(oversampler).set_params(sampling_strategy=strategy)
    _, y_resampled = oversampler.fit_resample(X, y)
    classes, counts = np.unique(y_resampled, return_counts=True)
    assert dict(zip(classes.tolist(), counts.tolist(), strict=True)) == strategy(y)


def test_oversampler_with_counts_of_its_own_accepts_them(long_tailed):
    X, y = long_tailed
    # ADASYN only comes near the numbers that it is asked for.
    strategy = TemperedStrategy(exponent=0.5)
    _, y_resampled = ADASYN(sampling_strategy=strategy).fit_resample(X, y)
    wanted = list(strategy(y).values())
    np.testing.assert_allclose(np.bincount(y_resampled), wanted, rtol=0.1)


def test_ratio_is_the_rule_of_the_paper():
    y = np.repeat([0, 1, 2, 3, 4], [5000, 387, 388, 24, 1])
    targets = RatioStrategy()(y)
    generated = {class_: targets[class_] - np.sum(y == class_) for class_ in targets}
    assert generated == {0: 1000, 1: 77, 2: 78, 3: 5, 4: 5}


def test_shot_groups_leave_the_others_alone():
    y = np.repeat(["many", "medium", "few"], [100, 99, 19])
    for group in ("medium", "few"):
        targets = ShotGroupStrategy(groups=group)(y)
        assert targets == {"many": 100, "medium": 99, "few": 19} | {group: 100}
    targets = ShotGroupStrategy(groups=("many", "few"), target=50)(y)
    assert targets == {"many": 100, "medium": 99, "few": 50}
    targets = ShotGroupStrategy(groups="medium", many=100, few=100, target=500)(y)
    assert targets == {"many": 100, "medium": 99, "few": 19}
    targets = ShotGroupStrategy(groups="medium", many=101, few=99, target=500)(y)
    assert targets == {"many": 500, "medium": 500, "few": 19}


@pytest.mark.parametrize("exponent", [0, 0.3, 0.5, 1])
def test_tempering_raises_the_imbalance_to_the_exponent(exponent):
    y = np.repeat([0, 1, 2], [10_000, 1_000, 100])
    targets = TemperedStrategy(exponent)(y)
    assert targets[0] == 10_000
    assert targets[0] / targets[2] == pytest.approx(100**exponent, rel=1e-3)
    assert targets[0] / targets[1] == pytest.approx(10**exponent, rel=1e-3)


@pytest.mark.parametrize("exponent", [0, 0.1, 0.5, 0.9, 1])
def test_tempering_never_asks_for_fewer_rows(exponent):
    for n_largest in (7, 29, 103):
        counts = np.arange(1, n_largest + 1)
        targets = TemperedStrategy(exponent)(np.repeat(counts, counts))
        assert all(targets[count] >= count for count in counts)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_strategies_are_values(strategy):
    assert pickle.loads(pickle.dumps(strategy)) == strategy
    sampler = clone(RandomOverSampler(sampling_strategy=strategy))
    assert sampler.sampling_strategy == strategy
    assert hash(sampler.sampling_strategy) == hash(strategy)
    assert eval(repr(strategy)) == strategy
    with pytest.raises(AttributeError):
        strategy.few = 1


def test_a_list_of_groups_is_the_tuple():
    strategy = ShotGroupStrategy(groups=["few", "medium"])
    assert strategy == ShotGroupStrategy(groups=("few", "medium"))
    assert hash(strategy) == hash(ShotGroupStrategy(groups=("few", "medium")))


def test_grid_search_over_strategies(long_tailed):
    X, y = long_tailed
    pipeline = make_pipeline(RandomOverSampler(random_state=0), LogisticRegression())
    grid = {
        "randomoversampler__sampling_strategy": [
            RatioStrategy(),
            ShotGroupStrategy(),
            TemperedStrategy(),
        ]
    }
    search = GridSearchCV(pipeline, grid, scoring="balanced_accuracy", cv=3)
    search.fit(X, y)
    assert len(search.cv_results_["params"]) == 3
    chosen = search.best_params_["randomoversampler__sampling_strategy"]
    resampler = search.best_estimator_[0]
    wanted = {
        class_: count - np.sum(y == class_) for class_, count in chosen(y).items()
    }
    assert dict(resampler.sampling_strategy_) == wanted


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RatioStrategy(ratio=-0.1), "ratio of RatioStrategy must be a number"),
        (lambda: RatioStrategy(ratio="0.1"), "ratio .* at least 0. Got '0.1'"),
        (lambda: RatioStrategy(ratio=float("nan")), "ratio .* at least 0. Got nan"),
        (lambda: RatioStrategy(ratio=float("inf")), "ratio .* at least 0. Got inf"),
        (lambda: RatioStrategy(floor=0.5), "floor of RatioStrategy must be an integer"),
        (lambda: RatioStrategy(floor=True), "floor .* at least 0. Got True"),
        (lambda: ShotGroupStrategy(groups=()), "must be one or more of 'many', 'med"),
        (lambda: ShotGroupStrategy(None), "must be one or more of .* Got None"),
        (lambda: ShotGroupStrategy(3), "must be one or more of .* Got 3"),
        (lambda: ShotGroupStrategy([["few"]]), r"one or more of .* Got \[\['few'\]\]"),
        (lambda: ShotGroupStrategy(groups="tail"), r"'few'. Got 'tail'"),
        (lambda: ShotGroupStrategy(many=-1), "many of ShotGroupStrategy must be an"),
        (lambda: ShotGroupStrategy(few=2.5), "few of ShotGroupStrategy must be an"),
        (lambda: ShotGroupStrategy(many=5, few=6), "must not be above many. Got few=6"),
        (lambda: ShotGroupStrategy(target=0), "target .* at least 1. Got 0"),
        (lambda: TemperedStrategy(1.5), "exponent of TemperedStrategy .* Got 1.5"),
        (lambda: TemperedStrategy(-0.1), "exponent of TemperedStrategy .* Got -0.1"),
        (lambda: TemperedStrategy(True), "exponent of TemperedStrategy .* Got True"),
        (lambda: TemperedStrategy("half"), "exponent .* to 1, nothing generated. Got"),
    ],
)
def test_strategies_refuse(make, message):
    with pytest.raises(ValueError, match=message):
        make()
