"""What a chapter shows: glued texts, figures, tables, and where its numbers come from."""

import base64
import html
import io
import json
import logging
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ethical_compression.errors import InputError

_started = time.time()
# It says, wherever it is imported on a CPU, that an optional kernel is missing: no part of a page.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
# Names of a table's columns that hold p-values: p, p (Holm), p, Welch, Holm; not p < 0.05, a count.
_P_VALUES = re.compile(r"(p|Holm)( ?[(,].*)?$")
# Emphasis, code and links: what Markdown would make of a text that is glued, if it were read.
_MARKDOWN = re.compile(r"\*\*|`|\]\(|(?<![\w*])\*[^\s*][^*]*\*(?![\w*])")
# The hyphen before a number; the sign before a number that is all zeros.
_HYPHEN_MINUS = re.compile(r"(?<![\w.)\]-])-(?=\.?\d)")
_SIGNED_ZERO = re.compile(r"(?<![\w.])[+−](?=0(?:\.0+)?(?!\.?\d))")
_RECORD = "application/vnd.ethical-compression.provenance+json"
_VERDICTS = "application/vnd.ethical-compression.verdicts+json"
# The questions of the book's one picture, which stands on the front page.
QUESTIONS = ("confidence", "groups", "moral", "harms", "language")


def begin() -> None:
    """Count the chapter's time from here."""
    global _started
    _started = time.time()


def glue(name: str, value: Any, display: bool = False) -> None:
    """Keep a value under a name for the prose: ``{glue:text}`name``` in a Markdown cell.

    Where myst-nb is not installed (Colab) the prose cannot take it up: it is printed instead, with
    its name. display: show it under the cell in the book, too. Numbers in a text get the signs of
    `words.signed`. Raises InputError for a text with Markdown in it, which would show as it is
    typed: asterisks and all.
    """
    if isinstance(value, str):
        _refuse_markdown(value, f"the text glued as '{name}'")
        value = _with_signs(value)
    try:
        from myst_nb import glue as keep
    except ImportError:
        print(f"{name}: {value}")
        return
    keep(name, value, display=display)


def glue_all(prefix: str, texts: Mapping[str, Any]) -> None:
    """`glue` each of several values, {name: value}, as `prefix-name`."""
    for name, value in texts.items():
        glue(f"{prefix}-{name}", value)


def glue_time(prefix: str) -> None:
    """Glue what the chapter took, for the box on its first screen: `-minutes` and `-machine`.

    The time since `check_parameters`, or that in which its kept results were made, then or now,
    whichever is longer: a page that reads them back does not claim to be quick.
    """
    from ethical_compression import provenance, store, words

    machine = provenance.hardware()
    glue(f"{prefix}-machine", f"{machine['GPU'] or machine['processor']}, {machine['cores']} cores")
    glue(f"{prefix}-minutes", words.minutes(max(time.time() - _started, store.seconds_spent())))


def _with_signs(text: str) -> str:
    """Numbers with a true minus, and without a sign where they are rounded to nothing."""
    return _SIGNED_ZERO.sub("", _HYPHEN_MINUS.sub("−", text))


def _refuse_markdown(text: str, where: str) -> None:
    if raw := _MARKDOWN.search(text):
        raise InputError(f"{where} holds Markdown, which a page shows raw: take {raw[0]!r} out.")


def figure(fig: Any, alt: str, caption: str | None = None, name: str | None = None) -> None:
    """Show a matplotlib figure with its alternative text, drawn at twice the screen's resolution.

    alt: what the picture shows, for who cannot see it (a title's line breaks are taken out of it);
    caption: plain text under it; name: the anchor to link to. Under it stands a link to the values
    that it shows, read off the picture. Warns of each of
    `figures.faults.faults`: a reader who changed a parameter sees the picture all the same, and a
    build stops at a warning. Raises InputError if `alt` is empty, the caption is Markdown, or it
    has no word for the intervals that are drawn.
    """
    alt = " ".join(alt.split())
    if not alt:
        raise InputError("a figure needs an alternative text: say in words what it shows.")
    _refuse_markdown(caption or "", "a figure's caption")
    from IPython.display import display
    from matplotlib import pyplot

    from ethical_compression.figures.faults import faults, has_intervals
    from ethical_compression.figures.values import values

    if has_intervals(fig) and "interval" not in (caption or ""):
        raise InputError("a figure's caption must name what its bars or bands are intervals of.")
    for fault in faults(fig):
        warnings.warn(f"the figure “{caption or alt}”: {fault}", stacklevel=2)
    numbers = values(fig)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=200, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(fig)  # or the inline backend would show it a second time, without its words
    width = int.from_bytes(buffer.getvalue()[16:20], "big") // 2  # stands there in every PNG
    png = base64.b64encode(buffer.getvalue()).decode()
    anchor = f' id="{html.escape(name)}"' if name else ""
    words = f"<figcaption>{html.escape(caption or '')} {_download(numbers)}</figcaption>"
    markup = (
        f'<figure class="chapter-figure"{anchor}>'
        f'<img alt="{html.escape(alt)}" width="{width}" src="data:image/png;base64,{png}">'
        f"{words}</figure>"
    )
    display({"text/html": markup, "image/png": png, "text/plain": alt}, raw=True)


