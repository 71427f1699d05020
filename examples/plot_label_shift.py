# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""
================================
Predicting for other frequencies
================================

A classifier learns how frequent classes are. Where it is used they may be frequent in
other proportions, and often one knows in which: :class:`~ldmlr_sklearn.LDMLRClassifier`
exchanges the one for the other after training.
"""

# %%
# One model, three populations
# ----------------------------
# One and the same model, but for ``target_prior``, which says what to predict for. (Its
# network is small and briefly trained, to be quick.)

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone

from ldmlr_sklearn import LatentDiffusionOversampler, LDMLRClassifier
from ldmlr_sklearn.datasets import load_digits_lt
from ldmlr_sklearn.sampling_strategies import RatioStrategy

digits = load_digits_lt(imbalance_factor=50)
train_prior = np.bincount(digits.target) / len(digits.target)
populations = {
    "as in training": train_prior,
    "balanced": np.full(10, 0.1),
    "turned round": train_prior[::-1],
}
sampler = LatentDiffusionOversampler(
    sampling_strategy=RatioStrategy(0.2), max_steps=300, hidden_dim=128
)
model = LDMLRClassifier(oversampler=sampler, target_prior=None, random_state=0)
model.fit(digits.data, digits.target)

# %%
# Accuracy in a population is the recall of every class weighted by its frequency there.


def accuracies(fitted):
    hits = fitted.predict(digits.data_test) == digits.target_test
    recall = [hits[digits.target_test == digit].mean() for digit in range(10)]
    return [np.dot(recall, prior) for prior in populations.values()]


table = {"no correction": accuracies(model)}
for name, prior in populations.items():
    corrected = clone(model).set_params(target_prior=prior)
    table[name] = accuracies(corrected.fit(digits.data, digits.target))

# %%
# What to conclude
# ----------------

values = 100 * np.array(list(table.values()))
_, ax = plt.subplots(layout="constrained")
ax.imshow(values, cmap="cividis", aspect="auto")
for (row, column), value in np.ndenumerate(values):
    dark = value < values.mean()
    ax.text(
        column, row, f"{value:.1f} %", ha="center", color="white" if dark else "black"
    )
ax.set_xticks(range(3), populations)
ax.set_yticks(range(4), table)
ax.set(xlabel="population tested on", ylabel="target_prior", title="accuracy")

best = list(table)
for column, name in enumerate(populations):
    print(f"{name:15} best with target_prior: {best[values[:, column].argmax()]}")

# %%
# Say which frequencies you expect, and the correction is for them. It is as good as the
# predicted probabilities are: with two training rows of a class they are poor, and the
# expected diagonal need not come out.
