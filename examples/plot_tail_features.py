# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""
======================
Features of the tail
======================

Real and generated features of rare classes in one plane, as in figure 3 of the LDMLR
paper, with rows that the model has not seen: that is where new rows should lie.
"""

# %%
# Three ways to make new rows
# ---------------------------
# The plane is spanned by the principal components of all unseen rows: one of the
# training rows would show those apart from each other that it was made of.

import sys

import matplotlib.pyplot as plt
from imblearn.over_sampling import SMOTE, RandomOverSampler
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ldmlr_sklearn import LatentDiffusionOversampler
from ldmlr_sklearn.datasets import load_digits_lt
from ldmlr_sklearn.inspection import FeaturePlaneDisplay, GenerationQualityDisplay
from ldmlr_sklearn.metrics import generation_report

digits = load_digits_lt(imbalance_factor=50)
X, y = digits.data, digits.target
X_unseen, y_unseen = digits.data_test, digits.target_test
plane = make_pipeline(StandardScaler(), PCA(2)).fit(X_unseen)
rare = [6, 7]

samplers = {
    "repeated (RandomOverSampler)": RandomOverSampler(random_state=0),
    "interpolated (SMOTE)": SMOTE(k_neighbors=1, random_state=0),
    "diffused": LatentDiffusionOversampler(random_state=0),
}
figure, axes = plt.subplots(
    1, 3, figsize=(13, 4.6), sharex=True, sharey=True, layout="constrained"
)
coverage = {}
for ax, (name, sampler) in zip(axes, samplers.items(), strict=True):
    X_resampled, y_resampled = sampler.fit_resample(X, y)
    FeaturePlaneDisplay.from_resampled(
        X,
        y,
        X_resampled,
        y_resampled,
        X_unseen=X_unseen,
        y_unseen=y_unseen,
        classes=rare,
        transformer=FrozenEstimator(plane),
        n_rows=52,
        random_state=0,
        ax=ax,
    )
    ax.set_title(name)
    ax.get_legend().remove()
    new = y_resampled[len(X) :]
    report = generation_report(X, y, X_resampled[len(X) :], new, X_unseen, y_unseen)
    coverage[name] = report.coverage[[list(report.classes).index(c) for c in rare]]

figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=7)
if sys.argv[1:]:  # a path: the figure of the README
    figure.savefig(sys.argv[1], dpi=80)

# %%
# What to conclude
# ----------------
# Triangles are training rows, crosses new ones, circles unseen ones. Repeated rows stay
# where they were and interpolated ones on lines between them.

counts = dict(zip(digits.target_names.tolist(), [0] * 10, strict=True))
for label in y.tolist():
    counts[label] += 1
for name, shares in coverage.items():
    parts = [
        f"{share:.0%} of digit {digit} ({counts[digit]} training rows)"
        for digit, share in zip(rare, shares, strict=True)
    ]
    print(f"{name:29} has a new row near " + " and ".join(parts))

# %%
# The same for every class, and beside it how far new rows lie from the training rows:
# 0 for copies, and 1 for rows as far off as unseen ones are.

GenerationQualityDisplay.from_report(report, scores=("coverage", "dcr_ratio"))

# %%
# "Near" is within the distance of an unseen row to its fifth neighbour, in all 64
# columns and not in the plane alone. Nobody can know from a few rows where unseen ones
# lie: look at both kinds of evidence before you trust new rows, and at what
# :ref:`classifiers gain <sphx_glr_auto_examples_plot_beside_smote.py>`.
