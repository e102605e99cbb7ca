"""The whole book as one PDF, printed by a headless browser from the built pages.

python book/pdf.py _build/html _build/book.pdf

The pages' articles are laid one after another, in the order of the contents; links between pages
become links within the document, and nothing is folded (the style sheet for paper sees to that).
"""

import argparse
import posixpath
import shutil
from pathlib import Path

import yaml
from bs4 import BeautifulSoup, Tag

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def in_order(contents: dict) -> list[str]:
    """The pages of a table of contents, from the front page on."""
    parts = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    return [contents["root"], *parts]


def mark(page: str, anchor: str = "") -> str:
    """Where a page, or an anchor of it, lies in the whole: anchors of two pages may be alike."""
    return "--".join(filter(None, (page.replace("/", "-"), anchor)))


def article(text: str, page: str, pages: list[str]) -> Tag:
    """A page's article, its anchors and links as they are in the whole book."""
    found = BeautifulSoup(text, "html.parser").select_one("article")
    found.name, found["id"] = "section", mark(page)
    for tag in found.find_all(id=True):
        tag["id"] = mark(page, tag["id"])
    for tag in found.find_all("details"):
        tag["open"] = ""
    for link in found.find_all("a", href=True):
        place, _, anchor = link["href"].partition("#")
        if ":" in place:
            continue  # another site, or what is written into the link
        other = posixpath.normpath(posixpath.join(posixpath.dirname(page), place))
        other = other.removesuffix(".html") if place else page
        if other in pages:
            link["href"] = f"#{mark(other, anchor)}"
        else:
            del link["href"]  # a file beside the pages
    return found


def whole(html: Path, pages: list[str]) -> str:
    """All articles as one page, under the head of the front page, which lies at the top, too."""
    made = BeautifulSoup((html / f"{pages[0]}.html").read_text(encoding="utf-8"), "html.parser")
    made.title.string = "Ethical compression of language models"
    made.body.clear()
    made.body["class"] = "bd-article"
    style = made.new_tag("style")
    style.string = "@page { margin: 16mm 14mm; } body > section + section { break-before: page; }"
    made.head.append(style)
    for page in pages:
        text = (html / f"{page}.html").read_text(encoding="utf-8")
        made.body.append(article(text, page, pages))
    return str(made)


def write(html: Path, pdf: Path) -> None:
    """Print a built book; ends the program where there is no browser."""
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit("There is no Chromium: install it from the system's packages.")
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    pages = [page for page in in_order(contents) if (html / f"{page}.html").is_file()]
    draft = html / "whole-book.html"  # beside what its style and formulas are read from
    draft.write_text(whole(html, pages), encoding="utf-8")
    try:
        with sync_playwright() as play:
            running = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
            page = running.new_page()
            page.goto(draft.resolve().as_uri(), wait_until="load", timeout=300_000)
            if page.locator(".math").count():
                page.wait_for_selector("mjx-container", state="attached", timeout=300_000)
                page.evaluate("MathJax.startup.promise")
            pdf.parent.mkdir(parents=True, exist_ok=True)
            page.pdf(path=pdf, format="A4", print_background=True, outline=True, tagged=True)
            running.close()
    finally:
        draft.unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("html", type=Path)
    parser.add_argument("pdf", type=Path)
    given = parser.parse_args()
    write(given.html, given.pdf)
    print(given.pdf)
