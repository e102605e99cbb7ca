"""The picture of the whole book: cells are counted from chapters' verdicts, and lead to them."""

import re
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))
import overview  # noqa: E402

from ethical_compression import chapters  # noqa: E402
from ethical_compression.chapters import page  # noqa: E402
from ethical_compression.errors import InputError  # noqa: E402
from ethical_compression.statistics.verdicts import VERDICTS, verdicts_of  # noqa: E402

HERE, THERE = ("grid", "grid-table"), ("confidence", "confidence-tests")


@pytest.mark.parametrize(
    ("verdicts", "came", "settled"),
    [
        (["worse", "cannot tell", "equivalent"], "worse", 1),
        (["better", "better", "cannot tell"], "better", 2),
        (["worse", "better", "equivalent"], "both", 2),
        (["equivalent", "equivalent"], "equivalent", 2),
        (["equivalent", "cannot tell"], "cannot tell", 0),
        (["cannot tell"], "cannot tell", 0),
    ],
)
def test_a_cell_is_worse_or_better_by_one_test_and_equivalent_only_by_all(verdicts, came, settled):
    found = overview.cell((one, HERE) for one in verdicts)
    assert (found.verdict, found.settled, found.tests) == (came, settled, len(verdicts))


def test_a_cell_leads_to_a_test_that_says_what_it_says():
    found = overview.cell([("cannot tell", HERE), ("worse", THERE)])
    assert found.place == THERE


def test_the_picture_reads_without_colour_and_each_cell_is_a_link():
    cells = {
        ("GPTQ 3-bit", "harms"): overview.cell([("worse", HERE), ("cannot tell", HERE)]),
        ("GPTQ 3-bit", "confidence"): overview.cell([("equivalent", THERE)]),
        ("without 3 upper layers", "harms"): overview.cell([("better", HERE)]),
    }
    markup = overview.table(cells, "en", "../")
    assert not re.search(r"\n", markup), "an empty line would end the block"
    assert markup.count("<a href=") == 3 and markup.count("not asked") == 2 * 5 - 3
    assert '<a href="../notebooks/grid.html#grid-table">▲ worse</a> <small>1 of 2' in markup
    assert "Of 3 cells 1 are worse, 1 better, 0 both, 1 equivalent, and 0 cannot tell." in markup
    french = overview.table(cells, "fr")
    assert "sans 3 couches (du haut)" in french and 'lang="fr"' in french
    assert "▲ pire" in french and "worse" not in re.sub(r'class="[^"]*"', "", french)


def test_both_languages_say_the_same_things():
    assert overview.WORDS["en"].keys() == overview.WORDS["fr"].keys()
    assert set(overview.SIGNS) == {*VERDICTS, "both"}
    assert overview.QUESTIONS == page.QUESTIONS and overview.RECORD == page._VERDICTS


def test_verdicts_travel_from_a_chapter_to_the_page(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    tests = pd.DataFrame({"compression": ["GPTQ 3-bit", "NF4"], "verdict": ["worse", "equivalent"]})
    chapters.verdicts("harms", tests, "demo-tests")
    outputs = [nbformat.v4.new_output("display_data", data) for data in shown]
    cells = [nbformat.v4.new_code_cell("x", outputs=outputs)]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebooks" / "demo.ipynb")
    (tmp_path / "index.md").write_text("# A\n\n{overview}`en`\n", encoding="utf-8")
    overview.put_in(tmp_path)
    page_text = (tmp_path / "index.md").read_text(encoding="utf-8")
    assert "notebooks/demo.html#demo-tests" in page_text and "{overview}" not in page_text
    with pytest.raises(InputError, match="no question 'harm'"):
        chapters.verdicts("harm", tests, "demo-tests")
    with pytest.raises(InputError, match="no verdict 'open'"):
        chapters.verdicts("harms", tests.assign(verdict="open"), "demo-tests")


def test_lower_or_higher_is_worse_as_the_measure_asks():
    table = pd.DataFrame(
        {
            "difference": [-0.1, 0.1, 0.001, -0.1],
            "p_holm": [0.01, 0.01, 0.01, float("nan")],
            "p_tost_holm": [1, 1, 0.01, 1],
        }
    )
    assert verdicts_of(table, worse="lower").tolist() == [
        *("worse", "better", "equivalent", "cannot tell")
    ]
    assert verdicts_of(table.iloc[:, :2], worse="higher").tolist()[:3] == [
        *("better", "worse", "worse")
    ]
    with pytest.raises(InputError, match="Worse is"):
        verdicts_of(table, worse="less")
