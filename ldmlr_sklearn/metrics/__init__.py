# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Metrics for long-tailed recognition, and for rows generated to help it."""

from ldmlr_sklearn.metrics._classification import (
    SHOT_GROUPS,
    shot_accuracy,
    shot_groups,
)
from ldmlr_sklearn.metrics._fidelity import density_coverage, frechet_distance
from ldmlr_sklearn.metrics._generation_report import generation_report
from ldmlr_sklearn.metrics._novelty import authenticity, dcr_ratio_share

__all__ = [
    "SHOT_GROUPS",
    "authenticity",
    "dcr_ratio_share",
    "density_coverage",
    "frechet_distance",
    "generation_report",
    "shot_accuracy",
    "shot_groups",
]
