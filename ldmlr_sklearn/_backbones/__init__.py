# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Networks and their weights. Importing this package does not load timm."""

from ldmlr_sklearn._backbones._build import build_backbone, name_of, wanted_input

__all__ = ["build_backbone", "name_of", "wanted_input"]
