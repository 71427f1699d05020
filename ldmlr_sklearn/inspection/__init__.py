# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Displays of what was learnt, generated and gained; they need matplotlib."""

from ldmlr_sklearn.inspection._class_counts import ClassCountsDisplay
from ldmlr_sklearn.inspection._class_recall import ClassRecallDisplay
from ldmlr_sklearn.inspection._feature_plane import FeaturePlaneDisplay
from ldmlr_sklearn.inspection._generation_quality import GenerationQualityDisplay
from ldmlr_sklearn.inspection._generation_ratio import GenerationRatioDisplay
from ldmlr_sklearn.inspection._loss_curve import LossCurveDisplay

__all__ = [
    "ClassCountsDisplay",
    "ClassRecallDisplay",
    "FeaturePlaneDisplay",
    "GenerationQualityDisplay",
    "GenerationRatioDisplay",
    "LossCurveDisplay",
]
