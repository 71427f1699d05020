# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Check that every local link, anchor and image of the built site leads somewhere.

    python docs/check_site.py docs/_build/html

Sphinx warns of references that it cannot resolve. This finds what it does not look
into: raw links, files that were not copied, and fragments.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

# Pages that Sphinx writes for a script, and whose links have no target before it runs.
WITHOUT_ANCHORS = {"search.html", "genindex.html"}


class Page(HTMLParser):
    """Links and anchors of one page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = set(), {""}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        self.links |= {attrs[key] for key in ("href", "src") if attrs.get(key)}


def broken_links(root):
    """Return "page: link" for every local link without a target."""
    pages = {
        path: Page(path.read_text("utf-8"))
        for path in sorted(root.rglob("*.html"))
        if "_static" not in path.parts  # templates of the theme
    }
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


if __name__ == "__main__":
    found = broken_links(Path(sys.argv[1]).resolve())
    sys.exit("Broken links:\n" + "\n".join(found) if found else 0)
