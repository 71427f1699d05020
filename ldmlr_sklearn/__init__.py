# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Latent diffusion for long-tailed recognition, for scikit-learn."""

__version__ = "0.1.0"
