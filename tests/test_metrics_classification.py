# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score

from ldmlr_sklearn.metrics import shot_accuracy, shot_groups


@pytest.fixture
def prediction():
    """True, predicted and training labels of six classes, two of every group."""
    rng = np.random.default_rng(0)
    y_train = np.repeat(np.arange(6), [500, 100, 99, 20, 19, 1])
    y_true = rng.integers(6, size=300)
    y_pred = np.where(rng.random(300) < 0.6, y_true, rng.integers(6, size=300))
    return y_true, y_pred, y_train


def test_agrees_with_the_recall_of_scikit_learn(prediction):
    y_true, y_pred, y_train = prediction
    recall = recall_score(y_true, y_pred, average=None)
    accuracy = shot_accuracy(y_true, y_pred, y_train)
    assert accuracy.many == pytest.approx(recall[:2].mean())
    assert accuracy.medium == pytest.approx(recall[2:4].mean())
    assert accuracy.few == pytest.approx(recall[4:].mean())
    assert accuracy.all == pytest.approx(balanced_accuracy_score(y_true, y_pred))


def test_is_the_accuracy_on_the_rows_of_a_group_when_these_are_balanced(prediction):
    _, _, y_train = prediction
    y_true = np.tile(np.arange(6), 50)
    y_pred = np.random.default_rng(1).integers(6, size=300)
    is_few = y_true >= 4
    accuracy = shot_accuracy(y_true, y_pred, y_train)
    assert accuracy.few == pytest.approx(accuracy_score(y_true[is_few], y_pred[is_few]))
    assert accuracy.all == pytest.approx(accuracy_score(y_true, y_pred))


def test_thresholds_move_classes_between_groups(prediction):
    y_true, y_pred, y_train = prediction
    recall = recall_score(y_true, y_pred, average=None)
    accuracy = shot_accuracy(y_true, y_pred, y_train, many=20, few=19)
    assert accuracy.many == pytest.approx(recall[:4].mean())
    assert accuracy.medium == pytest.approx(recall[4])
    assert accuracy.few == pytest.approx(recall[5])


def test_empty_group_is_nan():
    accuracy = shot_accuracy([0, 1], [0, 0], [0] * 200 + [1] * 2)
    assert math.isnan(accuracy.medium)
    assert (accuracy.many, accuracy.few, accuracy.all) == (1.0, 0.0, 0.5)


def test_classes_that_one_side_lacks():
    y_train = [0] * 200 + [1] * 200
    # 2 was never seen in training: few-shot; 1 is not tested: no part of any mean.
    accuracy = shot_accuracy([0, 0, 2, 2], [0, 1, 2, 2], y_train)
    assert (accuracy.many, accuracy.few, accuracy.all) == (0.5, 1.0, 0.75)


def test_takes_strings_lists_and_series(prediction):
    names = np.array(["a", "b", "c", "d", "e", "f"])
    expected = shot_accuracy(*prediction)
    assert shot_accuracy(*(names[labels] for labels in prediction)) == expected
    assert shot_accuracy(*(labels.tolist() for labels in prediction)) == expected
    assert shot_accuracy(*map(pd.Series, prediction)) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y_pred": [0]}, "inconsistent numbers of samples"),
        ({"y_true": [], "y_pred": []}, "y_true has no labels"),
        ({"y_pred": ["a", "b"]}, "Mix of label input types"),
        ({"y_true": [0.1, 0.2]}, "Unknown label type: continuous"),
        ({"few": 101}, "few must not be above many. Got few=101 and many=100"),
        ({"many": 0.5}, "'many' parameter of shot_accuracy must be an int"),
        ({"y_train": None}, "'y_train' parameter of shot_accuracy must be an array"),
    ],
)
def test_shot_accuracy_refuses(arguments, message):
    arguments = {"y_true": [0, 1], "y_pred": [0, 1], "y_train": [0, 1], **arguments}
    with pytest.raises(ValueError, match=message):
        shot_accuracy(**arguments)


def test_shot_groups_counts_rows():
    y_train = np.repeat(["c", "b", "a"], [100, 99, 19])
    assert shot_groups(y_train) == {"a": "few", "b": "medium", "c": "many"}
    assert shot_groups(y_train, many=5, few=5) == dict.fromkeys("abc", "many")
    with pytest.raises(ValueError, match="few must not be above many"):
        shot_groups(y_train, many=1, few=2)
