# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""
===========
Quick start
===========

Digits of which some are rare: how many rows an over-sampler adds, and what that changes
for each of them.
"""

# %%
# A long-tailed data set
# ----------------------
# scikit-learn's digits, of which 0 keeps all its training rows and 9 hardly any. The
# test rows are balanced, so that every digit counts alike.

from ldmlr_sklearn.datasets import load_digits_lt

digits = load_digits_lt(imbalance_factor=50)
X, y = digits.data, digits.target

# %%
# The over-sampler
# ----------------
# It adds rows that a diffusion model has learnt to draw, until all digits have as many.

from ldmlr_sklearn import LatentDiffusionOversampler
from ldmlr_sklearn.inspection import ClassCountsDisplay

sampler = LatentDiffusionOversampler(random_state=0)
X_resampled, y_resampled = sampler.fit_resample(X, y)
ClassCountsDisplay.from_labels(y, y_resampled)

# %%
# The same classifier with and without new rows
# ---------------------------------------------

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ldmlr_sklearn.inspection import ClassRecallDisplay
from ldmlr_sklearn.metrics import shot_accuracy


def classifier():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


models = {
    "real rows": classifier().fit(X, y),
    "real and generated rows": classifier().fit(X_resampled, y_resampled),
}
few = {
    name: shot_accuracy(digits.target_test, model.predict(digits.data_test), y).few
    for name, model in models.items()
}
ClassRecallDisplay.from_estimator(
    models, digits.data_test, digits.target_test, y_train=y
)

# %%
# What to conclude
# ----------------

for name, recall in few.items():
    print(f"{name:24} find {recall:.0%} of the digits with fewer than 20 training rows")

# %%
# This is one draw of rows. Part of such a difference is only that the classifier no
# longer expects rare digits to be rare, which costs nothing to have:
# :ref:`sphx_glr_auto_examples_plot_beside_smote.py` shows how much.
