# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Both estimator check suites on every estimator."""

import pytest
from imblearn.utils.estimator_checks import estimator_checks_generator

from ldmlr_sklearn import LatentDiffusionOversampler

QUICK_SAMPLER = LatentDiffusionOversampler(
    max_steps=20, n_inference_steps=3, hidden_dim=32, random_state=0
)


@pytest.mark.parametrize(
    ("estimator", "check"), list(estimator_checks_generator(QUICK_SAMPLER))
)
def test_imbalanced_learn_checks(estimator, check):
    check(estimator)
