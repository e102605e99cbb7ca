"""The whole book as one page to print: every page once, links within it, anchors apart."""

import sys
from pathlib import Path

import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))
import pdf  # noqa: E402

PAGE = "<html><head><title>T</title></head><body><nav>x</nav><article>{}</article></body></html>"


def test_all_pages_stand_in_one_with_links_that_lead_within(tmp_path):
    (tmp_path / "parts").mkdir()
    first = (
        '<h1 id="a">One</h1><a href="parts/two.html#a">t</a><a href="#a">s</a><a href="x.csv">x</a>'
    )
    second = (
        '<h1 id="a">Two</h1><a href="../index.html">o</a><details>d</details>'
        '<a href="https://example.org/y">y</a>'
    )
    (tmp_path / "index.html").write_text(PAGE.format(first))
    (tmp_path / "parts" / "two.html").write_text(PAGE.format(second))
    page = BeautifulSoup(pdf.whole(tmp_path, ["index", "parts/two"]), "html.parser")
    assert [one.get_text() for one in page.find_all("h1")] == ["One", "Two"] and not page.nav
    ids = [one["id"] for one in page.find_all(id=True)]
    assert len(ids) == len(set(ids)) == 4
    links = [one.get("href") for one in page.find_all("a")]
    assert links == ["#parts-two--a", "#index--a", None, "#index", "https://example.org/y"]
    assert page.details.has_attr("open")


def test_every_page_of_the_contents_is_printed_once():
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    pages = pdf.in_order(contents)
    assert pages[0] == "index" and len(pages) == len(set(pages)) > 30
