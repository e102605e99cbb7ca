"""The built book in a headless browser: offline, at two widths, and nothing broken on any page."""

import functools
import re
from pathlib import Path

import browsing
import pandas as pd
import pytest
from browsing import ROOT, visit

from ethical_compression import chapters

pytestmark = browsing.NEEDED
WIDTHS = (390, 1400)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_loads_offline_and_whole(browser, site, pages, width):
    assert site / "index.html" in pages
    assert len(pages) >= 4 + len(list((ROOT / "notebooks").glob("*.ipynb")))
    for path in pages:
        page, wrong = visit(browser, path, width)
        name = path.relative_to(site)
        assert wrong == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} overflows"

        formulas = page.locator(".math")
        for index in range(formulas.count()):
            assert formulas.nth(index).locator("mjx-container").count() > 0, f"{name}: no maths"
        assert page.locator("mjx-merror").count() == 0, f"{name}: a formula with an error"

        for image in page.locator("article img").all():
            assert (image.get_attribute("alt") or "").strip(), f"{name}: an image without words"
            assert image.evaluate("image => image.complete && image.naturalWidth > 0"), name

        assert page.locator(".output.traceback, .output.stderr").count() == 0, name
        text = page.locator("article").inner_text()
        assert not re.search(r"Traceback \(most recent call last\)|\{glue|mystnb\.glue", text), name
        # In a folded solution, too, which shows no inner text.
        for glued in page.locator(".pasted-text").all_text_contents():
            assert re.search(r"\w", glued), f"{name}: an empty glued value"
            assert "nan" not in glued.lower().split(), f"{name}: a glued NaN"
        page.close()


# What a page shows outside code: no program, no formula, no cell that holds nothing but stars.
READ = """() => {
    const copy = document.querySelector("article").cloneNode(true);
    const apart = "pre, code, script, .math, mjx-container, .cell_input, .headerlink, .provenance";
    copy.querySelectorAll(apart).forEach(part => part.remove());
    copy.querySelectorAll("td").forEach(cell => /^\\*+$/.test(cell.textContent) && cell.remove());
    copy.querySelectorAll("p, li, td, th, dd, figcaption").forEach(part => part.append("\\n"));
    return copy.textContent;
}"""


def test_pages_show_no_markdown_and_no_message_to_developers(browser, site, pages):
    raw = re.compile(r"\*\*\S[^*\n]*\*\*|`|ETHICAL_COMPRESSION_\w+|python (results/|-m )\S+")
    for path in pages:
        page, _ = visit(browser, path, 1400)
        text = page.evaluate(READ)
        assert not (found := raw.search(text)), f"{path.name}: {found[0]!r} in the text"
        page.close()


def test_no_p_value_is_shown_as_nothing(browser, site):
    for path in sorted((site / "notebooks").glob("*.html")):
        page, _ = visit(browser, path, 1400)
        assert not re.search(r"p = 0(\.0+)?(?![\d.])", page.evaluate(READ)), path.name
        for table in page.locator("table.sortable").all():
            for column, head in enumerate(table.locator("thead th").all_text_contents(), 1):
                if re.match(r"(p|Holm)( ?[(,].*)?$", head.strip(" ↕↑↓")):
                    cells = table.locator(f"tbody tr > :nth-child({column})").all_text_contents()
                    assert not [cell for cell in cells if re.fullmatch(r"0\.0+", cell)], path.name
        page.close()


def test_links_between_pages_lead_somewhere(browser, site, pages):
    read = functools.cache(Path.read_text)  # each page leads to the glossary, many times
    for path in pages:
        page, _ = visit(browser, path, 1400)
        links = page.locator("article a[href]")
        for address in links.evaluate_all("links => links.map(link => link.href)"):
            if address.startswith("file:"):
                target, _, anchor = address.removeprefix("file://").partition("#")
                assert Path(target).is_file(), f"{path.name}: {address}"
                if anchor:
                    assert re.search(rf'id="{re.escape(anchor)}"', read(Path(target))), (
                        f"{path.name}: {address}"
                    )
        page.close()


