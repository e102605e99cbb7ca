"""The built book, opened in a headless browser: what the tests of its pages share."""

import os
import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

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


# What a page shows outside code: no program, no formula, no cell that holds nothing but stars. And
# paragraphs that are French by their small words, and do not say so.
LOOK = """() => {
    const all = (where, take) => [...document.querySelectorAll(where)].map(take);
    const text = part => part.textContent;
    const article = document.querySelector("article") ?? document.body;

    const copy = article.cloneNode(true);
    const apart = "pre, code, script, .math, mjx-container, .cell_input, .headerlink, .provenance";
    copy.querySelectorAll(apart).forEach(part => part.remove());
    copy.querySelectorAll("td").forEach(cell => /^\\*+$/.test(cell.textContent) && cell.remove());
    copy.querySelectorAll("p, li, td, th, dd, figcaption").forEach(part => part.append("\\n"));

    const small = /(?<!\\p{L})(les|des|est|une|que|dans|qui)(?!\\p{L})/giu;
    const unmarked = [...article.querySelectorAll("p, dd")]
        .filter(part => !part.closest("[lang=fr]") && !part.querySelector("[lang=fr]"))
        .filter(part => (part.textContent.match(small) ?? []).length > 5)
        .map(part => part.textContent.slice(0, 80));

    const ground = part => {
        for (let at = part; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (!/, 0\\)$|transparent/.test(colour)) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const colours = ["figcaption", "caption", "table.sortable td", ".provenance summary"]
        .map(name => [name, document.querySelector(name)]).filter(([, part]) => part)
        .map(([name, part]) => [name, getComputedStyle(part).color, ground(part)]);

    const records = all("details.provenance", part => {
        const closed = !part.open;
        part.open = true;
        const said = part.innerText;
        part.open = !closed;
        return [closed, said];
    });
    return {
        title: document.title,
        width: document.documentElement.scrollWidth,
        said: article.innerText,
        read: copy.textContent,
        unmarked, colours, records,
        headings: all("h1", text),
        description: document.querySelector('meta[name="description"]')?.content,
        icon: document.querySelector('link[rel="icon"]')?.href,
        french: all('[lang="fr"]', part => part.innerText),
        sections: all('section[lang="fr"] h2', part => part.innerText),
        bare: all(".math", part => part.querySelector("mjx-container") ? 0 : 1),
        faulty: document.querySelectorAll("mjx-merror").length,
        images: all("article img", image => ({
            words: image.alt.trim(),
            whole: image.complete && image.naturalWidth > 0,
            figure: image.closest(".chapter-figure") !== null,
            drawn: Number(image.getAttribute("width")),
            shown: image.getBoundingClientRect().width,
        })),
        errors: document.querySelectorAll(".output.traceback, .output.stderr").length,
        glued: all(".pasted-text", text),
        links: all("article a[href]", link => link.href),
        setup: all("pre", part => text(part).includes("REPOSITORY = ") && part.checkVisibility()),
        scrolled: all(".table-scroll", box =>
            [box.getAttribute("aria-label"), box.firstElementChild.scrollWidth - box.clientWidth]),
        tables: all("table.sortable", table => ({
            heads: [...table.tHead.rows[0].cells].map(text),
            rows: [...table.tBodies[0].rows].map(row => [...row.cells].map(text)),
        })),
    };
}"""

# Rules on trial find faults, too: a button whose name is not what it shows, say.
ON_TRIAL = ("label-content-name-mismatch", "focus-order-semantics", "p-as-heading")
ON_TRIAL += ("table-fake-caption", "td-has-header", "hidden-content")
# Of a long table the first few rows speak for all, in a tenth of the time.
ALIKE = {"exclude": [["tbody tr:nth-child(n+6)"]]}
# What depends on colours: on a phone they are those of a desktop, and take the longest to look at;
# in the dark nothing else is another.
COLOURS = ("color-contrast", "link-in-text-block")


def faults(page, width: int, scheme: str) -> list[str]:
    """What axe finds on an open page."""
    options = {"resultTypes": ["violations"]}
    if scheme == "dark":
        options["runOnly"] = list(COLOURS)
    else:
        asked = dict.fromkeys(ON_TRIAL, True) | dict.fromkeys(COLOURS, width > 390)
        options["rules"] = {one: {"enabled": yes} for one, yes in asked.items()}
    found = Axe().run(page, context=ALIKE, options=options).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


def look(browser, path: Path, width: int, scheme: str) -> dict:
    """What a page shows (`LOOK`), what went wrong with it, and what axe finds on it."""
    page, wrong = visit(browser, path, width, scheme)
    found = page.evaluate(LOOK) | {"wrong": [*wrong]}  # before axe asks for style sheets
    found["axe"] = faults(page, width, scheme)
    page.close()
    return found
