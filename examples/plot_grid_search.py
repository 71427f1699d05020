# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""
===================================
Grid search over diffusion settings
===================================

The parameters of the over-sampler are searched like all others. Folds are made before
rows are generated, so that no generated row is ever tested on.
"""

# %%
# A search
# --------
# ``balanced_accuracy`` is the score: plain accuracy hardly sees rare classes. Every
# class needs rows in every fold, hence the moderate imbalance. Both parameters act on
# sampling alone: with ``memory``, a network is trained for each fold and not for each
# candidate (:ref:`tuning`).

import tempfile

import matplotlib.pyplot as plt
import numpy as np
from imblearn.pipeline import make_pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from ldmlr_sklearn import LatentDiffusionOversampler
from ldmlr_sklearn.datasets import load_digits_lt

cache = tempfile.TemporaryDirectory()
digits = load_digits_lt(imbalance_factor=20)
pipeline = make_pipeline(
    LatentDiffusionOversampler(
        max_steps=300, hidden_dim=128, memory=cache.name, random_state=0
    ),
    StandardScaler(),
    LogisticRegression(max_iter=1000),
)
search = GridSearchCV(
    pipeline,
    {
        "latentdiffusionoversampler__guidance_scale": [0.2, 0.5, 1.0, 2.0],
        "latentdiffusionoversampler__n_candidates": [1, 4],
    },
    scoring="balanced_accuracy",
    cv=3,
)
search.fit(digits.data, digits.target)
cache.cleanup()

# %%
# What to conclude
# ----------------

results = search.cv_results_
guidance = np.array(
    results["param_latentdiffusionoversampler__guidance_scale"], dtype=float
)
candidates = np.array(results["param_latentdiffusionoversampler__n_candidates"])
_, ax = plt.subplots(layout="constrained")
# A little aside of each other, so that no bar hides another.
for n_candidates, colour, marker, aside in (
    (1, "#0072B2", "o", -0.01),
    (4, "#E69F00", "s", 0.01),
):
    chosen = candidates == n_candidates
    ax.errorbar(
        guidance[chosen] + aside,
        results["mean_test_score"][chosen],
        yerr=results["std_test_score"][chosen],
        color=colour,
        marker=marker,
        capsize=3,
        label=f"n_candidates={n_candidates}",
    )
ax.set(xlabel="guidance_scale", ylabel="balanced accuracy (mean and std of folds)")
ax.legend()

best = {name.split("__")[1]: value for name, value in search.best_params_.items()}
spread = np.ptp(results["mean_test_score"])
noise = np.mean(results["std_test_score"])
test = balanced_accuracy_score(digits.target_test, search.predict(digits.data_test))
print(f"best: {best}, {search.best_score_:.3f} in the folds, {test:.3f} on unseen rows")
print(
    f"best and worst setting differ by {spread:.3f}, the folds of one setting "
    f"by {noise:.3f} (standard deviation)"
)

# %%
# Where the folds of one setting differ more than the settings do, the search has chosen
# by chance: keep the defaults, or search with repeated folds.
