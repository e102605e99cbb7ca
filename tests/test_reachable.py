"""Every page can be read by everybody: with a screen reader, by keyboard, on a phone, on paper."""

from pathlib import Path

import browsing
import pytest
from browsing import visit

pytestmark = browsing.NEEDED
COLUMN = 680  # pixels: the width of the text on A4


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (1400, "dark"), (390, "light")])
def test_axe_finds_nothing_on_any_page(look, width, scheme):
    for path, page in look(width, scheme).items():
        assert not page["axe"], f"{path.name}, {width} pixels, {scheme}"


# A stop of the Tab key: what it is, and whether a ring shows it.
STOP = """() => {
    const at = document.activeElement;
    if (!at || at === document.body) return null;
    const style = getComputedStyle(at);
    return {
        name: at.outerHTML.slice(0, 120),
        ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
        head: at.closest("table.sortable thead") !== null,
        box: at.getBoundingClientRect().width > 0,
    };
}"""


def stops(page, most: int = 400) -> list[dict]:
    found = []
    for _ in range(most):
        page.keyboard.press("Tab")
        stop = page.evaluate(STOP)
        if stop is None or (found and stop["name"] == found[0]["name"]):
            break
        found.append(stop)
    return found


def test_each_stop_of_the_tab_key_is_seen_and_a_table_is_one(browser, site):
    for name in ("index.html", "notebooks/confidence.html"):
        page, _ = visit(browser, site / name, 1400)
        reached = stops(page)
        assert len(reached) > 20
        unseen = [one["name"] for one in reached if one["box"] and not one["ring"]]
        assert not unseen, f"{name}: no ring around {unseen[:3]}"
        heads = sum(one["head"] for one in reached)
        assert heads == page.locator("table.sortable").count(), "a table's heads are one stop"
        page.close()


def test_the_arrow_keys_go_from_head_to_head_of_a_table(browser, site):
    page, _ = visit(browser, site / "notebooks" / "confidence.html", 1400)
    buttons = page.locator("table.sortable").first.locator("thead button")
    buttons.first.focus()
    for key, at in (("ArrowRight", 1), ("End", -1), ("ArrowRight", -1), ("Home", 0)):
        page.keyboard.press(key)
        assert buttons.nth(at).evaluate("button => button === document.activeElement"), key
    assert buttons.evaluate_all("all => all.filter(one => one.tabIndex === 0).length") == 1
    page.close()


def test_each_page_has_its_name_and_language_and_tables_that_fit(look, pages):
    """One title, a description, an icon; French that says so; no p-values hidden to the right."""
    told = {}
    for path in pages:
        page = look(1400)[path]
        parts = page["title"].split(" — ")
        assert len(parts) == len(set(parts)), page["title"]
        assert len(page["headings"]) == 1, path.name
        said = page["description"]
        assert 40 <= len(said) <= 300, f"{path.name}: {said}"
        assert told.setdefault(said, path) == path, "two pages with one description"
        assert page["icon"].startswith("file:") and page["icon"].endswith("favicon.svg")
        if path.parent.name == "notebooks":
            assert page["french"][0].startswith("En français."), path.name
        assert page["unmarked"] == [], path.name
        if path.name == "index.html":
            assert page["sections"][0].startswith("En français")
        assert not [name for name, more in page["scrolled"] if more > 1], path.name


TABLES = """() => [...document.querySelectorAll(".table-scroll")].map(box =>
    [box.getAttribute("aria-label"), box.firstElementChild.scrollWidth - box.clientWidth])"""


def test_on_paper_nothing_is_folded_or_cut_off(browser, chapter_pages):
    for path in chapter_pages:
        page, _ = visit(browser, path, COLUMN)
        folded = page.locator("details.folded")
        assert folded.count() > 0, f"{path.name} has no solution"
        assert not folded.first.evaluate("part => part.open")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        for part in folded.all():
            assert part.locator(":scope > :not(summary)").first.is_visible(), path.name
        assert page.locator("article h1").is_visible(), path.name
        wide = [(name, more) for name, more in page.evaluate(TABLES) if more > 1]
        assert not wide, path.name
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert not folded.first.evaluate("part => part.open")
        page.close()


def test_letters_in_a_figure_can_be_read_on_a_phone(look, chapter_pages):
    """The smallest are of 10 points: 13.9 pixels at full size."""
    for path in chapter_pages:
        for image in look(390)[path]["images"]:
            drawn, shown = image["drawn"], image["shown"]
            assert not image["figure"] or 13.9 * shown / drawn >= 9, f"{path.name}: {shown} pixels"


def test_a_reader_finds_what_they_came_for_in_three_clicks(browser, site):
    """From the front page: a result with its test, data, an own model, an exercise, French."""
    chapter = "Does quantization change how sure a model is?"

    def walk(*words: str):
        page, _ = visit(browser, site / "index.html", 1400)
        for word in words:
            page.locator("article").get_by_role("link", name=word).first.click()
            page.wait_for_load_state()
        return page

    page = walk(chapter)
    assert page.locator("table.sortable thead", has_text="p (Holm)").count(), "no test"
    page.close()

    page = walk(chapter)
    with page.expect_download() as started:
        page.locator("figure a.values").first.click()
    lines = Path(started.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("panel,series,x_name,x,") and len(lines) > 4
    page.close()

    page = walk(chapter, "Run it on a model of your own")
    assert page.locator("#a-model-of-your-own h2").is_visible()
    assert page.locator("#a-model-of-your-own pre", has_text="audit BASE").count()
    page.close()

    page = walk(chapter, "Exercises")
    page.locator("#exercises details.folded summary").first.click()
    assert page.locator("#exercises details.folded p").first.is_visible()
    page.close()

    page = walk("Ce livre en français", "La quantification change-t-elle l’assurance d’un modèle ?")
    assert page.locator('p[lang="fr"]').first.is_visible()
    page.close()


def test_the_french_page_leads_to_each_chapter_with_its_summary(browser, site):
    page, _ = visit(browser, site / "francais.html", 1400)
    assert page.locator("article").get_attribute("lang") == "fr"
    assert "{" not in page.locator("article").inner_text()
    for path in (site / "notebooks").glob("*.html"):
        assert page.locator(f'article a[href="notebooks/{path.name}"]').count() == 1, path.name
    assert page.locator("article dd").count() == len(list((site / "notebooks").glob("*.html")))
    page.close()
