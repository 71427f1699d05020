# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Check that the built site is whole, and shows without a network.

    python docs/check_site.py docs/_build/html

Sphinx warns of references that it cannot resolve. This finds what it does not look
into: raw links, files that were not copied, fragments, images without a text for those
who cannot see them, and whatever a page would load from elsewhere.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

# Pages that Sphinx writes for a script, and whose links have no target before it runs.
WITHOUT_ANCHORS = {"search.html", "genindex.html"}
# What a browser loads by itself where a style sheet says so.
LOADED_BY_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""")
# Links of <link> that are only followed, not loaded.
FOLLOWED = {"author", "canonical", "copyright", "index", "next", "prev", "search"}


class Page(HTMLParser):
    """Links, anchors, addresses that are loaded, and images of one page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors, self.loaded = set(), {""}, set()
        self.images_without_text = []
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        self.links |= {attrs[key] for key in ("href", "src") if attrs.get(key)}
        if attrs.get("src"):
            self.loaded.add(attrs["src"])
        if tag == "link" and not set((attrs.get("rel") or "").split()) & FOLLOWED:
            self.loaded.add(attrs.get("href") or "")
        if tag == "img" and "alt" not in attrs:  # empty where words beside it say all
            self.images_without_text.append(attrs.get("src"))
        self.loaded |= set(LOADED_BY_STYLE.findall(attrs.get("style") or ""))
        self._in_style = tag == "style"

    def handle_endtag(self, tag):
        self._in_style = False

    def handle_data(self, data):
        if self._in_style:
            self.loaded |= set(LOADED_BY_STYLE.findall(data))


def read_pages(root):
    """Return the path of every page to what is in it."""
    return {
        path: Page(path.read_text("utf-8"))
        for path in sorted(root.rglob("*.html"))
        if "_static" not in path.parts  # templates of the theme
    }


def is_elsewhere(link):
    """Tell whether a link leaves the site; what a page holds itself does not."""
    return link.startswith("//") or urlsplit(link).scheme not in ("", "data")


def broken_links(root):
    """Return "page: link" for every local link without a target."""
    pages = read_pages(root)
    broken = []
    for path, page in pages.items():
        for link in sorted(page.links):
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            address, fragment = urldefrag(urljoin(path.as_uri(), link))
            fragment = fragment.partition(":~:")[0]  # words to highlight follow
            target = Path(unquote(urlsplit(address).path))
            target = target / "index.html" if target.is_dir() else target
            known = target in pages and target.name not in WITHOUT_ANCHORS
            if not target.is_file() or (
                known and unquote(fragment) not in pages[target].anchors
            ):
                broken.append(f"{path.relative_to(root)}: {link}")
    return broken


def loaded_from_elsewhere(root):
    """Return "file: address" for every script, style, font or image of a network."""
    loaded = {path: page.loaded for path, page in read_pages(root).items()}
    for path in sorted(root.rglob("*.css")):
        loaded[path] = LOADED_BY_STYLE.findall(path.read_text("utf-8"))
    return [
        f"{path.relative_to(root)}: {address}"
        for path, addresses in loaded.items()
        for address in sorted(addresses)
        if is_elsewhere(address)
    ]


def images_without_text(root):
    """Return "page: image" for every image without an alternative text."""
    return [
        f"{path.relative_to(root)}: {image}"
        for path, page in read_pages(root).items()
        for image in page.images_without_text
    ]


CHECKS = {
    "Broken links": broken_links,
    "Loaded from elsewhere": loaded_from_elsewhere,
    "Images without a text": images_without_text,
}

if __name__ == "__main__":
    root = Path(sys.argv[1]).resolve()
    found = {title: check(root) for title, check in CHECKS.items()}
    report = [
        line for title, lines in found.items() if lines for line in (title, *lines)
    ]
    sys.exit("\n".join(report) if report else 0)
