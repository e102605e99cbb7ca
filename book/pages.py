"""What the pages get after Sphinx has made them: names, languages, landmarks, links to words.

Everything here holds for every page, and is done once, in the built HTML: what the theme leaves
out or names wrongly for who reads with a screen reader, a keyboard or on paper, and what a reader
of any chapter wants to find in the same place.
"""

import base64
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from bs4 import BeautifulSoup, NavigableString, Tag

FRENCH = "En français"  # begins a passage in French: a paragraph's bold words, or a heading
# Where a word is not made a link: in links and programs, under names and heads, in formulas.
APART = {"a", "button", "code", "pre", "script", "style", "summary", "th", "dt", "math"}
APART |= {f"h{level}" for level in range(1, 7)}
APART_CLASSES = {
    "math",
    "admonition-title",
    "citation-list",
    "provenance",
    "cell_input",
    "docutils",
}


class Term(NamedTuple):
    """An entry of the glossary: the words that lead to it, its anchor, and its first sentence."""

    words: tuple[str, ...]
    anchor: str
    meaning: str


def finish(html: Path, published: bool = False) -> None:
    """Put right every page of a built book, in place.

    html: its folder; published: whether it goes to the branch `gh-pages` of its repository.
    """
    glossary = html / "glossary.html"  # which a book made of this one may leave out
    text = glossary.read_text("utf-8") if glossary.is_file() else ""
    words = terms(BeautifulSoup(text, "html.parser"))
    for path in sorted(html.rglob("*.html")):
        if "_static" in path.relative_to(html).parts:
            continue
        page = BeautifulSoup(_as_text(path.read_text("utf-8")), "html.parser")
        up = "../" * (len(path.relative_to(html).parts) - 1)
        head(page)
        landmarks(page)
        languages(page, whole=path.stem == "francais")
        tables(page)
        pictures(page)
        fold(page)
        if path.parent.name == "notebooks":
            ways_on(page, up)
            buttons(page, path.stem, up, published)
            files_of_values(page, path.stem, html / "values", up)
        if words and path != glossary:
            link_words(page, words, f"{up}glossary.html")
        path.write_text(str(page), "utf-8")


def _as_text(text: str) -> str:
    """What stands in scripts, or is better taken out before the page is read."""
    # A font asked for in advance is refused where the page is opened as a file, which is how `make
    # book` leaves it; the style sheet asks for the same fonts, and gets them.
    text = re.sub(r'<link rel="preload" as="font"[^>]*>\n?', "", text)
    # The button shows "Search" itself: a second name hides the keys beside it.
    return re.sub(r'(<button class="btn search-button-field[^>]*) aria-label="Search"', r"\1", text)


def head(page: BeautifulSoup) -> None:
    """One title, a description, one width of the screen."""
    title, own = page.title, page.select_one("article h1")
    # The front page has the book's name, and search no dash: neither says the same twice.
    first, dash, book = (title.string or "").partition(" — ")
    if dash and first == book:
        title.string = book
    for again in page.head.find_all("meta", attrs={"name": "viewport"})[1:]:
        again.decompose()
    if own and (text := description(page)):
        meta = page.new_tag("meta", attrs={"name": "description", "content": text})
        title.insert_after(meta)
    # The name and the contents for paper repeat those of the page, which is printed too.
    if printed := page.find(id="jb-print-docs-body"):
        printed.decompose()


def description(page: BeautifulSoup, most: int = 300) -> str:
    """The sentences that a page begins with, up to `most` characters: a chapter's question."""
    said = ""
    for paragraph in page.select("article section > p"):
        text = " ".join(paragraph.get_text().split())
        said = f"{said} {text}".strip()
        if len(said) >= 80:
            break
    if len(said) <= most:
        return said
    whole = said[:most].rpartition(". ")[0] or said[:most].rpartition("? ")[0]
    return f"{whole}." if whole else said[: most - 1].rpartition(" ")[0] + "…"


def landmarks(page: BeautifulSoup) -> None:
    """Every part of a page lies in a named landmark; a list of references has items."""
    for part, role, name in (
        (".bd-sidebar-primary", "region", "Contents of the book"),
        (".bd-sidebar-secondary nav", None, "Contents of the page"),
    ):
        for found in page.select(part):
            found.attrs |= {"aria-label": name} | ({"role": role} if role else {})
    for cited in page.select('.citation-list > [role="doc-biblioentry"]'):
        cited["role"] = "listitem"
    for summary in page.select("summary[aria-label]"):
        del summary["aria-label"]  # it says what it shows: the code of a cell