def _download(numbers: Any) -> str:
    """A link that holds a table as a CSV file; nothing where the table is empty."""
    if not len(numbers):
        return ""
    text = base64.b64encode(numbers.to_csv(index=False, float_format="%.6g").encode()).decode()
    return (
        f'<a class="values" download="values.csv" href="data:text/csv;base64,{text}">'
        f"Values drawn (CSV, {len(numbers):,} rows)</a>"
    )


def table(
    data: Any,
    caption: str,
    formats: Mapping[str, str | Callable[[Any], str]] | None = None,
    name: str | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    floats: str | Callable[[Any], str] | None = None,
    written: Mapping[str, Sequence[str]] | None = None,
    hover: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Show a data frame as a table that a reader can sort; the first column names the rows.

    formats: {column as it is shown: a format such as ".2f" or "{:.1%}", or a function of the
    value}; name: the anchor to link to. columns: {column: title} of those to show, in this order,
    where not all; floats: the format of each column of floats that has no other. written: {column
    as it is shown: its cells' texts, a row each}, where a value alone does not say what a cell
    shows (it still sorts by the value); hover: likewise what a pointer held over a cell brings up,
    of which nothing may stand there alone. The index is not shown: call `reset_index()` first to
    keep it. A column of p-values (`p`, `p (Holm)`, `p, Welch` …) needs no format: `words.p_value`
    writes all of them.
    Raises InputError for a format of a column that the data do not have, and a caption in Markdown.
    """
    from IPython.display import HTML, display

    if columns is not None:
        data = data[list(columns)].rename(columns=dict(columns))
    if floats is not None:
        kinds = {column: data[column].dtype.kind for column in data.columns}
        formats = {one: floats for one in kinds if kinds[one] == "f"} | dict(formats or {})
    display(HTML(table_html(data, caption, formats, name, written=written, hover=hover)))


def comparisons(
    data: Any,
    first: Mapping[str, str],
    caption: str,
    titles: Mapping[str, str | None] | None = None,
    *,
    formats: Mapping[str, str | Callable[[Any], str]] | None = None,
    name: str | None = None,
    **how: Any,
) -> None:
    """Show a table of comparisons: change, interval, p-values and what could have been found.

    first: {column: title} of those that say what a row is, and of whatever else stands before the
    change; titles, how: as in `words.columns.comparisons`; the rest as in `table`.
    """
    from ethical_compression.words import columns

    shown, known = columns.comparisons(data, first, titles, **how)
    table(shown, caption, known | dict(formats or {}), name)


def verdicts(question: str, data: Any, anchor: str) -> None:
    """Hand what a chapter's tests came to to the picture on the book's front page.

    question: one of `QUESTIONS`; data: columns `compression` (its label) and `verdict` (of
    `statistics.verdicts.VERDICTS`), a row a test; anchor: the name of the table that has the tests.
    Nothing is shown on the page. Raises InputError for another question or verdict.
    """
    from IPython.display import display

    from ethical_compression.statistics.verdicts import VERDICTS

    if question not in QUESTIONS:
        raise InputError(f"no question {question!r}: there are {', '.join(QUESTIONS)}.")
    rows = data[["compression", "verdict"]].to_dict("records")
    if unknown := {row["verdict"] for row in rows} - set(VERDICTS):
        raise InputError(f"no verdict {unknown.pop()!r}: there are {', '.join(VERDICTS)}.")
    record = {"question": question, "anchor": anchor, "tests": rows}
    display({_VERDICTS: record, "text/plain": ""}, raw=True)


def table_html(
    data: Any,
    caption: str,
    formats: Mapping[str, str | Callable[[Any], str]] | None = None,
    name: str | None = None,
    *,
    written: Mapping[str, Sequence[str]] | None = None,
    hover: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """The markup of `table`; cells carry the unrounded number as their sorting key."""
    from ethical_compression.words import p_value

    _refuse_markdown(caption, "a table's caption")
    formats, written, hover = (dict(one or {}) for one in (formats, written, hover))
    for column in [*formats, *written, *hover]:
        if column not in data.columns:
            raise InputError(
                f"no column '{column}' to format: the table has {', '.join(map(str, data))}."
            )
    numeric = {column: data[column].dtype.kind in "iufb" for column in data.columns}
    formats |= {
        column: p_value
        for column in data.columns
        if data[column].dtype.kind == "f" and _P_VALUES.match(str(column))
    }
    head = "".join(f'<th scope="col">{html.escape(str(column))}</th>' for column in data.columns)
    body = []
    for number, row in enumerate(data.itertuples(index=False, name=None)):
        cells = []
        for position, (column, value) in enumerate(zip(data.columns, row, strict=True)):
            if column in written:
                text = written[column][number]
            else:
                text = _formatted(value, formats.get(column))
            key = f' data-value="{value}" class="number"' if numeric[column] else ""
            if column in hover:
                key += f' title="{html.escape(hover[column][number])}"'
            tag, scope = ("th", ' scope="row"') if position == 0 else ("td", "")
            cells.append(f"<{tag}{scope}{key}>{html.escape(text)}</{tag}>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    anchor = f' id="{html.escape(name)}"' if name else ""
    return (
        '<div class="table-scroll" tabindex="0" role="region" '
        f'aria-label="{html.escape(caption)}"><table class="sortable"{anchor}>'
        f"<caption><span>{html.escape(caption)}</span></caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _formatted(value: Any, rule: str | Callable[[Any], str] | None) -> str:
    if value is None or value != value:  # NaN differs from itself
        return "–"
    if callable(rule):
        return rule(value)
    if rule:
        text = rule.format(value) if "{" in rule else format(value, rule)
    else:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
    if isinstance(value, float) and "e" in text:
        from ethical_compression.words import scientific

        return scientific(value)
    return text if isinstance(value, str) else _with_signs(text)


def footer(
    parameters: Mapping[str, Any],
    *,
    models: Sequence[Mapping[str, Any]] = (),
    data: Sequence[Mapping[str, Any]] = (),
    seeds: Mapping[str, int] | Sequence[int] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Show, folded, where this chapter's numbers come from; the same stands as JSON in the output.

    parameters: what `check_parameters` returned; models, data: the source records of what was
    loaded (name, fingerprint or sha256, licence …); seeds: those used; more: anything else worth
    keeping. Run time is counted from `check_parameters`, in seconds. Returns the record.
    """
    from IPython.display import display

    from ethical_compression import provenance

    record: dict[str, Any] = {"parameters": dict(parameters), **provenance.provenance()}
    if seeds is None:
        seeds = {name: value for name, value in parameters.items() if name.startswith("seed")}
    record |= {"seeds": seeds, "models": list(models), "data": list(data), **more}
    record["run time"] = f"{time.time() - _started:.1f} s"
    record = json.loads(json.dumps(record, default=str))
    markup = (
        '<details class="provenance"><summary>Where these numbers come from: parameters, '
        f"versions, hardware, data</summary>{_nested(record)}</details>"
    )
    plain = json.dumps(record, indent=1, ensure_ascii=False)
    display({"text/html": markup, "text/plain": plain, _RECORD: record}, raw=True)
    return record


def _nested(value: Any) -> str:
    """Mappings and lists as nested definition lists: long hashes wrap, nothing needs scrolling."""
    if isinstance(value, Mapping):
        rows = (
            f"<dt>{html.escape(re.sub('_', ' ', str(key)))}</dt><dd>{_nested(item)}</dd>"
            for key, item in value.items()
        )
        return f"<dl>{''.join(rows)}</dl>"
    if isinstance(value, list):
        if all(not isinstance(item, Mapping | list) for item in value):
            return html.escape(", ".join(map(str, value))) or "none"
        return f"<ul>{''.join(f'<li>{_nested(item)}</li>' for item in value)}</ul>"
    return html.escape("none" if value is None or value == "" else str(value))


def refuse_stderr(notebook: Any, where: str) -> None:
    """Take progress bars out of an executed notebook; nothing else may stand on its stderr.

    A library's warning is no part of a page: it is silenced where it arises, or its cause removed.
    Raises InputError with the cell and the first line of what stands there.
    """
    for number, cell in enumerate(notebook.cells):
        kept = []
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                # A bar is drawn over and over, each time from the line's beginning.
                text = re.sub(r"\r[^\n\r]*", "", output.text).strip()
                if text:
                    raise InputError(
                        f"{where}, cell {number} ({cell.get('id', 'without id')}), writes on "
                        f"stderr: {text.splitlines()[0]!r}. Silence it where it arises, or mend "
                        "its cause."
                    )
                continue
            kept.append(output)
        if cell.cell_type == "code":
            cell.outputs = kept
