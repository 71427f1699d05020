# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Open every page of the built site in a browser, as wide as a desk and as a phone.

    pip install playwright
    python docs/check_in_browser.py docs/_build/html [SCREENSHOTS]

By hand, before a release: it needs Chromium, the one of the system or that of
``playwright install chromium``. A page must load without errors and without a network,
show every image and formula, and not scroll sideways; the search must find words.
"""

import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTHS = {"desk": 1280, "phone": 390}
SEARCHED = ("guidance", "SMOTE", "LatentDiffusionOversampler")
FAULTS = """() => {
    const faults = [];
    const width = document.documentElement.scrollWidth;
    if (width > window.innerWidth) faults.push(`scrolls sideways, ${width} px wide`);
    for (const image of document.images) {
        image.loading = "eager";
        if (image.complete && !image.naturalWidth) faults.push(`no ${image.src}`);
    }
    for (const formula of document.querySelectorAll("math")) {
        const {width, height} = formula.getBoundingClientRect();
        const isHidden = formula.closest("details:not([open])");
        if (!isHidden && !(width && height)) faults.push(`empty ${formula.outerHTML}`);
    }
    return faults;
}"""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def faults_of_site(root, site, page, screenshots):
    """Yield "page, width: fault" for all that a reader would stumble over."""
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(f"no {request.url}"))
    page.route(lambda url: not url.startswith(site), lambda route: route.abort())
    pages = [
        path for path in sorted(root.rglob("*.html")) if "_static" not in path.parts
    ]
    for name, width in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": 844})
        for path in pages:
            address = path.relative_to(root).as_posix()
            page.goto(f"{site}/{address}", wait_until="load")
            found = page.evaluate(FAULTS) + errors
            yield from (f"{address}, {name}: {fault}" for fault in found)
            errors.clear()
            if screenshots:
                file = f"{name}_{address.replace('/', '_')}.png"
                page.screenshot(path=screenshots / file, full_page=True)
    for word in SEARCHED:
        page.goto(f"{site}/search.html?q={word}")
        try:
            page.wait_for_selector("#search-results li a", timeout=20_000)
        except Exception:
            yield f"the search does not find {word}"


def main(root, screenshots=None):
    root = Path(root).resolve()
    screenshots = screenshots and Path(screenshots)
    handler = partial(QuietHandler, directory=root)
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        sync_playwright() as playwright,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site = f"http://127.0.0.1:{server.server_port}"
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        found = 0
        for fault in faults_of_site(root, site, browser.new_page(), screenshots):
            print(fault, flush=True)
            found += 1
        browser.close()
        server.shutdown()
    return found


if __name__ == "__main__":
    sys.exit(min(main(*sys.argv[1:]), 1))
