# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The checker of the site finds what is broken; pages hang together."""

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def broken_links():
    spec = importlib.util.spec_from_file_location("check_site", DOCS / "check_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.broken_links


@pytest.mark.parametrize(
    ("link", "is_broken"),
    [
        ("b.html", False),
        ("b.html#there", False),
        ("b.html#not-there", True),
        ("b.html#:~:text=x", False),
        ("#here", False),
        ("#nowhere", True),
        ("c.html", True),
        ("folder/", False),
        ("a%20b.png", False),
        ("https://example.org/c.html", False),
    ],
)
def test_checker_of_links(broken_links, tmp_path, link, is_broken):
    page = f'<p id="here"></p><a href="{link}">x</a>'
    (tmp_path / "a.html").write_text(page)
    (tmp_path / "b.html").write_text('<h1 id="there">x</h1>')
    (tmp_path / "a b.png").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "index.html").touch()
    assert broken_links(tmp_path) == ([f"a.html: {link}"] if is_broken else [])


def test_every_page_of_the_guide_is_in_its_table_of_contents():
    index = (DOCS / "user_guide" / "index.rst").read_text("utf-8")
    listed = set(re.findall(r"^   (\w+)$", index, re.M))
    pages = {path.stem for path in (DOCS / "user_guide").glob("*.rst")}
    assert listed == pages - {"index"}
