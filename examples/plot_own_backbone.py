# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""
=======================
A backbone of your own
=======================

Any ``torch.nn.Module`` that maps images to features can be the backbone, here three
convolutions. Pass the class, or a function that builds it: then every clone in a grid
search builds its own, seeded by ``random_state``.
"""

# %%
# The module
# ----------

import matplotlib.pyplot as plt
from torch import nn

from ldmlr_sklearn import FeatureEncoder, LDMLRClassifier
from ldmlr_sklearn.datasets import load_digits_lt


def small_network(width=32):
    """Return a network of images (n, 1, h, w) to features (n, 2 · width)."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, stride=2),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


# %%
# It is trained with a linear head on the images, and its parameters are those of
# ``backbone_kwargs``.

digits = load_digits_lt(imbalance_factor=50)
encoder = FeatureEncoder(
    small_network,
    backbone_kwargs={"width": 24},
    max_epochs=30,
    batch_size=32,
    augmentation="crop",
    random_state=0,
)
encoder.fit(digits.images, digits.target)
features = encoder.transform(digits.images)
print(f"{features.shape[1]} features of {len(features)} images")

# %%
# Everything else goes on from features.

from ldmlr_sklearn.inspection import FeaturePlaneDisplay, LossCurveDisplay
from ldmlr_sklearn.metrics import shot_accuracy

features_test = encoder.transform(digits.images_test)
model = LDMLRClassifier(
    init_head=(encoder.head_weight_, encoder.head_bias_), random_state=0
)
model.fit(features, digits.target)

# %%
# What to conclude
# ----------------

figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4.5), layout="constrained", width_ratios=[2, 3]
)
LossCurveDisplay.from_estimator(encoder, ax=left)
left.set(xlabel="epoch", title="training of the backbone")
FeaturePlaneDisplay.from_estimator(
    model.oversampler_,
    features,
    digits.target,
    X_unseen=features_test,
    y_unseen=digits.target_test,
    classes=[5, 6, 7],
    n_rows=40,
    random_state=0,
    ax=right,
)
right.set_title("features of three rare digits")

accuracy = shot_accuracy(
    digits.target_test, model.predict(features_test), digits.target
)
print(f"all digits {accuracy.all:.1%}, few-shot ones {accuracy.few:.1%}")
print(f"expected recall of rare digits: {model.oversampler_.expected_recall_:.2f}")

# %%
# The expected recall tells how well features of rare training rows can be recognised.
# Where it is far above what unseen rows of such classes reach, the network has
# memorised the rows, and their features are too narrow: the higher it is, the lower is
# the guidance that the over-sampler takes.
