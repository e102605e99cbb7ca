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
def test_every_page_loads_offline_and_whole(look, site, pages, width):
    assert site / "index.html" in pages
    assert len(pages) >= 4 + len(list((ROOT / "notebooks").glob("*.ipynb")))
    seen = look(width)
    for path in pages:
        page, name = seen[path], path.relative_to(site)
        assert page["wrong"] == [], name
        assert page["width"] <= width, f"{name} overflows"
        assert not any(page["bare"]), f"{name}: no maths"
        assert page["faulty"] == 0, f"{name}: a formula with an error"
        for image in page["images"]:
            assert image["words"], f"{name}: an image without words"
            assert image["whole"], name
        assert page["errors"] == 0, name
        faulty = r"Traceback \(most recent call last\)|\{glue|mystnb\.glue"
        assert not re.search(faulty, page["said"]), name
        # In a folded solution, too, which shows no inner text.
        for glued in page["glued"]:
            assert re.search(r"\w", glued), f"{name}: an empty glued value"
            assert "nan" not in glued.lower().split(), f"{name}: a glued NaN"


def test_pages_show_no_markdown_and_no_message_to_developers(look, pages):
    raw = re.compile(r"\*\*\S[^*\n]*\*\*|`|ETHICAL_COMPRESSION_\w+|python (results/|-m )\S+")
    for path in pages:
        found = raw.search(look(1400)[path]["read"])
        assert not found, f"{path.name}: {found[0]!r} in the text"


def test_no_p_value_is_shown_as_nothing(look, chapter_pages):
    for path in chapter_pages:
        page = look(1400)[path]
        assert not re.search(r"p = 0(\.0+)?(?![\d.])", page["read"]), path.name
        for table in page["tables"]:
            for column, head in enumerate(table["heads"]):
                if re.match(r"(p|Holm)( ?[(,].*)?$", head.strip(" ↕↑↓")):
                    cells = [row[column] for row in table["rows"]]
                    assert not [cell for cell in cells if re.fullmatch(r"0\.0+", cell)], path.name


def test_links_between_pages_lead_somewhere(look, pages):
    read = functools.cache(Path.read_text)  # each page leads to the glossary, many times
    for path in pages:
        for address in look(1400)[path]["links"]:
            if address.startswith("file:"):
                target, _, anchor = address.removeprefix("file://").partition("#")
                assert Path(target).is_file(), f"{path.name}: {address}"
                if anchor:
                    assert re.search(rf'id="{re.escape(anchor)}"', read(Path(target))), (
                        f"{path.name}: {address}"
                    )


def test_chapters_glue_numbers_and_say_where_they_come_from(look, chapter_pages):
    assert [path.stem for path in chapter_pages] == [
        path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    ]
    for path in chapter_pages:
        page = look(1400)[path]
        assert page["glued"], path.name
        assert any(image["figure"] for image in page["images"]), path.name
        ((closed, text),) = page["records"]
        assert closed, path.name
        for word in ("parameters", "seeds", "models", "data", "run time"):
            assert word in text, f"{path.name}: no {word}"
        assert not any(page["setup"]), f"{path.name}: the set-up cell is in the way"


def test_front_page_has_a_number_of_the_chapter(look, site):
    glued = look(1400)[site / "index.html"]["glued"]
    assert re.search(r"\d", glued[0])


# Each column of each table that can be sorted: what its cells carry before anything is pressed, and
# after a press of its head and another, with what the head then says.
SORT = """() => [...document.querySelectorAll("table.sortable")].map(table => ({
    caption: table.caption.innerText.trim(),
    columns: [...table.tHead.rows[0].cells].map((head, column) => {
        const carried = () =>
            [...table.tBodies[0].rows].map(row => row.cells[column].dataset.value ?? null);
        const before = carried();
        const press = () => (head.querySelector("button").click(), [head.ariaSort, carried()]);
        return [before, [press(), press()]];
    }),
}))"""


def numbers(carried: list[str | None]) -> list[float]:
    return [float(value) for value in carried if value not in (None, "nan")]


def test_a_reader_can_sort_a_table(browser, chapter_pages):
    for path in chapter_pages:
        page, wrong = visit(browser, path, 1400)
        tables = page.evaluate(SORT)
        assert tables, path.name
        for table in tables:
            assert table["caption"]
            for before, pressed in table["columns"]:
                if expected := sorted(numbers(before)):
                    (first, up), (second, down) = pressed
                    assert (first, second) == ("ascending", "descending")
                    assert numbers(up) == expected, path.name
                    assert numbers(down) == expected[::-1], path.name
        assert wrong == []
        page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_head_that_has_the_focus_is_pressed_by_the_enter_key(browser, site, width):
    page, _ = visit(browser, site / "notebooks" / "confidence.html", width)
    head = page.locator("table.sortable thead th").first
    for order in ("ascending", "descending"):
        head.locator("button").press("Enter")
        assert head.get_attribute("aria-sort") == order
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
def test_our_own_parts_can_be_read_in_light_and_dark(look, chapter_pages, scheme):
    for path in chapter_pages:
        colours = look(1400, scheme)[path]["colours"]
        assert len(colours) == 4, path.name
        for part, *inks in colours:
            dark, bright = sorted(map(luminance, inks))
            contrast = (bright + 0.05) / (dark + 0.05)
            assert contrast >= 4.5, f"{part} in {scheme}: contrast {contrast:.1f}"
