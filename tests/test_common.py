# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Both estimator check suites on every estimator."""

import numpy as np
import pytest
import torch
from imblearn.utils import estimator_checks as imblearn_checks
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils import estimator_checks as sklearn_checks
from torch import nn

from ldmlr_sklearn import (
    FeatureEncoder,
    HeadClassifier,
    LabelShiftClassifier,
    LatentDiffusionOversampler,
    LDMLRClassifier,
)
from ldmlr_sklearn._losses import LOSSES

QUICK = dict(max_steps=20, n_inference_steps=3, hidden_dim=32, random_state=0)
SAMPLER = LatentDiffusionOversampler(**QUICK)
CLASSIFIER = LDMLRClassifier(
    oversampler=LatentDiffusionOversampler(**QUICK), random_state=0
)


HEADS = [HeadClassifier(loss, random_state=0) for loss in LOSSES]
SHIFTED = LabelShiftClassifier(LogisticRegression(), "em")
# As scikit-learn says of its own SGDClassifier.
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a row repeated comes at another place of the order than a row of weight two"
    )
}


@pytest.mark.parametrize(
    ("estimator", "check"), list(imblearn_checks.estimator_checks_generator(SAMPLER))
)
def test_imbalanced_learn_checks(estimator, check):
    check(estimator)


# Rows are drawn in proportion to their weights, so that other rows are generated.
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a row repeated comes at another place of the order than a row of weight two"
    )
}


@sklearn_checks.parametrize_with_checks(
    [CLASSIFIER, SAMPLER],
    expected_failed_checks=lambda estimator: (
        EXPECTED_FAILURES if estimator is CLASSIFIER else {}
    ),
    xfail_strict=True,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@sklearn_checks.parametrize_with_checks(
    [*HEADS, SHIFTED],
    expected_failed_checks=lambda estimator: (
        EXPECTED_FAILURES if estimator in HEADS[:3] else {}
    ),
    xfail_strict=True,
)
def test_scikit_learn_checks_of_heads(estimator, check):
    check(estimator)


def flattening_network():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(5))


ENCODER = FeatureEncoder(flattening_network, image_shape=(1, -1), random_state=0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(
    "estimator",
    [SAMPLER, CLASSIFIER, HEADS[0], clone(ENCODER).set_params(max_epochs=1)],
    ids=lambda estimator: type(estimator).__name__,
)
def test_fit_needs_no_gradients_of_its_caller(estimator, mode):
    estimator, y = clone(estimator), np.repeat([0, 1], [30, 10])
    X = np.random.default_rng(0).random((40, 6))

    def outcome():
        estimator.fit(X, y)
        if isinstance(estimator, LatentDiffusionOversampler):
            return estimator.sample(y, random_state=0)
        if isinstance(estimator, FeatureEncoder):
            return estimator.transform(X)
        return estimator.predict_proba(X)

    expected = outcome()
    with mode():
        np.testing.assert_array_equal(outcome(), expected)
        assert not torch.is_grad_enabled()


# Scikit-learn's own tests call these for its estimators; its generator leaves them out.
NOT_GENERATED = {
    "check_dataframe_column_names_consistency": (
        *(CLASSIFIER, SAMPLER, ENCODER, SHIFTED, HEADS[0]),
    ),
    "check_param_validation": (CLASSIFIER, SAMPLER, ENCODER, SHIFTED, HEADS[0]),
    "check_get_feature_names_out_error": (ENCODER,),
    "check_transformer_get_feature_names_out": (ENCODER,),
    "check_transformer_get_feature_names_out_pandas": (ENCODER,),
    "check_set_output_transform": (ENCODER,),
    "check_set_output_transform_pandas": (ENCODER,),
    "check_global_output_transform_pandas": (ENCODER,),
    "check_set_output_transform_polars": (ENCODER,),
    "check_global_set_output_transform_polars": (ENCODER,),
}


# The output checks go from frames to arrays on purpose.
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize(
    ("check", "estimator"),
    [
        (check, estimator)
        for check, group in NOT_GENERATED.items()
        for estimator in group
    ],
)
def test_checks_that_the_generators_leave_out(check, estimator):
    module = imblearn_checks if estimator is SAMPLER else sklearn_checks
    getattr(module, check)(type(estimator).__name__, estimator)
