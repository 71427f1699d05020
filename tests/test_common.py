# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Both estimator check suites on every estimator."""

import pytest
from imblearn.utils import estimator_checks as imblearn_checks
from sklearn.utils import estimator_checks as sklearn_checks

from ldmlr_sklearn import LatentDiffusionOversampler, LDMLRClassifier

QUICK = dict(max_steps=20, n_inference_steps=3, hidden_dim=32, random_state=0)
SAMPLER = LatentDiffusionOversampler(**QUICK)
CLASSIFIER = LDMLRClassifier(
    oversampler=LatentDiffusionOversampler(**QUICK), random_state=0
)


@pytest.mark.parametrize(
    ("estimator", "check"), list(imblearn_checks.estimator_checks_generator(SAMPLER))
)
def test_imbalanced_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        *sklearn_checks.estimator_checks_generator(CLASSIFIER),
        *sklearn_checks.estimator_checks_generator(SAMPLER),
    ],
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
