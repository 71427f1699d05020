# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""
========================
Guidance and diversity
========================

What low guidance, and the choice among candidates, do to a rare class that the encoder
has memorised.

A small network is trained on long-tailed digits until it knows every row. Its features
of the rarest class with at least ten rows are shown in the plane that tells best this
class, its nearest neighbour and all others apart: the rows it was trained on, unseen
ones, and generated ones.
"""

# %%
# A network that knows its rows
# -----------------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ldmlr_sklearn import LatentDiffusionOversampler
from ldmlr_sklearn.datasets import load_digits_lt

PANELS = {
    "w = 1": dict(guidance_scale=1.0, n_candidates=1),
    "w = 0.4, all candidates": dict(guidance_scale=0.4, n_candidates=1),
    "defaults": {},
}


def memorised_digits(seed=0):
    """Return features and labels of training rows and of unseen ones."""
    digits = load_digits_lt(imbalance_factor=50, test_size=0.4, random_state=seed)
    network = MLPClassifier((64, 16), alpha=1e-4, max_iter=400, random_state=seed)
    network.fit(digits.data / 16, digits.target)

    def encode(X):
        hidden = X / 16
        for layer in range(2):
            hidden = hidden @ network.coefs_[layer] + network.intercepts_[layer]
            hidden = np.maximum(hidden, 0)
        return hidden

    return (
        encode(digits.data), digits.target,
        encode(digits.data_test), digits.target_test,
    )  # fmt: skip


X, y, X_unseen, y_unseen = memorised_digits()
counts = np.bincount(y)
rare = np.flatnonzero(counts >= 10)[-1]
means = np.array([X[y == c].mean(axis=0) for c in range(len(counts))])
near = pairwise_distances(means[[rare]], means)[0].argsort()[1]
role = np.select([y_unseen == rare, y_unseen == near], [0, 1], 2)
plane = LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.1, n_components=2)
plane.fit(X_unseen, role)
judge = make_pipeline(
    StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
).fit(X, y)

# %%
# Trained once, drawn three times
# -------------------------------
# Guidance and candidates act on sampling alone: the over-sampler is trained once and
# draws with new settings.

sampler = LatentDiffusionOversampler(random_state=0).fit(X, y)
defaults = {name: sampler.get_params()[name] for name in PANELS["w = 1"]}
shown = {"training rows": X[y == rare], "unseen rows": X_unseen[y_unseen == rare]}
for name, params in PANELS.items():
    sampler.set_params(**{**defaults, **params})
    shown[name] = sampler.sample(np.full(300, rare), random_state=0)

# %%
# What to conclude
# ----------------
# "Recognised" is the share that a classifier with equal class priors, fitted to the
# training rows, gives to the class.

figure, axes = plt.subplots(
    1, len(shown), figsize=(15, 3.4), sharex=True, sharey=True, layout="constrained"
)
background = plane.transform(X_unseen)
print(f"digit {rare}: {counts[rare]} training rows; nearest: digit {near}")
print(f"expected recall r = {sampler.expected_recall_:.2f}")
for ax, (name, rows) in zip(axes, shown.items(), strict=True):
    share = (judge.predict(rows) == rare).mean()
    print(f"{name:26} {len(rows):4d} rows, {100 * share:3.0f} % recognised")
    ax.scatter(*background[role == 2].T, s=4, color="0.85", label="other digits")
    ax.scatter(
        *background[role == 1].T,
        s=6,
        color="#0072B2",
        marker="s",
        label=f"digit {near}",
    )
    ax.scatter(
        *plane.transform(rows).T,
        s=8,
        color="#D55E00",
        marker="^",
        label=f"digit {rare}",
    )
    ax.set(title=f"{name}\n{100 * share:.0f} % recognised", xticks=[], yticks=[])
axes[0].legend(loc="best", fontsize=8)
# %%
# With w = 1 the new rows lie where the training rows do, while unseen ones lie further
# out. Low guidance spreads them, too many into other classes; the choice among
# candidates brings these back. Rows of an encoder that never saw them need less of
# either: ``guidance_scale="auto"`` tells the cases apart by the expected recall.
