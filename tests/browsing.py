"""The built book, opened in a headless browser: what the tests of its pages share."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# In CI a missing browser is a failure, not a reason to look away.
NEEDED = pytest.mark.skipif(
    BROWSER is None and not os.environ.get("CI"),
    reason="no Chromium: install it from the system's packages (apt-get install chromium)",
)


def launch(play):
    """A browser, which its caller closes. play: Playwright, running."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return play.chromium.launch(executable_path=BROWSER, args=arguments)


def visit(browser, path: Path, width: int, scheme: str = "light"):
    """Open a page; returns it and everything that went wrong or went out while it loaded."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    wrong = []
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
    page.on("response", lambda r: wrong.append(f"{r.status}: {r.url}") if r.status >= 400 else None)

    def outgoing(request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            wrong.append(f"asked another machine: {request.url}")

    page.on("request", outgoing)
    page.goto(path.as_uri(), wait_until="load")
    if page.locator(".math").count():
        page.wait_for_selector("mjx-container", state="attached", timeout=20_000)
        page.evaluate("MathJax.startup.promise")
    page.wait_for_timeout(100)
    return page, wrong
