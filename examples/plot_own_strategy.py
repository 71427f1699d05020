# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""
================================
A sampling strategy of your own
================================

How many rows a class gets is up to a function of the labels. Here is one from the
literature, the "effective number" of rows, beside those that come with the library.
"""

# %%
# A function of the labels
# ------------------------
# It returns the rows of every class *after* resampling, never fewer than it has, as
# imbalanced-learn wants it. Defined in a module of your own, it pickles and works in
# parallel searches.

import matplotlib.pyplot as plt
import numpy as np

from ldmlr_sklearn.sampling_strategies import RatioStrategy, TemperedStrategy


def effective_number(y, beta=0.99):
    """Fill classes up in proportion to what further rows would add to them.

    The effective number of n rows is (1 − β^n) / (1 − β): rows beyond 1 / (1 − β) of
    them say little new. A class gets new rows as it lacks effective ones.
    """
    classes, counts = np.unique(y, return_counts=True)
    effective = (1 - beta**counts) / (1 - beta)
    lacking = 1 - effective / effective.max()
    targets = counts + np.round(lacking * (counts.max() - counts)).astype(int)
    return dict(zip(classes.tolist(), targets.tolist(), strict=True))


strategies = {
    "auto": "auto",
    "RatioStrategy(1.0)": RatioStrategy(1.0),
    "TemperedStrategy(0.5)": TemperedStrategy(0.5),
    "effective_number": effective_number,
}

# %%
# Trained once, drawn four times
# ------------------------------
# The strategy has no part in training. So one over-sampler is trained, and each
# strategy asks it for its rows with ``sample``.

from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ldmlr_sklearn import LatentDiffusionOversampler
from ldmlr_sklearn.datasets import load_digits_lt

digits = load_digits_lt(imbalance_factor=50)
X, y = digits.data, digits.target
counts = np.bincount(y)
sampler = LatentDiffusionOversampler(random_state=0).fit(X, y)

after, accuracy = {}, {}
for name, strategy in strategies.items():
    if strategy == "auto":
        wanted = np.full(10, counts.max())
    else:
        targets = strategy(y)
        wanted = np.array([targets[digit] for digit in range(10)])
    labels = np.repeat(np.arange(10), wanted - counts)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(np.vstack([X, sampler.sample(labels, random_state=0)]), np.r_[y, labels])
    after[name] = wanted
    accuracy[name] = balanced_accuracy_score(
        digits.target_test, model.predict(digits.data_test)
    )

# %%
# What to conclude
# ----------------

_, ax = plt.subplots(layout="constrained")
ax.plot(counts, color="black", marker="o", label="training rows")
colours = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
for (name, wanted), colour, marker in zip(after.items(), colours, "s^Dv", strict=True):
    label = f"{name}: balanced accuracy {accuracy[name]:.1%}"
    ax.plot(wanted, color=colour, marker=marker, linestyle="--", label=label)
ax.set(xlabel="digit", ylabel="rows afterwards", yscale="log", xticks=range(10))
ax.legend()

for name, score in sorted(accuracy.items(), key=lambda item: -item[1]):
    print(f"{name:22} {after[name].sum() - len(y):4d} new rows, {score:.1%}")

# %%
# Part of these differences is the prior that unequal classes leave in the classifier.
# :class:`~ldmlr_sklearn.LDMLRClassifier` takes it out again, whatever the strategy.
