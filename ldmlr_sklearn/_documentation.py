# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Links from the HTML display of an estimator to its page in the documentation."""

from pathlib import Path

_BUILT = Path(__file__).resolve().parents[1] / "docs" / "_build" / "html"

# Where the site is; empty where there is none, since no link is better than a dead
# one. `make docs` makes it beside the package. The gallery links from page to page.
site = _BUILT.as_uri() if _BUILT.is_dir() else ""


class DocumentationLinkMixin:
    """Give scikit-learn's HTML display the address of the estimator's page."""

    _doc_link_module = "ldmlr_sklearn"

    @property
    def _doc_link_template(self):
        page = "generated/{estimator_module}.{estimator_name}.html"
        return f"{site}/{page}" if site else ""