def languages(page: BeautifulSoup, whole: bool = False) -> None:
    """French passages, or a whole page, say that they are French, and are read aloud as such."""
    if whole:
        page.select_one("article")["lang"] = "fr"
    for bold in page.select("p > strong:first-child"):
        if bold.get_text().rstrip(".").strip() == FRENCH:
            bold.parent["lang"] = "fr"
    for heading in page.select("section > h2, section > h3"):
        if next(heading.stripped_strings, "") == FRENCH:
            heading.parent["lang"] = "fr"
    for part in page.select(".fr"):
        part["lang"] = "fr"


def tables(page: BeautifulSoup) -> None:
    """A table in the prose scrolls in a frame that the keyboard reaches; an empty head is none."""
    for cell in page.select("th"):
        if not cell.get_text().strip():
            cell.name = "td"
    for table in page.select("article table.table"):
        above = table.find_previous(re.compile(r"^h[1-6]$"))
        name = next(above.stripped_strings, "") if above else ""
        frame = {"class": "table-scroll prose", "tabindex": "0", "role": "region"}
        table.wrap(page.new_tag("div", attrs=frame | {"aria-label": f"Table: {name}"}))
        for first in table.select("tbody > tr > :first-child"):
            if first.get_text().strip():
                first.name = "th"
                first["scope"] = "row"
    count = Counter()  # two landmarks with one name cannot be told apart
    for frame in page.select(".table-scroll[aria-label]"):
        count[name := frame["aria-label"]] += 1
        if count[name] > 1:
            frame["aria-label"] = f"{name} ({count[name]})"
    for cell in page.select("table.sortable tbody td:not(.number)"):
        if NUMBERS.match(text := cell.get_text()) and len(text) <= 28:
            cell["class"] = ["unbroken"]  # an interval stays on one line; words may break


NUMBERS = re.compile(r"[−+<>≥≤~≈]? ?[\d.(–]")  # so begins a number, or an interval


def pictures(page: BeautifulSoup) -> None:
    """A figure keeps letters that can be read on a narrow screen: it scrolls in a frame instead."""
    for image in page.select(".chapter-figure img"):
        frame = page.new_tag("div", attrs={"class": "picture"})
        if width := image.get("width"):
            frame["style"] = f"--drawn: {width}px"
        image.wrap(frame)


def files_of_values(page: BeautifulSoup, name: str, folder: Path, up: str) -> None:
    """The values under a figure become a file beside the pages: a page stays small.

    name: the page's, which the files begin with; folder: where they are written.
    """
    for number, link in enumerate(page.select("a.values"), 1):
        file = f"{name}-figure-{number}.csv"
        folder.mkdir(exist_ok=True)
        (folder / file).write_bytes(base64.b64decode(link["href"].partition(",")[2]))
        link.attrs |= {"href": f"{up}values/{file}", "download": file}


def fold(page: BeautifulSoup) -> None:
    """A solution is folded by the browser itself: without a script, and open on paper."""
    for box in page.select("div.admonition.dropdown"):
        box.name = "details"
        box["class"] = ["folded" if one == "dropdown" else one for one in box["class"]]
        box.select_one(".admonition-title").name = "summary"


def buttons(page: BeautifulSoup, name: str, up: str, published: bool) -> None:
    """What is downloaded, and opened on Colab, is the notebook whose prose any program shows."""
    for button in page.select("a.btn-download-source-button"):
        button.attrs |= {"href": f"{up}colab/{name}.ipynb", "title": "Download the notebook"}
        del button["target"]
    if published:
        for link in page.select('a[href*="colab.research.google.com"]'):
            link["href"] = re.sub(r"/blob/.*", f"/blob/gh-pages/colab/{name}.ipynb", link["href"])


def ways_on(page: BeautifulSoup, up: str) -> None:
    """A chapter's first box ends with where to go: its exercises, a model of one's own, words."""
    box = page.select_one("article .admonition.tip")
    if box is None:
        return
    ways = [(f"{up}how-to-run.html#a-model-of-your-own", "Run it on a model of your own")]
    if page.find(id="exercises"):
        ways.append(("#exercises", "Exercises"))
    ways.append((f"{up}how-to-read.html#the-data-behind-a-figure", "The data behind a figure"))
    ways.append((f"{up}glossary.html", "Glossary"))
    line = page.new_tag("p", attrs={"class": "ways-on"})
    for place, words in ways:
        line.append(" · " if line.contents else "")
        link = page.new_tag("a", href=place)
        link.string = words
        line.append(link)
    box.append(line)


