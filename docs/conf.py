# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The site: ``make docs`` writes it to docs/_build/html."""

import os
import sys
import warnings
from pathlib import Path

import ldmlr_sklearn
from ldmlr_sklearn import _documentation

os.environ["HF_HUB_OFFLINE"] = "1"  # an example that asks for a download fails at once
warnings.filterwarnings("ignore", "IProgress not found")
# In the pages of the gallery, estimators link to the reference beside them.
_documentation.site = ".."

sys.path.insert(0, str(Path(__file__).parent))  # for mathml

project = "ldmlr_sklearn"
copyright = "the developers of ldmlr_sklearn"
version = release = ldmlr_sklearn.__version__

extensions = [
    "mathml",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "py:obj"
autosummary_generate = True
autodoc_typehints = "none"  # the numpydoc sections say more
numpydoc_show_class_members = False
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = f"ldmlr_sklearn {release}"
html_static_path = ["_static"]
html_css_files = ["phone.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"(^|/)(?!plot_)[^/]*\.py$",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_signature": False,
    "capture_repr": ("_repr_html_",),  # no addresses of objects
    "write_computation_times": False,
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("ldmlr_sklearn",),
    "abort_on_example_error": True,
    "matplotlib_animations": False,
}

# Methods that are inherited from scikit-learn refer to its user guide. Its addresses
# would take a network to look up, so that these become plain text.
LABELS_OF_SCIKIT_LEARN = {
    "accuracy_score",
    "df_output_transform",
    "meta-estimator",
    "metadata_routing",
    "sphx_glr_auto_examples_miscellaneous_plot_set_output.py",
}


def setup(app):
    def as_text(app, env, node, contents):
        is_known = node["reftarget"].lower() in LABELS_OF_SCIKIT_LEARN
        return contents if is_known else None

    app.connect("missing-reference", as_text)
