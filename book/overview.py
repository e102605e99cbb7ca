"""One picture of the whole book: methods × questions, each cell what the chapters' tests came to.

Chapters hand over their verdicts (`chapters.verdicts`); here they are counted and drawn as a table,
so that it can be read without colour, by a screen reader, in the dark, on paper and on a phone, and
every cell leads to its test. In a page of Markdown it stands where a line says {overview}`en` or
{overview}`fr`.
"""

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import gather
import nbformat

from ethical_compression.metrics.harm_grid import dose, in_order

RECORD = "application/vnd.ethical-compression.verdicts+json"
MARK = re.compile(r"(?m)^\{overview\}`(?P<language>en|fr)`$")
SIGNS = {"worse": "▲", "better": "▼", "both": "◆", "equivalent": "■", "cannot tell": "○"}
WORDS = {
    "en": {
        "worse": "worse",
        "better": "better",
        "both": "both",
        "equivalent": "equivalent",
        "cannot tell": "cannot tell",
        "of": "{settled} of {tests}",
        "none": "not asked",
        "method": "Method",
        "confidence": "Confidence",
        "groups": "Groups",
        "moral": "Moral preference",
        "harms": "Harms",
        "language": "Language",
        "name": "Methods of compression and questions: what the tests of this book came to",
        "caption": "Each cell says what all tests of one method and one question came to, after "
        "correction for their number, and how many of them are settled that way; it leads to them. "
        "▲ worse: one or more worse, none better. ▼ better. ◆ both: some worse, some better. "
        "■ equivalent: all shown to lie within their margin. ○ cannot tell: none of these, which "
        "is not “no harm”. A gap between two dialects counts as better, too, where it narrows "
        "because both are read worse: read harms beside language. {counted}",
        "counted": "Of {cells} cells {worse} are worse, {better} better, {both} both, {equivalent} "
        "equivalent, and {cannot tell} cannot tell.",
    },
    "fr": {
        "worse": "pire",
        "better": "mieux",
        "both": "les deux",
        "equivalent": "équivalent",
        "cannot tell": "indécis",
        "of": "{settled} sur {tests}",
        "none": "non demandé",
        "method": "Méthode",
        "confidence": "Assurance",
        "groups": "Groupes",
        "moral": "Préférence morale",
        "harms": "Préjudices",
        "language": "Langue",
        "name": "Méthodes de compression et questions : ce que disent les tests de ce livre",
        "caption": "Chaque case dit ce que donnent tous les tests d'une méthode et d'une question, "
        "après correction pour leur nombre, et combien d'entre eux concluent ainsi ; elle y mène. "
        "▲ pire : au moins un pire, aucun mieux. ▼ mieux. ◆ les deux : certains pires, d'autres "
        "mieux. ■ équivalent : tous tiennent dans leur marge, un test le montre. ○ indécis : rien "
        "de cela, ce qui ne veut pas dire « sans préjudice ». Un écart entre deux dialectes compte "
        "aussi comme mieux quand il se réduit parce que les deux sont moins bien lus : lire les "
        "préjudices à côté de la langue. {counted}",
        "counted": "Sur {cells} cases, pire : {worse} ; mieux : {better} ; les deux : {both} ; "
        "équivalent : {equivalent} ; indécis : {cannot tell}.",
    },
}
QUESTIONS = ("confidence", "groups", "moral", "harms", "language")
# How layers are chosen that are removed, in French.
LAYERS = {"least contributing": "les moins utiles", "upper": "du haut", "bottom": "du bas"}


class Cell(NamedTuple):
    """What tests came to: `verdict`, how many of them are so (`settled`), of how many, and where
    they stand (chapter, anchor)."""

    verdict: str
    settled: int
    tests: int
    place: tuple[str, str]


def handed_over(chapters: Path) -> dict[tuple[str, str], list[tuple[str, tuple[str, str]]]]:
    """{(compression, question): [(verdict, (chapter, anchor)), …]} of all executed chapters."""
    found: dict = {}
    for path in sorted(chapters.glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                record = output.get("data", {}).get(RECORD)
                for test in record["tests"] if record else ():
                    key = test["compression"], record["question"]
                    place = path.stem, record["anchor"]
                    found.setdefault(key, []).append((test["verdict"], place))
    return found


def cell(tests: Iterable[tuple[str, tuple[str, str]]]) -> Cell:
    """Several tests as one cell; it leads to the first test that says what the cell says."""
    tests = list(tests)
    count = Counter(verdict for verdict, _ in tests)
    if count["worse"] and count["better"]:
        came, settled = "both", {"worse", "better"}
    else:
        came = next((one for one in ("worse", "better") if count[one]), "cannot tell")
        if count["equivalent"] == len(tests):
            came = "equivalent"
        settled = {came}
    place = next(place for verdict, place in tests if verdict in settled or came == "cannot tell")
    many = 0 if came == "cannot tell" else sum(count[one] for one in settled)
    return Cell(came, many, len(tests), place)


def method(label: str, language: str) -> str:
    """A compression's label in print."""
    found = re.fullmatch(r"without (\d+) ([a-z ]+?) layers?(.*)", label)
    if language == "en" or not found:
        return label
    number, which, rest = found.groups()
    noun = "couche" if number == "1" else "couches"
    return f"sans {number} {noun} ({LAYERS.get(which, which)}){rest}"


def table(cells: Mapping[tuple[str, str], Cell], language: str, up: str = "") -> str:
    """The picture: one block of HTML, without an empty line."""
    said = WORDS[language]
    count = Counter(one.verdict for one in cells.values())
    counted = said["counted"].format(cells=len(cells), **{one: count[one] for one in SIGNS})
    caption = html.escape(said["caption"].format(counted=counted))
    heads = "".join(f'<th scope="col">{said[one]}</th>' for one in ("method", *QUESTIONS))
    rows, kind = [], ""
    for label in in_order(label for label, _ in cells):
        begins = ' class="begins"' if rows and dose(label).kind != kind else ""
        kind = dose(label).kind
        parts = [f'<th scope="row">{html.escape(method(label, language))}</th>']
        for question in QUESTIONS:
            one = cells.get((label, question))
            parts.append(_cell(one, said, up) if one else f'<td class="none">{said["none"]}</td>')
        rows.append(f"<tr{begins}>{''.join(parts)}</tr>")
    return (
        f'<div class="table-scroll overview" tabindex="0" role="region" lang="{language}" '
        f'aria-label="{said["name"]}"><table><caption><span>{caption}</span></caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(one: Cell, said: Mapping[str, str], up: str) -> str:
    chapter, anchor = one.place
    name = one.verdict.replace(" ", "-")
    of = said["of"].format(settled=one.settled, tests=one.tests)
    if one.verdict == "cannot tell":
        of = f"{one.tests} {'test' if one.tests == 1 else 'tests'}"  # in French, too
    return (
        f'<td class="{name}"><a href="{up}notebooks/{chapter}.html#{anchor}">'
        f"{SIGNS[one.verdict]} {said[one.verdict]}</a> <small>{of}</small></td>"
    )


def put_in(source: Path) -> None:
    """Put the picture into every page of a laid-out book that asks for it."""
    pages = list(gather.marked(source, MARK))
    if not pages:
        return
    cells = {key: cell(tests) for key, tests in handed_over(source / "notebooks").items()}
    if not cells:
        raise SystemExit("No chapter has handed over a verdict for the picture of the front page.")
    for path, text, up in pages:
        found = MARK.sub(lambda mark, up=up: table(cells, mark["language"], up), text)
        path.write_text(found, encoding="utf-8")
