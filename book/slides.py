"""Slides from the book's own figures: one HTML file that works without a network or a script.

`teaching/slides.md` has them in Markdown, a line `---` between two; what it shows of chapters it
names as any page does (`gather`, `overview`). Printed, each slide is a page.
"""

import re
from pathlib import Path

import gather
import overview
from markdown_it import MarkdownIt

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Slides: Ethical compression of language models</title>
<style>
:root { color-scheme: light dark; --pst-color-border: #767676; --pst-color-text-muted: #595959; --pst-color-text-base: CanvasText; }
@media (prefers-color-scheme: dark) { :root { --pst-color-text-muted: #b8b8b8; } }
html { scroll-snap-type: y proximity; font: clamp(16px, 1.6vw, 26px)/1.45 system-ui, sans-serif; }
body { margin: 0; }
section { box-sizing: border-box; min-height: 100vh; padding: 4vh 7vw; scroll-snap-align: start; border-bottom: 1px solid var(--pst-color-border); display: flex; flex-direction: column; justify-content: center; }
h1, h2 { line-height: 1.2; margin: 0 0 .6em; }
img { max-width: 100%; max-height: 62vh; width: auto; background: #fff; }
figcaption, caption, .gathered > p, small { font-size: .62rem; color: var(--pst-color-text-muted); text-align: left; }
.table-scroll { overflow: auto; max-height: 66vh; }
table { border-collapse: collapse; font-size: .55rem; line-height: 1.25; }
th, td { text-align: left; padding: .2em .5em; border-bottom: 1px solid var(--pst-color-border); }
.number { text-align: right; }
.values { display: none; }
.overview td.worse { background: rgb(213 94 0 / .2); }
.overview td.better { background: rgb(0 114 178 / .2); }
.overview td a { color: inherit; }
@media print {
  @page { size: A4 landscape; margin: 0; }
  section { height: 100vh; min-height: 0; break-after: page; border: 0; overflow: hidden; }
  .table-scroll { overflow: hidden; }
}
</style></head><body><main>
"""  # noqa: E501 (a style sheet)


def slides(text: str, chapters: Path) -> str:
    """The slides as a page; text: their Markdown; chapters: the folder of executed chapters."""
    text = gather.shown(text, chapters, "../")
    if overview.MARK.search(text):
        cells = {key: overview.cell(tests) for key, tests in overview.handed_over(chapters).items()}
        text = overview.MARK.sub(lambda at: overview.table(cells, at["language"], "../"), text)
    made = MarkdownIt("commonmark", {"html": True})
    parts = re.split(r"(?m)^---$", text)
    sections = [
        f'<section id="slide-{at}">{made.render(one)}</section>' for at, one in enumerate(parts, 1)
    ]
    return HEAD + "\n".join(sections) + "\n</main></body></html>\n"


def teaching(source: Path, html: Path) -> None:
    """Write what a class takes along beside the page on teaching: slides, assignments, data.

    source: a laid-out book; html: the built one. A book without such a page has none of it.
    """
    folder = source / "teaching"
    if not (folder / "slides.md").is_file():
        return
    place = html / "teaching"
    place.mkdir(exist_ok=True)
    text = (folder / "slides.md").read_text(encoding="utf-8")
    (place / "slides.html").write_text(slides(text, source / "notebooks"), encoding="utf-8")
    for path in [folder / "classroom.csv", *sorted((folder / "release").glob("*.ipynb"))]:
        (place / path.name).write_bytes(path.read_bytes())
