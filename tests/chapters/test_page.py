"""What a chapter shows: figures, tables, glued texts and where its numbers come from."""

import base64
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethical_compression import chapters, words
from ethical_compression.chapters import page
from ethical_compression.errors import InputError


class Cells(HTMLParser):
    """The texts of a table's cells, row by row: an independent reading of the markup."""

    def __init__(self, markup):
        super().__init__()
        self.rows, self.attributes, self.inside = [], [], False
        self.feed(markup)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.attributes.append(dict(attributes))
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def test_table_shows_formatted_values_and_sorts_by_the_unrounded():
    data = pd.DataFrame({"<name>": ["a & b", "c"], "q": [0.123456, float("nan")], "n": [3, 40]})
    markup = chapters.table_html(data, "What it shows", {"q": ".2f", "n": lambda n: f"{n} items"})
    read = Cells(markup)
    assert read.rows == [["<name>", "q", "n"], ["a & b", "0.12", "3 items"], ["c", "–", "40 items"]]
    assert "<caption><span>What it shows</span></caption>" in markup
    assert 'data-value="0.123456"' in markup
    scopes = [attributes.get("scope") for attributes in read.attributes]
    assert scopes == ["col"] * 3 + ["row", None, None] * 2


def test_no_p_value_of_a_table_is_rounded_to_nothing():
    data = pd.DataFrame({"x": ["a", "b"], "p": [0.2, 4.2e-28], "p, Holm": [0.0004, 0.0]})
    data = data.assign(
        **{"p (TOST)": [1.0, 0.031], "Holm": [0.5, float("nan")], "p < 0.05": [0.0, 1.0]}
    )
    formats = {"p, Holm": ".3f", "p (TOST)": ".2g", "p < 0.05": ".0f"}
    first, second = Cells(chapters.table_html(data, "x", formats)).rows[1:]
    assert first == ["a", "0.200", "4.0 × 10⁻⁴", "1", "0.500", "0"]
    assert second == ["b", "4.2 × 10⁻²⁸", "< 10⁻³⁰⁰", "0.031", "–", "1"]


def test_a_number_of_a_table_has_a_true_minus_and_no_sign_where_it_is_nothing():
    data = pd.DataFrame({"x": ["-1"], "a": [-0.004], "b": [-0.5], "c": [-0.0004], "d": [0.04]})
    data = data.assign(e=-4.2e-5, f=0.5)
    formats = {"a": ".2f", "b": "{:.0%}", "c": "+.1%", "d": "+.1f", "e": ".2g", "f": ".2g"}
    markup = chapters.table_html(data, "x", formats)
    said = ["-1", "0.00", "−50%", "0.0%", "0.0", "−4.2 × 10⁻⁵", "0.5"]
    assert Cells(markup).rows[1] == said


@given(st.floats(-9, 9), st.integers(0, 3), st.sampled_from(["", "+"]))
def test_glued_numbers_are_signed_as_words_sign_them(value, digits, sign):
    text = page._with_signs(f"from {value:{sign}.{digits}f}, ({-value:{sign}.{digits}f}).")
    said = [words.signed(one, digits) for one in (value, -value)]
    if not sign:
        said = [one.replace("+", "") for one in said]
    assert text == f"from {said[0]}, ({said[1]})."


@pytest.mark.parametrize("text", ["2026-11-30", "DPO_I-1", "3-5", "+0.5 and −0.05", "GPT-2", "±0"])
def test_what_is_no_minus_stays(text):
    assert page._with_signs(text) == text


def test_a_cells_text_and_what_hovers_over_it_leave_its_sorting_key():
    data = pd.DataFrame({"row": ["a", "b"], "q": [1.25, float("nan")]})
    how = {"written": {"q": ["▲ 1.2", "–"]}, "hover": {"q": ["from <1> to 2", "not measured"]}}
    markup = chapters.table_html(data, "x", **how)
    assert '<td data-value="1.25" class="number" title="from &lt;1&gt; to 2">▲ 1.2</td>' in markup
    assert '<td data-value="nan" class="number" title="not measured">–</td>' in markup
    for name in how:
        with pytest.raises(InputError, match="no column 'z'"):
            chapters.table_html(data, "x", **{name: {"z": ["a", "b"]}})


