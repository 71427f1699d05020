# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""For tests and doctests alike: nothing opens a window, no figure stays open."""

import os
import sys

import pytest

os.environ["MPLBACKEND"] = "Agg"

# What `make docs` makes, and what it is made with, hold no tests of their own.
collect_ignore = [
    "docs/check_in_browser.py",
    "docs/check_site.py",
    "docs/conf.py",
    "docs/mathml.py",
    "docs/_build",
    "docs/auto_examples",
    "docs/generated",
]


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