def test_chapters_glue_numbers_and_say_where_they_come_from(browser, site):
    chapters = sorted((site / "notebooks").glob("*.html"))
    assert [path.stem for path in chapters] == [
        path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    ]
    for path in chapters:
        page, _ = visit(browser, path, 1400)
        assert page.locator(".pasted-text").count() > 0, path.name
        assert page.locator("figure.chapter-figure img").count() > 0, path.name
        record = page.locator("details.provenance")
        assert record.count() == 1, path.name
        assert not record.evaluate("details => details.open")
        record.locator("summary").click()
        text = record.inner_text()
        for word in ("parameters", "seeds", "models", "data", "run time"):
            assert word in text, f"{path.name}: no {word}"
        for code in page.get_by_text("REPOSITORY = ").all():
            assert not code.is_visible(), f"{path.name}: the set-up cell is in the way"
        page.close()


def test_front_page_has_a_number_of_the_chapter(browser, site):
    page, _ = visit(browser, site / "index.html", 1400)
    glued = page.locator(".pasted-text")
    assert glued.count() >= 1
    assert re.search(r"\d", glued.first.inner_text())
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_reader_can_sort_a_table(browser, site, width):
    for path in sorted((site / "notebooks").glob("*.html")):
        page, wrong = visit(browser, path, width)
        tables = page.locator("table.sortable")
        assert tables.count() > 0, path.name
        for table in tables.all():
            assert table.locator("caption").inner_text().strip()
            heads = table.locator("thead th")
            for column in range(heads.count()):
                cells = table.locator(f"tbody tr > :nth-child({column + 1})")
                read = "cells => cells.map(cell => cell.dataset.value ?? null)"
                values = [value for value in cells.evaluate_all(read) if value not in (None, "nan")]
                if not values:
                    continue
                numbers = sorted(map(float, values))
                for order, expected in (("ascending", numbers), ("descending", numbers[::-1])):
                    heads.nth(column).locator("button").press("Enter")
                    assert heads.nth(column).get_attribute("aria-sort") == order
                    shown = [v for v in cells.evaluate_all(read) if v not in (None, "nan")]
                    assert list(map(float, shown)) == expected, path.name
        assert wrong == []
        page.close()


@pytest.mark.parametrize("rows", [24, 25, 90])
def test_a_long_table_scrolls_by_itself_and_keeps_its_head(browser, rows):
    css = (ROOT / "book/_static/book.css").read_text(encoding="utf-8")
    table = chapters.table_html(pd.DataFrame({"a": range(rows)}), "What it shows")
    page = browser.new_page(viewport={"width": 900, "height": 900})
    page.set_content(f"<style>{css}</style>{table}")
    box, head = page.locator(".table-scroll"), page.locator("thead th")
    box.evaluate("box => box.scrollTop = 300")
    assert box.evaluate("box => box.scrollHeight > box.clientHeight") == (rows > 24)
    if rows > 24:
        assert box.bounding_box()["height"] < 600
        assert head.bounding_box()["y"] == pytest.approx(box.bounding_box()["y"], abs=1)
    page.close()


def luminance(colour: str) -> float:
    """Relative luminance of a CSS rgb() colour (WCAG 2.2)."""
    channels = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_our_own_parts_can_be_read_in_light_and_dark(browser, site, scheme):
    ground = """element => {
        for (let at = element; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (!/, 0\\)$|transparent/.test(colour)) return colour;
        }
        return "rgb(255, 255, 255)";
    }"""
    for path in sorted((site / "notebooks").glob("*.html")):
        page, _ = visit(browser, path, 1400, scheme)
        for part in ("figcaption", "caption", "table.sortable td", ".provenance summary"):
            element = page.locator(part).first
            ink = luminance(element.evaluate("e => getComputedStyle(e).color"))
            paper = luminance(element.evaluate(ground))
            contrast = (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
            assert contrast >= 4.5, f"{part} in {scheme}: contrast {contrast:.1f}"
        page.close()
