# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""
=================================
From images to predictions
=================================

The whole of the method on images: a small network of timm is trained on the spot, a
diffusion model learns its features, and a linear head learns from real and generated
ones.
"""

# %%
# Encode, over-sample, classify
# -----------------------------
# ``test_resnet`` is a ResNet small enough for a CPU; ``output_stride`` keeps it from
# shrinking 8 x 8 pixels to one. Digits must not be mirrored: ``augmentation="crop"``.

import time

from sklearn.base import clone

from ldmlr_sklearn import FeatureEncoder, LDMLRClassifier
from ldmlr_sklearn.datasets import load_digits_lt

digits = load_digits_lt(imbalance_factor=50)
encoder = FeatureEncoder(
    "test_resnet",
    backbone_kwargs={"output_stride": 8},
    max_epochs=15,
    batch_size=32,
    augmentation="crop",
)
start = time.perf_counter()
model = LDMLRClassifier(encoder=encoder, random_state=0)
model.fit(digits.images, digits.target)
print(f"fitted in {time.perf_counter() - start:.0f} s")
model

# %%
# Beside the network's own head
# -----------------------------
# The control starts from the very same features: no generated row, and the class
# frequencies divided out of the predictions.

from imblearn.over_sampling import RandomOverSampler
from sklearn.frozen import FrozenEstimator

control = LDMLRClassifier(
    encoder=FrozenEstimator(model.encoder_),
    oversampler=RandomOverSampler(sampling_strategy={}),
    random_state=0,
).fit(digits.images, digits.target)
plain = clone(control).set_params(target_prior=None).fit(digits.images, digits.target)

# %%
# What to conclude
# ----------------

from ldmlr_sklearn.inspection import ClassRecallDisplay
from ldmlr_sklearn.metrics import shot_accuracy

models = {"plain head": plain, "label shift": control, "generated rows": model}
display = ClassRecallDisplay.from_estimator(
    models, digits.images_test, digits.target_test, y_train=digits.target
)
for name, each in models.items():
    accuracy = shot_accuracy(
        digits.target_test, each.predict(digits.images_test), digits.target
    )
    print(f"{name:15} all {accuracy.all:.1%}, few-shot {accuracy.few:.1%}")

# %%
# What lies between the first two lines is prior correction; what lies between the last
# two is what generated rows add to it or take from it, here for one small network and
# one draw. The :ref:`benchmarks <benchmarks>` have a larger network, more rows and
# intervals.
