# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Latent diffusion for long-tailed recognition, for scikit-learn."""

from ldmlr_sklearn._feature_encoder import FeatureEncoder
from ldmlr_sklearn._head_classifier import HeadClassifier
from ldmlr_sklearn._label_shift_classifier import LabelShiftClassifier
from ldmlr_sklearn._latent_diffusion_oversampler import LatentDiffusionOversampler
from ldmlr_sklearn._ldmlr_classifier import LDMLRClassifier

__version__ = "0.1.0"

__all__ = [
    "FeatureEncoder",
    "HeadClassifier",
    "LDMLRClassifier",
    "LabelShiftClassifier",
    "LatentDiffusionOversampler",
    "__version__",
]
