# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""
=========================
How many rows to generate
=========================

Score against generation ratio, as in figure 2 of the LDMLR paper: the paper generates a
share of the rows that a class has, and corrects the class frequencies afterwards.
"""

# %%
# Cross-validated ratios
# ----------------------
# The number of rows is a parameter of sampling: with ``memory`` the diffusion model is
# trained once for each fold. The baseline has no new rows, but the same correction of
# class frequencies.

import tempfile

import numpy as np
from sklearn.model_selection import RepeatedStratifiedKFold

from ldmlr_sklearn import LatentDiffusionOversampler, LDMLRClassifier
from ldmlr_sklearn.datasets import load_digits_lt
from ldmlr_sklearn.inspection import GenerationRatioDisplay

digits = load_digits_lt(imbalance_factor=20)
cache = tempfile.TemporaryDirectory()
sampler = LatentDiffusionOversampler(memory=cache.name, random_state=0)
display = GenerationRatioDisplay.from_estimator(
    LDMLRClassifier(oversampler=sampler, random_state=0),
    digits.data,
    digits.target,
    ratios=(0.2, 1.0, 3.0),
    param_name="oversampler__sampling_strategy",
    cv=RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0),
)
cache.cleanup()

# %%
# What to conclude
# ----------------
# Intervals are those of the mean over splits of one data set; differences between two
# ratios within a split vary less.

for ratio, scores in zip(display.ratios, display.scores, strict=True):
    difference = 100 * np.subtract(scores, display.baseline)
    print(
        f"ratio {ratio}: {difference.mean():+.1f} points from the baseline on average, "
        f"ahead in {np.sum(difference > 0)} of {len(difference)} splits"
    )

# %%
# Where no ratio is ahead of the baseline in most splits, the prior was all that there
# was to gain, and generated rows are best left out. The few rows of a rare class in a
# training fold, as here, tell little of what further ones look like; features of an
# encoder that was trained on the rows are another matter: see the :ref:`benchmarks
# <benchmarks>`.
