# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The checker of the site finds what is broken; formulas become MathML."""

import importlib.util
import inspect
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def module_of_docs(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def check_site():
    return module_of_docs("check_site")


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
def test_checker_of_links(check_site, tmp_path, link, is_broken):
    page = f'<p id="here"></p><a href="{link}">x</a>'
    (tmp_path / "a.html").write_text(page)
    (tmp_path / "b.html").write_text('<h1 id="there">x</h1>')
    (tmp_path / "a b.png").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "index.html").touch()
    broken = check_site.broken_links(tmp_path)
    assert broken == ([f"a.html: {link}"] if is_broken else [])


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ('<script src="https://cdn.org/x.js"></script>', "https://cdn.org/x.js"),
        ('<img src="//cdn.org/x.png" alt="x">', "//cdn.org/x.png"),
        (
            '<link rel="stylesheet" href="http://cdn.org/x.css">',
            "http://cdn.org/x.css",
        ),
        ('<p style="background: url(https://cdn.org/a)">x</p>', "https://cdn.org/a"),
        ("<style>@import 'https://cdn.org/b';</style>", "https://cdn.org/b"),
        ('<link rel="canonical" href="https://example.org/">', None),
        ('<a href="https://example.org/">x</a>', None),
        ('<script src="x.js"></script><p>url(https://example.org)</p>', None),
        ('<img src="data:image/png;base64,AA==" alt="x">', None),
    ],
)
def test_checker_of_what_is_loaded(check_site, tmp_path, page, address):
    (tmp_path / "a.html").write_text(page)
    found = check_site.loaded_from_elsewhere(tmp_path)
    assert found == ([f"a.html: {address}"] if address else [])


def test_checker_of_what_style_sheets_load(check_site, tmp_path):
    style = 'a {src: url("https://cdn.org/x.woff") url(y.woff)}'
    (tmp_path / "a.css").write_text(style)
    found = check_site.loaded_from_elsewhere(tmp_path)
    assert found == ["a.css: https://cdn.org/x.woff"]


def test_checker_of_texts_of_images(check_site, tmp_path):
    (tmp_path / "a.html").write_text('<img src="x.png"><img src="y.png" alt="">')
    assert check_site.images_without_text(tmp_path) == ["a.html: x.png"]


def test_formulas_become_mathml():
    to_mathml = module_of_docs("mathml").to_mathml
    formula = to_mathml(r"a < \sqrt{b}", "inline")
    root = ElementTree.fromstring(formula)
    assert root.get("alttext") == r"a < \sqrt{b}"
    assert [leaf.text for leaf in root.iter() if leaf.text] == ["a", "<", "b"]
    norm = to_mathml(r"\lVert a \rVert^2 \sim b", "block")
    assert norm.count('stretchy="false"') == 2 and "&#x0223C;" in norm
    with pytest.raises(ValueError, match=r"A command of this formula is not known: "):
        to_mathml(r"\oops{a}", "block")


def test_every_page_of_the_guide_is_in_its_table_of_contents():
    index = (DOCS / "user_guide" / "index.rst").read_text("utf-8")
    listed = set(re.findall(r"^   (\w+)$", index, re.M))
    pages = {path.stem for path in (DOCS / "user_guide").glob("*.rst")}
    assert listed == pages - {"index"}


# What is shown and not run as a doctest: the first line of each block, and why.
NOT_RUN = {
    'cifar = load_cifar("cifar-10-python.tar.gz")': "the archive is 170 MB",
    "from dask.distributed import Client, LocalCluster": "a script, as in test_scaling",
    "# train.py": "a script, as in test_scaling",
    "$ accelerate launch --multi_gpu --num_processes 4 train.py": "takes four GPUs",
    "python examples/reproduce_paper.py table1 FEATURES.npz ...": "takes hours",
}


def blocks_of_code(page):
    """Literal blocks of a page that hold no doctest."""
    starts = re.finditer(
        r"^(?!\.\. (?!code)).*::.*\n\n((?: +.*\n|\n)+)", page, re.MULTILINE
    )
    blocks = [inspect.cleandoc(start[1]) for start in starts]
    return [block for block in blocks if ">>>" not in block]


def test_blocks_of_code_are_found():
    page = (
        "This::\n\n    a = 1\n    b = 2\n\n.. code-block:: python\n\n    c = 3\n\n"
        ".. math::\n\n    d\n\nThat::\n\n    >>> e = 5\n\n"
    )
    assert blocks_of_code(page) == ["a = 1\nb = 2", "c = 3"]


def test_every_snippet_of_the_guide_is_run():
    pages = [*DOCS.glob("*.rst"), *(DOCS / "user_guide").glob("*.rst")]
    shown = {
        block.partition("\n")[0]
        for page in pages
        for block in blocks_of_code(page.read_text("utf-8") + "\n")
    }
    assert shown == set(NOT_RUN)
    assert not [page for page in pages if "+SKIP" in page.read_text("utf-8")]