def test_table_refuses_a_format_for_no_column():
    with pytest.raises(InputError, match="no column 'q'"):
        chapters.table_html(pd.DataFrame({"p": [1.0]}), "x", {"q": ".2f"})


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, as mimebundles."""
    import IPython.display

    outputs = []
    monkeypatch.setattr(IPython.display, "display", lambda data, raw=False: outputs.append(data))
    return outputs


def test_figure_carries_its_words_and_is_closed(shown):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    fig, axes = pyplot.subplots()
    axes.plot([1, 2])
    chapters.figure(fig, 'It\n"rises"', caption="<b> & more", name="fig-a")
    markup = shown[0]["text/html"]
    assert 'alt="It &quot;rises&quot;"' in markup
    assert "<figcaption>&lt;b&gt; &amp; more <a " in markup
    data = re.search(r"base64,([\w+/=]+)\">Values drawn \(CSV, 2 rows\)", markup)[1]
    assert base64.b64decode(data).decode().splitlines() == ["panel,x,y", "1,0,1", "1,1,2"]
    assert 'id="fig-a"' in markup
    assert shown[0]["image/png"] in markup
    assert shown[0]["text/plain"] == 'It "rises"'
    assert not pyplot.fignum_exists(fig.number)
    with pytest.raises(InputError, match="alternative text"):
        chapters.figure(fig, "  ")


def test_a_figure_with_a_fault_is_shown_with_a_warning(shown):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    fig, axes = pyplot.subplots()
    axes.plot([1, 2])
    axes.set_ylim(0, 1)
    with pytest.warns(UserWarning, match=r"“It rises”: panel 1: a point lies outside the axes"):
        chapters.figure(fig, "It rises")
    assert len(shown) == 1


@pytest.mark.parametrize("draw", ["errorbar", "fill_between"])
def test_a_caption_names_what_bars_and_bands_are(shown, draw):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    fig, axes = pyplot.subplots()
    if draw == "errorbar":
        axes.errorbar([1, 2], [1, 2], yerr=[0.1, 0.1])
    else:
        axes.fill_between([1, 2], [1, 1], [2, 2])
    with pytest.raises(InputError, match="what its bars or bands are intervals of"):
        chapters.figure(fig, "It rises", caption="Means over runs.")
    chapters.figure(fig, "It rises", caption="Means over runs, with 95% intervals over runs.")
    assert len(shown) == 1


def test_footer_says_everything_in_words_and_as_a_record(shown):
    model = {"name": "m<1>", "fingerprint": "ab" * 32}
    record = chapters.footer({"seed": 3, "bits": [4, 3]}, models=[model], data=[{"name": "piqa"}])
    assert record["parameters"] == {"seed": 3, "bits": [4, 3]}
    assert record["seeds"] == {"seed": 3}
    assert {"models", "data", "run time"} <= set(record)
    (bundle,) = shown
    assert json.loads(bundle["text/plain"]) == record
    text = re.sub("<[^>]+>", " ", bundle["text/html"])
    assert "m&lt;1&gt;" in text and "ab" * 32 in text and "4, 3" in text


def test_glue_without_myst_nb_prints_what_the_prose_would_have_said(shown, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "myst_nb", None)
    chapters.glue("confidence-x", "three of four")
    assert shown == []
    assert capsys.readouterr().out == "confidence-x: three of four\n"


@pytest.mark.parametrize(
    "text", ["**kept** in 2 of 12", "run `make peers`", "*kept*: 2", "see [this](page)"]
)
def test_markdown_is_not_glued_where_it_would_show_raw(text):
    with pytest.raises(InputError, match="'demo-x' holds Markdown"):
        chapters.glue("demo-x", text)
    with pytest.raises(InputError, match="caption holds Markdown"):
        chapters.table_html(pd.DataFrame({"x": [1]}), text)
    with pytest.raises(InputError, match="caption holds Markdown"):
        chapters.figure(None, "It rises", caption=text)


@pytest.mark.parametrize("text", ["2 * 3 * 4", "p < 0.05*", "DPO_M and DPO_I", "a [b] (c)"])
def test_signs_that_are_no_markdown_are_glued(text, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "myst_nb", None)
    chapters.glue("demo-x", text)
    assert text in capsys.readouterr().out


def test_several_texts_are_glued_under_one_prefix(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "myst_nb", None)
    chapters.glue_all("demo", {"seeds": "3", "says": "It rises."})
    assert capsys.readouterr().out == "demo-seeds: 3\ndemo-says: It rises.\n"


def cells_of(shown):
    return Cells(shown[-1].data).rows


def test_a_table_picks_and_names_columns_and_writes_floats_alike(shown):
    data = pd.DataFrame({"a": [0.125], "b": ["x"], "c": [2], "d": [0.5]})
    chapters.table(data, "x", {"D": ".1f"}, columns={"b": "B", "d": "D", "a": "A"}, floats=".2f")
    assert cells_of(shown) == [["B", "D", "A"], ["x", "0.5", "0.12"]]
    chapters.table(data, "x", floats=".0%")
    assert cells_of(shown)[1] == ["12%", "x", "2", "50%"]


def test_a_comparison_is_shown_as_on_every_page(shown):
    data = pd.DataFrame({"model": ["m"], "difference": [-0.1], "p_holm": [1e-5], "n": [3]})
    data = data.assign(ci_low=-0.2, ci_high=0.0)
    chapters.comparisons(
        data, {"model": "Model", "n": "Items"}, "x", {"difference": "By"}, digits=1
    )
    assert cells_of(shown) == [
        ["Model", "Items", "By", "95% interval", "p (Holm)"],
        ["m", "3", "−0.1", "−0.2 to 0.0", "1.0 × 10⁻⁵"],
    ]


def test_importing_the_helpers_loads_nothing_heavy():
    code = "import ethical_compression.chapters, sys; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    ).stdout.split()
    assert not {"torch", "transformers", "pandas", "matplotlib", "IPython"} & set(loaded)