# --- Words that the glossary explains -------------------------------------------------------------


def terms(glossary: BeautifulSoup) -> list[Term]:
    """The entries of the glossary's page."""
    found = []
    for meaning in glossary.select("dl.glossary > dd"):
        heads, at = [], meaning.find_previous_sibling()
        while at is not None and at.name == "dt":
            heads.insert(0, at)
            at = at.find_previous_sibling()
        text = " ".join(meaning.get_text().split())
        names = tuple(next(one.stripped_strings) for one in heads)
        found.append(Term(names, heads[0]["id"], re.split(r"(?<=\.)\s+(?=[A-Z*])", text)[0]))
    return found


def pattern(word: str) -> str:
    """A word as it stands in a text: with a capital, where it has none, or an s at its end."""
    first, rest = word[:1], word[1:]
    free = rest[:1].islower() or not rest
    begins = f"[{first.lower()}{first.upper()}]" if free and first.isalpha() else re.escape(first)
    return rf"(?<![\w-]){begins}{re.escape(rest)}s?(?!\w)"


def link_words(page: BeautifulSoup, words: list[Term], place: str) -> None:
    """The first use of each word of the glossary on a page leads there; its end names them all."""
    article = page.select_one("article")
    if article is None:
        return
    left = {word: term for term in words for word in term.words}
    for text in list(article.find_all(string=True)):
        if not left or type(text) is not NavigableString or not text.strip() or _apart(text):
            continue
        _link_in(page, text, left, place)
    for formula in article.select("span.math"):
        name = re.sub(r"\\text|[\\(){}\s]", "", formula.get_text())
        if name in left and not formula.find_parent("a"):
            formula.wrap(_link(page, left[name], place))
            _done(left, left[name])
    _name_all(page, article, words, place)


def _link_in(page: BeautifulSoup, text: NavigableString, left: dict, place: str) -> None:
    """Replace one piece of text by itself with links; takes the words found from `left`."""
    rest, parts = str(text), []
    while left:
        longest = sorted(left, key=len, reverse=True)
        found = re.search("|".join(f"({pattern(word)})" for word in longest), rest)
        if found is None:
            break
        term = left[longest[found.lastindex - 1]]
        link = _link(page, term, place)
        link.string = found[0]
        parts += [NavigableString(rest[: found.start()]), link]
        rest = rest[found.end() :]
        _done(left, term)
    if parts:
        text.replace_with(*parts, NavigableString(rest))


def _done(left: dict, term: Term) -> None:
    for word in term.words:
        left.pop(word, None)


def _link(page: BeautifulSoup, term: Term, place: str) -> Tag:
    attributes = {"class": "term", "href": f"{place}#{term.anchor}", "title": term.meaning}
    return page.new_tag("a", attrs=attributes)


def _apart(text: NavigableString) -> bool:
    for parent in text.parents:
        if parent.name == "article":
            return False
        classes = set(parent.get("class") or ())
        if parent.name in APART or classes & APART_CLASSES or parent.get("lang") == "fr":
            return True
    return True


def _within(text: NavigableString, names: set[str]) -> bool:
    return any(parent.name in names for parent in text.parents)


def _name_all(page: BeautifulSoup, article: Tag, words: list[Term], place: str) -> None:
    """At the page's end, every word of it that the glossary explains: heads of tables, too."""
    aside = {"pre", "code", "script", "details"}
    strings = (one for one in article.find_all(string=True) if not _within(one, aside))
    text = " ".join(strings)
    used = [term for term in words if any(re.search(pattern(w), text) for w in term.words)]
    if not used:
        return
    line = page.new_tag("p", attrs={"class": "words"})
    line.append("Words of this page in the glossary: ")
    for number, term in enumerate(sorted(used, key=lambda term: term.words[0].lower())):
        link = page.new_tag("a", href=f"{place}#{term.anchor}")
        link.string = term.words[0]
        line.append(", " if number else "")
        line.append(link)
    line.append(".")
    article.append(line)
