# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Metrics for long-tailed recognition, and for rows generated to help it."""

from ldmlr_sklearn.metrics._classification import (
    SHOT_GROUPS,
    shot_accuracy,
    shot_groups,
)

__all__ = ["SHOT_GROUPS", "shot_accuracy", "shot_groups"]
